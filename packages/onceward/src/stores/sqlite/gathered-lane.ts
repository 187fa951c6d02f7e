// A store's lane to its database: the operations of concurrent requests share one message and one commit.

import { IdempotencyError } from "../../core/errors.js";
import { Gatherer, type Reply } from "../gathering/gatherer.js";
import { errorOf } from "./batch.js";
import type { Batch, BatchReply, Call, OperationName, Operations } from "./protocol.js";

/** Where batches go; one at a time. */
export interface Lane {
  open(): Promise<void>;
  run(batch: Batch): Promise<BatchReply>;
  /** Also while a batch hangs. */
  close(): Promise<void>;
}

export interface GatheredLaneOptions {
  readonly maxBatch: number;
  readonly maxQueued: number;
  /** Longest an operation goes without an answer, in milliseconds; then it is rejected. */
  readonly maxWaitMs: number;
  /** For tests: the instant to judge by. */
  readonly now: (() => number) | null;
}

/** An answer, and the instant it was judged by. */
export interface Answered<T> {
  readonly value: T;
  readonly now: number;
}

export class GatheredLane {
  readonly #lane: Lane;
  readonly #gatherer: Gatherer<Call, Answered<unknown>>;
  #state: "new" | "open" | "closed" = "new";

  constructor(lane: Lane, { maxBatch, maxQueued, maxWaitMs, now }: GatheredLaneOptions) {
    this.#lane = lane;
    this.#gatherer = new Gatherer({
      name: "SQLite",
      ...{ maxBatch, maxQueued, giveUpAfterMs: maxWaitMs },
      // One writer at a time is all that a database has.
      ...{ lanes: 1, exclusive: true, longestWaitMs: maxWaitMs },
      send: async (calls) => repliesOf(await lane.run({ calls, now: now?.() ?? null })),
    });
  }

  async open(): Promise<void> {
    if (this.#state !== "new") throw this.#refusal();
    await this.#lane.open();
    this.#state = "open";
  }

  submit<K extends OperationName>(name: K, ...args: Operations[K]["args"]): Promise<Answered<Operations[K]["value"]>> {
    if (this.#state !== "open") return Promise.reject(this.#refusal());
    return this.#gatherer.submit([name, ...args] as unknown as Call) as Promise<Answered<Operations[K]["value"]>>;
  }

  /** Refuses new operations, waits for those under way and for those that wait, and closes the lane. */
  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    await this.#gatherer.close();
    await this.#lane.close();
  }

  #refusal(): IdempotencyError {
    const reasons = { new: "has not been opened", open: "is open already", closed: "has been closed" };
    return new IdempotencyError("store_closed", `The SQLite store ${reasons[this.#state]}.`);
  }
}

function repliesOf({ values, instants, faults }: BatchReply): readonly Reply<Answered<unknown>>[] {
  const replies: Reply<Answered<unknown>>[] = values.map((value, index) => ({
    ok: true,
    value: { value, now: instants[index] ?? 0 },
  }));
  for (const [index, fault] of faults) replies[index] = { ok: false, error: errorOf(fault) };
  return replies;
}
