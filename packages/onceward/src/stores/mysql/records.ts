// Reading, releasing, listing and purging records.

import type { Fence, RecordId, StoredRecord } from "../../core/record.js";
import { decodeEntries } from "../../core/step-log.js";
import type { Found, RecordQuery } from "../../core/store.js";
import type { Slice } from "../sql/slices.js";
import { stateNumber } from "../sql/states.js";
import { accountHash } from "./account-hash.js";
import { cursorOf, madeAtOf, placeOf } from "./cursor.js";
import type { Held, Places } from "./places.js";
import { BY_ID, expired, foundColumns, LISTED_COLUMNS, live, OPEN, readFound, readRecord } from "./record-rows.js";
import type { Query } from "./sessions.js";
import { hex, readBytes, readHex, text } from "./statements.js";

/** Rows that one slice of a listing looks at. */
const SLICE_ROWS = 2_000;
/** Expired rows that one statement deletes at most, so that whoever waits for it waits briefly. */
const PURGED_ROWS = 500;

export class Records {
  readonly #table: string;
  readonly #clock: () => string;
  readonly #places: Places;

  constructor(table: string, clock: () => string, places: Places) {
    this.#table = table;
    this.#clock = clock;
    this.#places = places;
  }

  /** The record of each id, or null. */
  async find(query: Query, ids: readonly RecordId[]): Promise<ReadonlyArray<Found | null>> {
    const clock = this.#clock();
    const { rows } = await query(
      `SELECT ${foundColumns(clock)} FROM ${this.#table} ${BY_ID} WHERE id IN (${idList(ids)}) AND ${live(clock)}`,
    );
    const found = new Map(rows.map((row) => [readHex(row[0]), row]));
    // Read anew for each, since callers of the same id must not share what they get.
    return ids.map((id) => {
      const row = found.get(id);
      if (row === undefined) return null;
      const { record, now, madeAtUs } = readFound(row);
      if (record.state !== "done") this.#places.remember(record.fence, madeAtUs);
      return { record, now };
    });
  }

  /** Deletes the records of these fences, and answers which; they are to be of different ids. */
  async release(query: Query, releases: readonly Held[]): Promise<readonly boolean[]> {
    const [only] = releases;
    if (only !== undefined && releases.length === 1) return [(await this.#delete(query, [only])) === 1];
    // How many were deleted does not say which ones, so that those that cannot be are found before.
    const { rows } = await query(`SELECT id FROM ${this.#open(releases)}`);
    const ids = new Set(rows.map((row) => readHex(row[0])));
    const held = releases.filter(({ id }) => ids.has(id));
    if (held.length === 0) return releases.map(() => false);
    if ((await this.#delete(query, held)) === held.length) return releases.map(({ id }) => ids.has(id));
    // Somebody changed one of them in between. What is still there was not released.
    const { rows: left } = await query(`SELECT id FROM ${this.#table} ${BY_ID} WHERE id IN (${idList([...ids])})`);
    const kept = new Set(left.map((row) => readHex(row[0])));
    return releases.map(({ id }) => ids.has(id) && !kept.has(id));
  }

  /** Which of these records somebody else has locked just now. */
  async locked(query: Query, ids: readonly RecordId[]): Promise<ReadonlySet<RecordId>> {
    const select = `SELECT id FROM ${this.#table} ${BY_ID} WHERE id IN (${idList(ids)})`;
    const { rows } = await query(select);
    // The locks that this takes end with it.
    const { rows: free } = await query(`${select} FOR UPDATE SKIP LOCKED`);
    const locked = new Set(rows.map((row) => readHex(row[0])));
    for (const row of free) locked.delete(readHex(row[0]));
    return locked;
  }

  async readSteps(query: Query, id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    const { rows } = await query(`SELECT COALESCE(steps, X'') FROM ${this.#open([{ id, fence }])}`);
    const [row] = rows;
    return row === undefined ? null : decodeEntries(readBytes(row[0]));
  }

  /** Looks at up to {@link SLICE_ROWS} records before the cursor; `next` says where to go on, also where none matched. */
  async listSlice(
    query: Query,
    { state, account, key }: RecordQuery,
    limit: number,
    cursor: string | undefined,
  ): Promise<Slice<StoredRecord>> {
    const before = cursor === undefined ? [] : [`(made_at, id) < ${placeOf(cursor)}`, `made_at <= ${madeAtOf(cursor)}`];
    // The narrowest index whose order is that of the listing.
    const [index, scope] =
      account !== undefined
        ? ["by_account", [`account_hash = ${accountHash(account)}`]]
        : state !== undefined
          ? ["by_state", [`state = ${stateNumber(state)}`]]
          : ["PRIMARY", []];
    const table = `${this.#table} FORCE INDEX (${index})`;
    const order = "ORDER BY made_at DESC, id DESC LIMIT";
    const within = [...scope, ...before];
    const { rows: ends } = await query(
      `SELECT made_at, id FROM ${table} ${whereOf(within)} ${order} 1 OFFSET ${SLICE_ROWS - 1}`,
    );
    const end = ends[0] === undefined ? null : cursorOf(ends[0][0], ends[0][1]);
    const filters = [
      ...(end === null ? [] : [`(made_at, id) >= ${placeOf(end)}`, `made_at >= ${madeAtOf(end)}`]),
      live(this.#clock()),
      ...(state === undefined ? [] : [`state = ${stateNumber(state)}`]),
      ...(account === undefined ? [] : [`account = ${text(account)}`]),
      ...(key === undefined ? [] : [`\`key\` = ${text(key)}`]),
    ];
    const { rows } = await query(
      `SELECT ${LISTED_COLUMNS}, made_at FROM ${table} ${whereOf([...within, ...filters])} ${order} ${limit + 1}`,
    );
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return {
      items: page.map(readRecord),
      next: rows.length > limit && last !== undefined ? cursorOf(last.at(-1), last[0]) : end,
    };
  }

  /** Deletes up to `limit` expired records, and no more than one statement should. */
  async purge(query: Query, limit: number): Promise<{ readonly purged: number; readonly more: boolean }> {
    const most = Math.min(limit, PURGED_ROWS);
    // Looked for without locks, so that no record is locked but those that go.
    const { rows } = await query(
      `SELECT id FROM ${this.#table} FORCE INDEX (by_expiry) WHERE ${expired(this.#clock())} ORDER BY expires_at LIMIT ${most}`,
    );
    if (rows.length === 0) return { purged: 0, more: false };
    const ids = rows.map((row) => readHex(row[0])).sort();
    const { affected } = await query(
      `DELETE gone FROM ${this.#table} AS gone ${BY_ID} WHERE id IN (${idList(ids)}) AND ${expired(this.#clock())}`,
    );
    return { purged: affected, more: rows.length === most };
  }

  /** SQL: the rows of these fences that are running or unknown, as `held`. */
  #open(all: readonly Held[]): string {
    const { index, which } = this.#places.reach(all);
    const pairs = all.map(({ id, fence }) => `(${hex(id)}, ${hex(fence)})`).join(", ");
    return `${this.#table} AS held ${index} WHERE ${which} AND (id, fence) IN (${pairs}) AND ${OPEN} AND ${live(this.#clock())}`;
  }

  async #delete(query: Query, releases: readonly Held[]): Promise<number> {
    return (await query(`DELETE held FROM ${this.#open(releases)}`)).affected;
  }
}

function idList(ids: readonly RecordId[]): string {
  return ids.map(hex).join(", ");
}

function whereOf(conditions: readonly string[]): string {
  return conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
}
