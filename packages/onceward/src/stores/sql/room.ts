// How near the limits on records a database is, as far as one process knows, without a count that every claim would change.

import type { StoreLimits } from "../../core/store.js";

/** Counts records that have not expired, of an account or (null) of all; it need not count beyond `limit`. */
export type CountRecords = (account: string | null, limit: number) => Promise<number>;

/** Records that a process makes for an account it has not counted, before it counts. */
const FIRST_COUNT = 100;
/** Of the room that is left, the share that is filled before the next count, since others fill it too. */
const SHARE = 16;
/** A full account is counted again after so many times what counting took, and at least these milliseconds. */
const RECOUNT = 20;
const RECOUNT_MS = 100;
/** Accounts that are remembered. */
const MAX_ACCOUNTS = 10_000;

interface Tally {
  /** The last count, and what this process made since. */
  records: number;
  /** Made since the last count. */
  made: number;
  /** Counted when so many were made. */
  countAfter: number;
  /** Not counted before, on the process's monotonic clock. */
  restUntilMs: number;
  counting: boolean;
}

/**
 * For limits so large that no claim can count up to them (SPEC §9.4). A counter in the database would be a row that all
 * processes wait for; this counts in the background instead, seldom where there is much room and often where there is
 * little. One process keeps its limit exactly; of several each may exceed it by what the others add between two counts.
 */
export class Room {
  readonly #limits: StoreLimits;
  readonly #count: CountRecords;
  readonly #accounts = new Map<string, Tally>();
  readonly #all: Tally = newTally(0);

  /** A limit up to `exactUpTo` is none of this one's business: claims count by themselves. */
  constructor(limits: StoreLimits, exactUpTo: number, count: CountRecords) {
    const own = (limit: number): number => (limit <= exactUpTo ? Number.POSITIVE_INFINITY : limit);
    this.#limits = { maxRecordsPerAccount: own(limits.maxRecordsPerAccount), maxRecords: own(limits.maxRecords) };
    this.#count = count;
  }

  /** The limit that a further record of the account would be over, or null. */
  reached(account: string): "account" | "store" | null {
    const { maxRecordsPerAccount, maxRecords } = this.#limits;
    const tally = this.#accounts.get(account);
    if (tally !== undefined && tally.records >= maxRecordsPerAccount) {
      this.#recount(tally, account, maxRecordsPerAccount);
      return "account";
    }
    if (this.#all.records < maxRecords) return null;
    this.#recount(this.#all, null, maxRecords);
    return "store";
  }

  /** Tells of a record that this process made. */
  made(account: string): void {
    const { maxRecordsPerAccount, maxRecords } = this.#limits;
    if (maxRecords < Number.POSITIVE_INFINITY) this.#add(this.#all, null, maxRecords);
    if (maxRecordsPerAccount < Number.POSITIVE_INFINITY) this.#add(this.#tally(account), account, maxRecordsPerAccount);
  }

  #tally(account: string): Tally {
    const known = this.#accounts.get(account);
    if (known !== undefined) return known;
    const tally = newTally(FIRST_COUNT);
    this.#accounts.set(account, tally);
    // The oldest makes room; one that goes on making records is counted again.
    for (const oldest of this.#accounts.keys()) {
      if (this.#accounts.size <= MAX_ACCOUNTS) break;
      this.#accounts.delete(oldest);
    }
    return tally;
  }

  #add(tally: Tally, account: string | null, limit: number): void {
    tally.records++;
    tally.made++;
    if (tally.made >= tally.countAfter) this.#recount(tally, account, limit);
  }

  #recount(tally: Tally, account: string | null, limit: number): void {
    const began = performance.now();
    if (tally.counting || began < tally.restUntilMs) return;
    tally.counting = true;
    tally.made = 0;
    const counted = (records: number): void => {
      // Some of those made meanwhile are counted twice, until the next time.
      tally.records = records + tally.made;
      tally.countAfter = Math.max(FIRST_COUNT, Math.floor((limit - records) / SHARE));
    };
    // Where it cannot be counted now, it is tried again.
    this.#count(account, limit)
      .then(counted, () => {})
      .finally(() => {
        tally.counting = false;
        tally.restUntilMs = performance.now() + Math.max(RECOUNT_MS, RECOUNT * (performance.now() - began));
      });
  }
}

function newTally(countAfter: number): Tally {
  return { records: 0, made: 0, countAfter, restUntilMs: 0, counting: false };
}
