// Limits on records that are small enough to be counted before each claim (SPEC §9.4).

import type { RecordId } from "../../core/record.js";
import type { ClaimRequest, StoreLimits } from "../../core/store.js";
import { accountHash } from "./account-hash.js";
import type { Query } from "./sessions.js";
import { integer } from "./statements.js";

export type Reached = "account" | "store";

/** Up to this many records a limit is counted by claims, in a round trip of its own; beyond it now and then (room.ts). */
export const COUNTED_BY_CLAIMS = 1_000;

/** An account with a small limit, or all of them (null), and what is left of it. */
interface Left {
  readonly limit: Reached;
  /** What is left by the count, and after those of this batch that were let through. */
  readonly counted: number;
  left: number;
}

export class Counted {
  readonly #table: string;
  readonly #clock: () => string;
  readonly #limits: StoreLimits;

  constructor(table: string, clock: () => string, limits: StoreLimits) {
    this.#table = table;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** SQL: how many records of an account, or of all (null), have not expired, counted up to `most`. */
  #sql(account: string | null, most: number): string {
    const index = account === null ? "by_expiry" : "by_account";
    const which = account === null ? "" : `account_hash = ${accountHash(account)} AND `;
    const rows = `SELECT 1 FROM ${this.#table} FORCE INDEX (${index}) WHERE ${which}expires_at > ${this.#clock()}`;
    return `(SELECT COUNT(*) FROM (${rows} LIMIT ${integer(most)}) AS counted)`;
  }

  async count(query: Query, account: string | null, most: number): Promise<number> {
    const { rows } = await query(`SELECT ${this.#sql(account, most)}`);
    return Number(rows[0]?.[0]);
  }

  /**
   * Which of these claims may make no record, and by which limit; null where that depends on what becomes of others of
   * the batch. Asks nothing where the limits are large.
   */
  async refused(query: Query, requests: readonly ClaimRequest[]): Promise<ReadonlyMap<RecordId, Reached | null>> {
    const refused = new Map<RecordId, Reached | null>();
    const lefts = await this.#left(query, new Set(requests.map(({ labels }) => labels.account)));
    if (lefts.size === 0) return refused;
    for (const { id, labels } of requests) {
      const bounds = [lefts.get(labels.account), lefts.get(null)].filter((left) => left !== undefined);
      const over = bounds.find(({ left }) => left <= 0);
      if (over === undefined) for (const bound of bounds) bound.left--;
      // One of those that were let through may be there already, and then there is room for this one.
      else refused.set(id, over.counted <= 0 ? over.limit : null);
    }
    return refused;
  }

  async #left(query: Query, accounts: ReadonlySet<string>): Promise<ReadonlyMap<string | null, Left>> {
    const { maxRecordsPerAccount, maxRecords } = this.#limits;
    const asked: Array<readonly [string | null, number]> = [];
    if (maxRecordsPerAccount <= COUNTED_BY_CLAIMS)
      for (const name of accounts) asked.push([name, maxRecordsPerAccount]);
    if (maxRecords <= COUNTED_BY_CLAIMS) asked.push([null, maxRecords]);
    if (asked.length === 0 || accounts.size === 0) return new Map();
    const { rows } = await query(`SELECT ${asked.map(([account, most]) => this.#sql(account, most)).join(", ")}`);
    return new Map(
      asked.map(([account, most], index) => {
        const counted = most - Number(rows[0]?.[index]);
        return [account, { limit: account === null ? "store" : "account", counted, left: counted }];
      }),
    );
  }
}
