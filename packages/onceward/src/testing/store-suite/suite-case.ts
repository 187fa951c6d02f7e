// What a case of the store suite is, and what it is given.

import { randomBytes } from "node:crypto";
import type { Answer, StoredRecord } from "../../core/record.js";
import type { ClaimRequest, ClaimResult, Store, StoreLimits } from "../../core/store.js";
import type { SqlStatement } from "../../core/transactions.js";

/** A place for records, empty at first, that one case has to itself. */
export interface StorePlace {
  /**
   * Makes a store on this place's data, not opened yet. A shared store is made several times on the same data; any
   * other has data of its own each time.
   */
  create(options?: { readonly limits?: Partial<StoreLimits> }): Store;
  /** Moves the clock that these stores judge by (under `clock: "running"`: adds to an offset). */
  advance(ms: number): void | Promise<void>;
  /** How other processes get at the same data; only where the store is shared. */
  readonly process?: StoreProcess;
  /**
   * Runs one statement in the database of the stores, in a transaction of its own, and answers how many rows it changed;
   * only where the store has transactions.
   */
  execute?(statement: SqlStatement): number | Promise<number>;
  /** Clears the place away. The stores are closed already. */
  remove?(): void | Promise<void>;
}

/** How a process of its own makes a store on the same data: `createStore(argument)` of an ES module. */
export interface StoreProcess {
  /** Path or URL of a module that exports `createStore(argument: string): Store`. It is plain JavaScript. */
  readonly module: string;
  readonly argument: string;
}

/** What a store has beside the operations that all have; a case that needs more of it is left out. */
export interface StoreCapabilities {
  /** Whether several instances, and processes, can use the same data. */
  readonly shared: boolean;
  readonly history: boolean;
  /** Whether an operation can record its answer in a transaction of its own (SPEC §7.1). Default false. */
  readonly transactions?: boolean;
  /** `fake`: time stands still until {@link StorePlace.advance}. `running`: a real clock with an offset. */
  readonly clock: "fake" | "running";
}

export interface SuiteCase {
  /** Begins with the clause that it proves. */
  readonly title: string;
  readonly needs?: "shared" | "history" | "transactions" | "fake clock";
  run(bench: SuiteBench): Promise<void>;
}

export const SECOND = 1_000;
export const HOUR = 3_600_000;
export const DAY: number = 24 * HOUR;

/** What a case works with: one open store, more on demand, and short ways to say things. */
export class SuiteBench {
  readonly place: StorePlace;
  readonly capabilities: StoreCapabilities;
  readonly #opened: Store[] = [];
  #store: Store | undefined;

  constructor(place: StorePlace, capabilities: StoreCapabilities) {
    this.place = place;
    this.capabilities = capabilities;
  }

  /** The store of the case. */
  get store(): Store {
    if (this.#store === undefined) throw new Error("The bench has not been started.");
    return this.#store;
  }

  async start(): Promise<void> {
    this.#store = await this.open();
  }

  /** A further store on the same place. */
  async open(options?: { readonly limits?: Partial<StoreLimits> }): Promise<Store> {
    const store = this.place.create(options);
    this.#opened.push(store);
    await store.open();
    return store;
  }

  async end(): Promise<void> {
    for (const store of this.#opened) await store.close();
    await this.place.remove?.();
  }

  async advance(ms: number): Promise<void> {
    await this.place.advance(ms);
  }

  /** Claims, and insists on getting the record. */
  async claimed(change: ClaimChange = {}, store: Store = this.store): Promise<StoredRecord> {
    const result = await store.claim(claimOf(change));
    if (result.outcome !== "claimed") throw new Error(`A claim was answered "${result.outcome}".`);
    return result.record;
  }

  /** Claims a record and completes it. */
  async done(change: ClaimChange = {}, answer: Answer = answerOf("done")): Promise<StoredRecord> {
    const record = await this.claimed(change);
    if (!(await this.store.complete(record.id, record.fence, answer))) throw new Error("A claim was not completed.");
    return record;
  }

  /** The record as it is now, or null. */
  async found(id: string): Promise<StoredRecord | null> {
    return (await this.store.find(id))?.record ?? null;
  }

  /** The ids of all that a listing holds, page by page. */
  async listed(query: Omit<Parameters<Store["list"]>[0], "limit" | "cursor">, limit = 100): Promise<string[]> {
    const ids: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await this.store.list(cursor === undefined ? { ...query, limit } : { ...query, limit, cursor });
      ids.push(...page.items.map((record) => record.id));
      if (page.next === null) return ids;
      cursor = page.next;
    }
  }
}

/** Parts of a claim that a case cares about. */
export type ClaimChange = Partial<Omit<ClaimRequest, "labels">> & Partial<ClaimRequest["labels"]>;

/** A claim of a new key, for an hour, with a lease of a minute, but for what is given. */
export function claimOf(change: ClaimChange = {}): ClaimRequest {
  const { account = "acme", key = "key-1", operation = "POST /v1/transfers", runId = "run-1", ...rest } = change;
  return {
    id: newId(),
    fence: newFence(),
    fingerprint: "exact:9f86d081",
    ageMs: 0,
    retention: { forMs: HOUR },
    leaseMs: 60 * SECOND,
    ...rest,
    labels: { account, key, operation, runId },
  };
}

export function newId(): string {
  return randomBytes(32).toString("hex");
}

export function newFence(): string {
  return randomBytes(16).toString("hex");
}

export function answerOf(text: string, status = 200): Answer {
  return { status, payload: new TextEncoder().encode(text) };
}

/** The record of a result that has one. */
export function recordIn(result: ClaimResult): StoredRecord {
  if (result.outcome === "full") throw new Error("A claim was answered full.");
  return result.record;
}

/** `count` times what `make` gives, at the same time. */
export function together<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => make(index)));
}
