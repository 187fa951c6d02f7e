// The bound on new keys a second and account (SPEC §9.4): a token bucket for each account seen lately.

import type { Clock } from "../core/clock.js";

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Accounts remembered at once; the longest unseen are forgotten, which refills their buckets. */
const MAX_ACCOUNTS = 10_000;

export class KeyThrottle {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #capacity: number;
  readonly #buckets = new Map<string, Bucket>();

  /** Allows `perSecond` new keys, and as many at once. */
  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#capacity = Math.max(1, perSecond);
  }

  /** Whether the account may make another record now. If so it counts as made, until it is given back. */
  take(account: string): boolean {
    const bucket = this.#bucket(account);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  /** The account did not make the record after all: the key was there already, or the store was out of reach. */
  giveBack(account: string): void {
    const bucket = this.#bucket(account);
    bucket.tokens = Math.min(this.#capacity, bucket.tokens + 1);
  }

  #bucket(account: string): Bucket {
    const nowMs = this.#clock.monotonic();
    const capacity = this.#capacity;
    const known = this.#buckets.get(account);
    const tokens = known === undefined ? capacity : known.tokens + ((nowMs - known.atMs) / 1_000) * this.#perSecond;
    const bucket = { tokens: Math.min(capacity, tokens), atMs: nowMs };
    // Deleted first, so that the map stays in the order of last use.
    this.#buckets.delete(account);
    this.#buckets.set(account, bucket);
    if (this.#buckets.size > MAX_ACCOUNTS) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket;
  }
}
