// A database in fake time, as far as transactions need one: rows that a transaction locks, and a ledger written in it.

import type { Clock } from "../../src/core/clock.js";
import { sleep } from "../../src/core/clock.js";
import type { Answer, Fence, RecordId } from "../../src/core/record.js";
import type { Store } from "../../src/core/store.js";
import type { TransactionResult, Transactions } from "../../src/core/transactions.js";
import { seededRandom } from "../../src/testing/random.js";

/** What a transaction's work writes with. */
export interface LedgerTx {
  write(key: string, entry: string): void;
}

/** How often what goes wrong with a transaction, from 0 to 1. */
export interface TransactionFaults {
  /** It cannot begin. */
  readonly begin?: number;
  /** The server refuses the COMMIT and rolls back. */
  readonly commitFails?: number;
  /** The COMMIT takes effect, and its answer is lost. */
  readonly commitLost?: number;
  /** The COMMIT's answer is lost, and it takes effect later. */
  readonly commitLate?: number;
  /** The COMMIT never arrives; the server rolls back once it has noticed that the connection is dead. */
  readonly commitCut?: number;
}

/** When the server rolls back what a dead connection left open. */
const DEAD_MS = 1_500;

/** What a node is to a database: it may die at each of its awaits. */
export interface Dying {
  step(): Promise<void>;
}

export class LedgerDatabase {
  /** What was committed, by key. */
  readonly entries = new Map<string, string[]>();
  /** The store whose records are in this database. */
  readonly store: Store;
  readonly #clock: Clock;
  readonly #beneath: Store;
  readonly #locks = new Map<RecordId, Promise<void>>();

  constructor(beneath: Store, clock: Clock) {
    this.#clock = clock;
    this.#beneath = beneath;
    this.store = this.#locking(beneath);
  }

  /** A node's connections. */
  transactions(node: Dying, seed: number, faults: TransactionFaults): Transactions<LedgerTx> {
    const random = seededRandom(seed);
    return {
      dialect: "postgres",
      synchronous: false,
      run: async (work, last) => {
        await node.step();
        if (random() < (faults.begin ?? 0)) return { outcome: "failed", error: new Error("cannot begin") };
        const written: (readonly [string, string])[] = [];
        let statement: ReturnType<NonNullable<typeof last>>;
        let value: Awaited<ReturnType<typeof work>>;
        try {
          value = await work({ write: (key, entry) => void written.push([key, entry]) });
          if (last === null) throw new Error("every request of the simulation has a key");
          statement = last(value);
        } catch (error) {
          return { outcome: "failed", error };
        }
        await node.step();
        const [id, fence, answer] = statement.values as [RecordId, Fence, Answer];
        const unlock = await this.#lock(id);
        const record = (await this.#beneath.find(id))?.record;
        if (record?.fence !== fence || record.state === "done") {
          unlock();
          return { outcome: "lost" };
        }
        const commit = async (): Promise<void> => {
          if (!(await this.#beneath.complete(id, fence, answer))) throw new Error("a locked row changed");
          for (const [key, entry] of written) this.entries.set(key, [...(this.entries.get(key) ?? []), entry]);
          unlock();
        };
        return this.#commit(node, random(), faults, value, commit, unlock);
      },
    };
  }

  async #commit<T>(
    node: Dying,
    drawn: number,
    faults: TransactionFaults,
    value: T,
    commit: () => Promise<void>,
    rollBack: () => void,
  ): Promise<TransactionResult<T>> {
    const noticed = this.#clock.after(DEAD_MS, rollBack);
    await node.step();
    const lost = { outcome: "unknown", error: new Error("the connection was cut") } as const;
    let left = drawn;
    const happens = (rate: number | undefined): boolean => {
      const hit = left >= 0 && left < (rate ?? 0);
      left -= rate ?? 0;
      return hit;
    };
    if (happens(faults.commitCut)) return lost;
    noticed();
    if (happens(faults.commitFails)) {
      rollBack();
      return { outcome: "failed", error: new Error("could not serialize") };
    }
    if (happens(faults.commitLate)) {
      void sleep(this.#clock, 700).then(commit);
      return lost;
    }
    await commit();
    if (happens(faults.commitLost)) return lost;
    await node.step();
    return { outcome: "committed", value };
  }

  /** Waits until nobody has the row, and takes it. */
  async #lock(id: RecordId): Promise<() => void> {
    while (this.#locks.has(id)) await this.#locks.get(id);
    let free = (): void => {};
    const locked = new Promise<void>((resolve) => {
      free = resolve;
    });
    this.#locks.set(id, locked);
    return () => {
      if (this.#locks.get(id) === locked) this.#locks.delete(id);
      free();
    };
  }

  /** Writers of a row wait for whoever has it locked; readers do not. */
  #locking(beneath: Store): Store {
    const writers = new Set(["renew", "complete", "interrupt", "takeOver", "settle", "release", "appendStep"]);
    return new Proxy(beneath, {
      get: (target, name) => {
        if (name === "transactions") {
          const completion = (...values: readonly unknown[]) => ({ text: "complete", values });
          return { dialect: "postgres", completion };
        }
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== "function") return member;
        return async (...args: unknown[]): Promise<unknown> => {
          const id = args[0] as RecordId;
          if (writers.has(String(name))) while (this.#locks.has(id)) await this.#locks.get(id);
          return Reflect.apply(member, target, args);
        };
      },
    });
  }
}
