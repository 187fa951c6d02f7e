// Claims, many in one statement.

import type { RecordId } from "../../core/record.js";
import type { ClaimRequest, ClaimResult } from "../../core/store.js";
import { claimedRecord, claimTimes, RUNNING } from "../sql/states.js";
import { accountHash } from "./account-hash.js";
import type { Counted, Reached } from "./counted.js";
import { isLockTimeout } from "./faults.js";
import type { Places } from "./places.js";
import { Recent } from "./recent.js";
import { BY_ID, expired, foundColumns, live, type RowFound, readFound } from "./record-rows.js";
import type { Query } from "./sessions.js";
import { CLOCK_US, hex, instantOf, integer, text, textOrNull } from "./statements.js";

/** A request with its row as it is written into statements. */
export interface Claim {
  readonly request: ClaimRequest;
  readonly row: string;
  /** What the row is judged by. */
  readonly clock: string;
  /** The limit that is known to be reached, so that no record may be made. */
  readonly reached: Reached | null;
}

/** What a claim met; or null where the record went away meanwhile, so that it is to be made again. */
export type Claimed = ClaimResult | null;

/** The claims of each id in their order, and the ids in theirs: whoever locks several rows does so in the same order. */
type Groups = Map<RecordId, readonly [Claim, ...Claim[]]>;

/**
 * A claim is one INSERT IGNORE, which takes no row that is there: all or nothing for each key, whatever others do. Where
 * the server says that it took all rows of the statement, all keys are claimed, and the one round trip is all. When that
 * was, by its clock, comes along as the id that the answer of an INSERT has room for (`LAST_INSERT_ID(…)`). Where it took
 * fewer, a SELECT tells whose the others are; MySQL has no statement that writes and tells.
 *
 * A key that this process met before is looked at first, since it will be found: retries come in storms, and reading
 * writes no log. It is claimed by INSERT all the same where the record has gone.
 */
export class Claims {
  readonly #table: string;
  readonly #clock: () => string;
  readonly #counted: Counted;
  readonly #places: Places;
  readonly #met = new Recent<true>();

  constructor(table: string, clock: () => string, counted: Counted, places: Places) {
    this.#table = table;
    this.#clock = clock;
    this.#counted = counted;
    this.#places = places;
  }

  claimOf(request: ClaimRequest, reached: Reached | null): Claim {
    const clock = this.#clock();
    return { request, row: rowOf(request, clock), clock, reached };
  }

  /** The record of this id is gone, as far as this process knows. */
  gone(id: RecordId): void {
    this.#met.delete(id);
  }

  /** What became of each claim, in their order. Of several for one id the first one gets it. */
  async run(query: Query, claims: readonly Claim[]): Promise<readonly Claimed[]> {
    const results = new Map<Claim, Claimed>();
    const read: Groups = new Map();
    const fresh: Groups = new Map();
    for (const [id, group] of byId(claims))
      (this.#met.get(id) || group[0].reached !== null ? read : fresh).set(id, group);
    const refused = await this.#counted.refused(
      query,
      [...fresh.values()].map(([{ request }]) => request),
    );
    for (const id of refused.keys()) move(id, fresh, read);
    const inserted = fresh.size === 0 ? null : await this.#insert(query, fresh);
    if (inserted?.all) this.#tellInserted(fresh, inserted.madeAtUs, results);
    else for (const id of [...fresh.keys()]) move(id, fresh, read);
    if (read.size > 0) await this.#read(query, read, inserted?.madeAtUs ?? 0, results);
    for (const claim of claims) {
      const { id } = claim.request;
      if (results.has(claim)) this.#met.set(id, true);
      else {
        this.#met.delete(id);
        const limit = claim.reached ?? refused.get(id) ?? null;
        if (limit !== null) results.set(claim, { outcome: "full", limit });
        // What is locked is no row that is there, but the place for one.
        else if (inserted?.blocked) throw inserted.blocked;
      }
    }
    return claims.map((claim) => results.get(claim) ?? null);
  }

