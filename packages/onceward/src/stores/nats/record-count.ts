// Keeps the limits on records (SPEC §9.4) without a counter that all nodes would have to write.

import type { StoreLimits } from "../../core/store.js";

export interface RecordCountOptions {
  readonly limits: StoreLimits;
  /** An upper bound of how many records there are; one request. */
  size(): Promise<number>;
  /** How many records that have not expired each account has: reads the notes of all. */
  count(): Promise<ReadonlyMap<string, number>>;
}

/** A count that took longer than this is not repeated at once. */
const QUICK_MS = 250;
/** A long count is repeated after so many times its duration, so that counting takes 5 % of the time at most. */
const REST = 20;
/** What other nodes may have added meanwhile: a count is trusted until this share of the room that it found is taken. */
const TRUSTED_SHARE = 1 / 16;

interface Counts {
  /** Null where the bucket as a whole holds less than any limit. */
  readonly accounts: ReadonlyMap<string, number> | null;
  /** Of all accounts together; no fewer than there are where they were not counted. */
  readonly total: number;
}

/** Records made here, less those given back. */
interface Added {
  readonly accounts: Map<string, number>;
  total: number;
}

/**
 * Each node reckons with what it last counted and what it has added since, and counts anew once that is a sixteenth of
 * the room there was. So limits are exact for one node, and several may exceed them by what they add between their
 * counts. Where the bucket as a whole holds fewer messages than an account may have records, nothing is counted at all.
 */
export class RecordCount {
  readonly #options: RecordCountOptions;
  #counts: Counts | null = null;
  #added: Added = { accounts: new Map(), total: 0 };
  #looking: Promise<void> | null = null;
  #restUntil = 0;

  constructor(options: RecordCountOptions) {
    this.#options = options;
  }

  /** Looks how much there is, so that the first claim need not. */
  prepare(): Promise<void> {
    return this.#look();
  }

  /** Which limit stands in the way of another record of the account. */
  async reached(account: string): Promise<"account" | "store" | null> {
    if (this.#counts === null || this.#isStale(this.#counts, account)) await this.#look();
    if (this.#limitOf(account) === null) return null;
    // Records that expired, or that other nodes gave back, may have made room.
    await this.#look();
    return this.#limitOf(account);
  }

  made(account: string): void {
    this.#add(account, 1);
  }

  gone(account: string): void {
    this.#add(account, -1);
  }

  #add(account: string, change: number): void {
    const { accounts } = this.#added;
    const added = (accounts.get(account) ?? 0) + change;
    if (added === 0) accounts.delete(account);
    else accounts.set(account, added);
    this.#added.total += change;
  }

  #addedOf(account: string): number {
    return this.#added.accounts.get(account) ?? 0;
  }

  #limitOf(account: string): "account" | "store" | null {
    if (this.#counts === null) return null;
    const { maxRecordsPerAccount, maxRecords } = this.#options.limits;
    const { accounts, total } = this.#counts;
    const all = total + this.#added.total;
    const own = accounts === null ? all : (accounts.get(account) ?? 0) + this.#addedOf(account);
    if (own >= maxRecordsPerAccount) return "account";
    return all >= maxRecords ? "store" : null;
  }

  #isStale({ accounts, total }: Counts, account: string): boolean {
    const { maxRecordsPerAccount, maxRecords } = this.#options.limits;
    const least = accounts === null ? Math.min(maxRecordsPerAccount, maxRecords) : maxRecords;
    if (this.#added.total >= TRUSTED_SHARE * (least - total)) return true;
    if (accounts === null) return false;
    return this.#addedOf(account) >= TRUSTED_SHARE * (maxRecordsPerAccount - (accounts.get(account) ?? 0));
  }

  /** Those who ask meanwhile share one look; while it rests, what is known must do. */
  #look(): Promise<void> {
    if (this.#looking === null && performance.now() < this.#restUntil) return Promise.resolve();
    this.#looking ??= this.#lookNow().finally(() => (this.#looking = null));
    return this.#looking;
  }

  async #lookNow(): Promise<void> {
    const { limits, size, count } = this.#options;
    // What is added from here on may be counted or not, and is taken for not.
    const before = new Map(this.#added.accounts);
    const total = await size();
    if (total < Math.min(limits.maxRecordsPerAccount, limits.maxRecords)) {
      this.#counts = { accounts: null, total };
    } else {
      const startedAt = performance.now();
      const accounts = await count();
      const tookMs = performance.now() - startedAt;
      if (tookMs > QUICK_MS) this.#restUntil = performance.now() + REST * tookMs;
      this.#counts = { accounts, total: [...accounts.values()].reduce((sum, records) => sum + records, 0) };
    }
    for (const [account, added] of before) this.#add(account, -added);
  }
}
