// Limits in a cluster (SPEC §9.4), where no script sees all records: counted where one may be near.

import type { StoreLimits } from "../../core/store.js";
import { textBytes } from "./bytes.js";
import { COUNT } from "./lua/places.js";
import { type Places, placesArgument } from "./places.js";
import { Script } from "./script.js";

/** A count with room is gone by for so long at most, since other nodes claim too. */
const ROOMY_MS = 1_000;
/** And for so large a part of the room. */
const SHARE = 8;
/** One without room for so long: whoever claims all the same is not to keep the cluster busy with counting. */
const FULL_MS = 250;
const MOST_ACCOUNTS = 10_000;

type Limit = "account" | "store";

interface Count {
  readonly at: number;
  /** How many more records may be made, and which limit says so. */
  readonly room: number;
  readonly limit: Limit;
  /** Claims that were allowed by it. */
  allowed: number;
}

/** Claims of one account are judged one after the other. */
interface Ledger {
  turn: Promise<unknown>;
  count: Count | null;
  /** Claims that were allowed and that a count may not see yet. */
  readonly underWay: Set<Promise<unknown>>;
}

export interface ClusterLimitsOptions {
  readonly limits: StoreLimits;
  readonly places: Places;
  /** What scripts on places begin with. */
  readonly common: () => readonly string[];
  /** Deletes some of what has expired, everywhere, and answers how many it were. */
  readonly purge: () => Promise<number>;
  /** Milliseconds. */
  readonly clock: () => number;
}

export class ClusterLimits {
  readonly #options: ClusterLimitsOptions;
  readonly #script = new Script(COUNT);
  readonly #ledgers = new Map<string, Ledger>();

  constructor(options: ClusterLimitsOptions) {
    this.#options = options;
  }

  /**
   * From how many records of an account, and in all, in one place on a claim asks here first: records are spread evenly,
   * so that half of the limit is far from being reached as long as no place has half of its share.
   */
  get thresholds(): readonly [perAccount: string, perPlace: string] {
    const { limits, places } = this.#options;
    const share = (limit: number) => String(Math.floor(limit / (2 * places.all.length)));
    return [share(limits.maxRecordsPerAccount), share(limits.maxRecords)];
  }

  /** Claims where the limits allow it, else answers the one that is reached. Rejects where nodes cannot be asked. */
  async admit<T>(account: string, claim: () => Promise<T>): Promise<{ readonly claimed: T } | Limit> {
    const ledger = this.#ledgerOf(account);
    const admitting = ledger.turn.then(async () => {
      const limit = await this.#judge(ledger, account);
      if (limit !== null) return limit;
      const claiming = claim();
      ledger.underWay.add(claiming);
      const over = () => ledger.underWay.delete(claiming);
      claiming.then(over, over);
      return { claiming };
    });
    ledger.turn = admitting.catch(() => {});
    const admitted = await admitting;
    return typeof admitted === "string" ? admitted : { claimed: await admitted.claiming };
  }

  /** A key was given back: there may be room again. */
  freed(): void {
    for (const ledger of this.#ledgers.values()) ledger.count = null;
  }

  #ledgerOf(account: string): Ledger {
    const known = this.#ledgers.get(account);
    if (known !== undefined) return known;
    if (this.#ledgers.size >= MOST_ACCOUNTS) this.#ledgers.clear();
    const ledger: Ledger = { turn: Promise.resolve(), count: null, underWay: new Set() };
    this.#ledgers.set(account, ledger);
    return ledger;
  }

  async #judge(ledger: Ledger, account: string): Promise<Limit | null> {
    let count = ledger.count;
    if (count === null || this.#isStale(count)) {
      count = await this.#count(ledger, account);
      // Expired records make room before a claim is refused.
      if (count.room <= 0 && (await this.#options.purge()) > 0) count = await this.#count(ledger, account);
    }
    if (count.room <= 0) return count.limit;
    count.allowed += 1;
    return null;
  }

  #isStale({ at, room, allowed }: Count): boolean {
    const age = this.#options.clock() - at;
    return room <= 0 ? age > FULL_MS : age > ROOMY_MS || allowed >= room / SHARE;
  }

  async #count(ledger: Ledger, account: string): Promise<Count> {
    await Promise.allSettled(ledger.underWay);
    const { limits, places, common, clock } = this.#options;
    const name = textBytes(account);
    const parts = await Promise.all(
      (await places.byNode()).map(async ({ node, places: some }) => {
        const reply = await this.#script.run(node.send, [], [...common(), name, placesArgument(some)]);
        return reply as readonly [total: number, held: number];
      }),
    );
    const sum = (index: 0 | 1) => parts.reduce((all, part) => all + Number(part[index]), 0);
    const [ofStore, ofAccount] = [limits.maxRecords - sum(0), limits.maxRecordsPerAccount - sum(1)];
    ledger.count = {
      at: clock(),
      room: Math.min(ofStore, ofAccount),
      limit: ofAccount <= 0 ? "account" : "store",
      allowed: 0,
    };
    return ledger.count;
  }
}
