// Claims, many in one statement.

import type { RecordId } from "../../core/record.js";
import type { ClaimRequest, ClaimResult } from "../../core/store.js";
import { claimedRecord, claimTimes, RUNNING } from "../sql/states.js";
import { accountHash } from "./account-hash.js";
import type { Counted, Reached } from "./counted.js";
import { RecentIds } from "./recent-ids.js";
import { BY_ID, expired, foundColumns, live, type RowFound, readFound } from "./record-rows.js";
import type { Query } from "./sessions.js";
import { CLOCK_US, hex, integer, text, textOrNull } from "./statements.js";

/** A request with its row as it is written into statements. */
export interface Claim {
  readonly request: ClaimRequest;
  readonly row: string;
  /** The limit that is known to be reached, so that no record may be made. */
  readonly reached: Reached | null;
}

/** What a claim met; or null where the record went away meanwhile, so that it is to be made again. */
export type Claimed = ClaimResult | null;

/** The claims of each id in their order, and the ids in theirs: whoever locks several rows does so in the same order. */
type Groups = Map<RecordId, readonly [Claim, ...Claim[]]>;

/**
 * A claim is one INSERT IGNORE, which takes no row that is there: all or nothing for each key, whatever others do. Where
 * the server says that it took all rows of the statement, all keys are claimed, and the one round trip is all. Its clock
 * comes along as the id that the answer of an INSERT has room for (`LAST_INSERT_ID(…)`). Where it took fewer, a SELECT
 * tells whose the others are; MySQL has no statement that writes and tells.
 *
 * A key that this process met before is looked at first, since it will be found: retries come in storms, and reading
 * writes no log. It is claimed by INSERT all the same where the record has gone.
 */
export class Claims {
  readonly #table: string;
  readonly #clock: () => string;
  readonly #counted: Counted;
  readonly #met = new RecentIds();

  constructor(table: string, clock: () => string, counted: Counted) {
    this.#table = table;
    this.#clock = clock;
    this.#counted = counted;
  }

  claimOf(request: ClaimRequest, reached: Reached | null): Claim {
    return { request, row: rowOf(request, this.#clock()), reached };
  }

  /** The record of this id is gone, as far as this process knows. */
  gone(id: RecordId): void {
    this.#met.delete(id);
  }

  /** What became of each claim, in their order. Of several for one id the first one gets it. */
  async run(query: Query, claims: readonly Claim[]): Promise<readonly Claimed[]> {
    const results = new Map<Claim, Claimed>();
    const groups = byId(claims);
    const read: Groups = new Map();
    const fresh: Groups = new Map();
    for (const [id, group] of groups) (this.#met.has(id) || group[0].reached !== null ? read : fresh).set(id, group);
    const refused = await this.#counted.refused(
      query,
      [...fresh.values()].map(([{ request }]) => request),
    );
    for (const id of refused.keys()) move(id, fresh, read);
    const inserted = fresh.size === 0 ? null : await this.#insert(query, fresh);
    if (inserted?.all) tellInserted(fresh, inserted.now, results);
    else for (const id of [...fresh.keys()]) move(id, fresh, read);
    if (read.size > 0) await this.#read(query, read, inserted?.now ?? null, results);
    for (const claim of claims) {
      const { id } = claim.request;
      if (results.has(claim)) this.#met.add(id);
      else {
        this.#met.delete(id);
        const limit = claim.reached ?? refused.get(id) ?? null;
        if (limit !== null) results.set(claim, { outcome: "full", limit });
      }
    }
    return claims.map((claim) => results.get(claim) ?? null);
  }

  async #insert(query: Query, groups: Groups): Promise<{ readonly all: boolean; readonly now: number }> {
    const rows = [...groups.values()].map(([{ row }]) => row).join(", ");
    const { affected, lastId } = await query(`INSERT IGNORE INTO ${this.#table} (${COLUMNS}) VALUES ${rows}`);
    if (!(lastId > 0)) throw new Error("the server, or something in front of it, did not answer LAST_INSERT_ID()");
    return { all: affected === groups.size, now: lastId };
  }

  async #read(query: Query, groups: Groups, insertedAt: number | null, results: Map<Claim, Claimed>): Promise<void> {
    const ids = [...groups.keys()].map(hex).join(", ");
    const { rows } = await query(
      `SELECT ${foundColumns(this.#clock())} FROM ${this.#table} ${BY_ID} WHERE id IN (${ids})`,
    );
    const over: RecordId[] = [];
    for (const row of rows) {
      const found = readFound(row);
      const { id, expiresAt, leaseUntil } = found.record;
      if (expiresAt <= found.now && leaseUntil <= found.now) {
        over.push(id);
        continue;
      }
      for (const claim of groups.get(id) ?? []) {
        const met = metBy(claim.request, found);
        const isNew = insertedAt !== null && leaseUntil === insertedAt + claimTimes(claim.request).leaseMs;
        const isSettled = met.outcome === "found" || isNew;
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
    const { lastId } = await query(
      `UPDATE ${this.#table} ${BY_ID} SET lease_until = LAST_INSERT_ID(${clock}) + (${integer(leaseMs)}) ` +
        `WHERE id = ${hex(request.id)} AND fence = ${hex(request.fence)} AND state = ${RUNNING} AND ${live(clock)}`,
    );
    if (!(lastId > 0)) return null;
    return { outcome: "claimed", record: { ...record, leaseUntil: lastId + leaseMs }, now: lastId };
  }
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

function tellInserted(groups: Groups, now: number, results: Map<Claim, Claimed>): void {
  for (const group of groups.values()) {
    const record = claimedRecord(group[0].request, now);
    for (const claim of group) results.set(claim, metBy(claim.request, { record, now }));
  }
}

/** Of a copy, since each caller may change what it gets. */
function metBy({ fence }: ClaimRequest, { record, now }: RowFound): Exclude<ClaimResult, { outcome: "full" }> {
  const isOwn = record.fence === fence && record.state === "running";
  const copy = { ...record, payload: record.payload?.slice() ?? null };
  return { outcome: isOwn ? "claimed" : "found", record: copy, now };
}

const COLUMNS = `made_at, id, state, fence, account_hash, created_at, expires_at, lease_until, fingerprint, account, \`key\`,
  operation, run_id`;

/** Its instants are relative to the server's clock, but for an expiry that the request chose itself. */
function rowOf(request: ClaimRequest, clock: string): string {
  const { id, fence, fingerprint, labels } = request;
  const { ageMs, forMs, untilAt, leaseMs } = claimTimes(request);
  const values = [
    CLOCK_US,
    hex(id),
    String(RUNNING),
    hex(fence),
    accountHash(labels.account),
    `${clock} - ${integer(ageMs)}`,
    untilAt === null ? `${clock} + (${integer((forMs ?? 0) - ageMs)})` : integer(untilAt),
    `LAST_INSERT_ID(${clock}) + (${integer(leaseMs)})`,
    textOrNull(fingerprint),
    text(labels.account),
    text(labels.key),
    text(labels.operation),
    text(labels.runId),
  ];
  return `(${values.join(", ")})`;
}