  async #insert(query: Query, groups: Groups): Promise<Inserted> {
    const rows = [...groups.values()].map(([{ row }]) => row).join(", ");
    // Whatever comes of it, the next to ask looks first.
    for (const id of groups.keys()) this.#met.set(id, true);
    try {
      const { affected, lastId } = await query(`INSERT IGNORE INTO ${this.#table} (${CLAIMED_COLUMNS}) VALUES ${rows}`);
      const all = affected === groups.size;
      if (all && !(lastId > 0))
        throw new Error("the server, or what is in front of it, does not answer LAST_INSERT_ID()");
      return { all, madeAtUs: lastId, blocked: null };
    } catch (error) {
      // Somebody has locked a row that is there, perhaps. What it says can be read all the same.
      if (isLockTimeout(error)) return { all: false, madeAtUs: 0, blocked: error };
      throw error;
    }
  }

  #tellInserted(groups: Groups, madeAtUs: number, results: Map<Claim, Claimed>): void {
    for (const group of groups.values()) {
      const [{ request, clock }] = group;
      const now = instantOf(clock, madeAtUs);
      const record = claimedRecord(request, now);
      this.#places.remember(request.fence, madeAtUs);
      for (const claim of group) results.set(claim, metBy(claim.request, { record, now }));
    }
  }

  /** `insertedAtUs` is when this batch made records, 0 where it made none. */
  async #read(query: Query, groups: Groups, insertedAtUs: number, results: Map<Claim, Claimed>): Promise<void> {
    const ids = [...groups.keys()].map(hex).join(", ");
    const { rows } = await query(
      `SELECT ${foundColumns(this.#clock())} FROM ${this.#table} ${BY_ID} WHERE id IN (${ids})`,
    );
    const over: RecordId[] = [];
    for (const row of rows) {
      const found = readFound(row);
      const { id, fence, state, expiresAt, leaseUntil } = found.record;
      if (expiresAt <= found.now && leaseUntil <= found.now) {
        over.push(id);
        continue;
      }
      if (state !== "done") this.#places.remember(fence, found.madeAtUs);
      for (const claim of groups.get(id) ?? []) {
        const met = metBy(claim.request, found);
        const isSettled = met.outcome === "found" || found.madeAtUs === insertedAtUs;
        const result = isSettled ? met : await this.#renewed(query, claim.request, found);
        if (result !== null) results.set(claim, result);
      }
    }
    if (over.length === 0) return;
    // What makes them anew is the INSERT of whoever comes first.
    const list = over.sort().map(hex).join(", ");
    await query(`DELETE gone FROM ${this.#table} AS gone ${BY_ID} WHERE id IN (${list}) AND ${expired(this.#clock())}`);
  }

  /** SPEC §4.12: a claim whose answer was lost is one's own, and its lease begins anew. */
  async #renewed(query: Query, request: ClaimRequest, { record }: RowFound): Promise<Claimed> {
    const clock = this.#clock();
    const { leaseMs } = claimTimes(request);
    const { index, which } = this.#places.reach([request]);
    const { lastId } = await query(
      `UPDATE ${this.#table} ${index} SET lease_until = LAST_INSERT_ID(${clock}) + (${integer(leaseMs)}) ` +
        `WHERE ${which} AND fence = ${hex(request.fence)} AND state = ${RUNNING} AND ${live(clock)}`,
    );
    if (!(lastId > 0)) return null;
    return { outcome: "claimed", record: { ...record, leaseUntil: lastId + leaseMs }, now: lastId };
  }
}

/** What came of an INSERT. */
interface Inserted {
  /** Whether it took all rows. */
  readonly all: boolean;
  /** When, in microseconds of the server's clock; 0 where it did nothing since it waited too long for a lock. */
  readonly madeAtUs: number;
  readonly blocked: unknown;
}

function byId(claims: readonly Claim[]): Groups {
  const groups = new Map<RecordId, [Claim, ...Claim[]]>();
  for (const claim of [...claims].sort((one, other) => (one.request.id < other.request.id ? -1 : 1))) {
    const group = groups.get(claim.request.id);
    if (group === undefined) groups.set(claim.request.id, [claim]);
    else group.push(claim);
  }
  return groups;
}

function move(id: RecordId, from: Groups, to: Groups): void {
  const group = from.get(id);
  if (group === undefined) return;
  from.delete(id);
  to.set(id, group);
}

/** Of a copy, since each caller may change what it gets. */
function metBy(
  { fence }: ClaimRequest,
  { record, now }: Omit<RowFound, "madeAtUs">,
): Exclude<ClaimResult, { outcome: "full" }> {
  const isOwn = record.fence === fence && record.state === "running";
  const copy = { ...record, payload: record.payload?.slice() ?? null };
  return { outcome: isOwn ? "claimed" : "found", record: copy, now };
}

/** Of a new record. */
const CLAIMED_COLUMNS = `made_at, id, state, fence, account_hash, created_at, expires_at, lease_until, fingerprint, account, \`key\`,
  operation, run_id`;
/** All. */
export const RECORD_COLUMNS: string = `${CLAIMED_COLUMNS}, ended_at, status, payload, steps`;

/** Its instants are relative to the server's clock, but for an expiry that the request chose itself. */
function rowOf(request: ClaimRequest, clock: string): string {
  const { id, fence, fingerprint, labels } = request;
  const { ageMs, forMs, untilAt, leaseMs } = claimTimes(request);
  const values = [
    `LAST_INSERT_ID(${CLOCK_US})`,
    hex(id),
    String(RUNNING),
    hex(fence),
    accountHash(labels.account),
    `${clock} - ${integer(ageMs)}`,
    untilAt === null ? `${clock} + (${integer((forMs ?? 0) - ageMs)})` : integer(untilAt),
    `${clock} + (${integer(leaseMs)})`,
    textOrNull(fingerprint),
    text(labels.account),
    text(labels.key),
    text(labels.operation),
    text(labels.runId),
  ];
  return `(${values.join(", ")})`;
}
