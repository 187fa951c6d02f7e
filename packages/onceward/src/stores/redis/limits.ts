// Limits in a cluster (SPEC §9.4), where no script sees all records: counted where one may be near.

import type { StoreLimits } from "../../core/store.js";
import { textBytes } from "./bytes.js";
import { COUNT } from "./lua/places.js";
import { type Places, placesArgument } from "./places.js";
import { Script } from "./script.js";

/** A count is gone by for so long at most. */
const FRESH_MS = 1_000;
/** And for so large a part of what it left room for, since others go by counts of their own. */
const SHARE = 8;
const MOST_ACCOUNTS = 10_000;

interface Count {
  readonly at: number;
  readonly total: number;
  readonly held: number;
  /** How many claims were allowed by it. */
  allowed: number;
}

export class ClusterLimits {
  readonly #limits: StoreLimits;
  readonly #places: Places;
  readonly #common: () => readonly string[];
  readonly #purge: () => Promise<number>;
  readonly #script = new Script(COUNT);
  readonly #counts = new Map<string, Promise<Count>>();

  /** @param purge Deletes some of what has expired, everywhere, and answers how many it were. */
  constructor(limits: StoreLimits, places: Places, common: () => readonly string[], purge: () => Promise<number>) {
    this.#limits = limits;
    this.#places = places;
    this.#common = common;
    this.#purge = purge;
  }

  /**
   * From how many records of an account, and in all, in one place on a claim asks here first: records are spread evenly,
   * so that half of the limit is far from being reached as long as no place has half of its share.
   */
  get thresholds(): readonly [perAccount: string, perPlace: string] {
    const share = (limit: number) => String(Math.floor(limit / (2 * this.#places.all.length)));
    return [share(this.#limits.maxRecordsPerAccount), share(this.#limits.maxRecords)];
  }

  /** Which limit a new record of the account would exceed. Rejects where too few nodes can be asked. */
  async reached(account: string): Promise<"account" | "store" | null> {
    const limit = await this.#judge(account);
    if (limit === null || (await this.#purge()) === 0) return limit;
    this.#counts.delete(account);
    return this.#judge(account);
  }

  async #judge(account: string): Promise<"account" | "store" | null> {
    const { maxRecordsPerAccount, maxRecords } = this.#limits;
    for (;;) {
      const counting = this.#counts.get(account) ?? this.#count(account);
      const count = await counting;
      const room = Math.min(maxRecordsPerAccount - count.held, maxRecords - count.total);
      const stale = performance.now() - count.at > FRESH_MS || (count.allowed > 0 && count.allowed >= room / SHARE);
      if (stale || room <= 0) {
        if (this.#counts.get(account) === counting) this.#counts.delete(account);
        if (stale) continue;
        return count.held >= maxRecordsPerAccount ? "account" : "store";
      }
      count.allowed += 1;
      return null;
    }
  }

  #count(account: string): Promise<Count> {
    if (this.#counts.size >= MOST_ACCOUNTS) this.#counts.clear();
    const counting = this.#ask(account);
    this.#counts.set(account, counting);
    counting.catch(() => this.#counts.delete(account));
    return counting;
  }

  async #ask(account: string): Promise<Count> {
    const name = textBytes(account);
    const parts = await Promise.all(
      this.#places.byNode().map(async ({ node, places }) => {
        const args = [...this.#common(), name, placesArgument(places)];
        return (await this.#script.run(node.send, [], args)) as readonly [number, number];
      }),
    );
    const sum = (index: 0 | 1) => parts.reduce((all, part) => all + Number(part[index]), 0);
    return { at: performance.now(), total: sum(0), held: sum(1), allowed: 0 };
  }
}
