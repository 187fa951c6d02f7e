// Gathers the operations of concurrent requests, so that they share one message and one commit.

import { IdempotencyError } from "../../core/errors.js";
import { errorOf } from "./batch.js";
import type { Batch, BatchReply, Call, OperationName, Operations } from "./protocol.js";

/** Where batches go; one at a time. */
export interface Lane {
  open(): Promise<void>;
  run(batch: Batch): Promise<BatchReply>;
  close(): Promise<void>;
}

export interface GathererOptions {
  /** Operations that one batch may have. */
  readonly maxBatch: number;
  /** Operations that may wait for the next batch; more are refused. */
  readonly maxQueued: number;
  /** Longest an operation goes without an answer, in milliseconds; then it is rejected. */
  readonly maxWaitMs: number;
  /** For tests: the instant to judge by. */
  readonly now: (() => number) | null;
}

interface Member {
  readonly call: Call;
  readonly since: number;
  /** Cleared once it is answered. */
  pending: boolean;
  readonly resolve: (value: never, now: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Members that have been sent and still stand in the queue, at most. */
const CUT_OFF = 4_096;

/** An answer, and the instant it was judged by. */
export interface Answered<T> {
  readonly value: T;
  readonly now: number;
}

/**
 * An operation goes out in the next turn of the event loop, together with those that were asked for in the same one; a
 * lone request thus never waits. While a batch is under way, later operations gather for the next. All answers of a
 * batch are given in one burst, so that what their callers do next is gathered again.
 */
export class Gatherer {
  readonly #lane: Lane;
  readonly #options: GathererOptions;
  #queue: Member[] = [];
  /** Where the queue begins; what is before it has been sent. */
  #sent = 0;
  #underWay: readonly Member[] = [];
  #state: "new" | "open" | "closed" = "new";
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;
  #idle: (() => void) | undefined;

  constructor(lane: Lane, options: GathererOptions) {
    this.#lane = lane;
    this.#options = options;
  }

  async open(): Promise<void> {
    if (this.#state !== "new") throw closedError(this.#state);
    await this.#lane.open();
    this.#state = "open";
  }

  submit<K extends OperationName>(name: K, ...args: Operations[K]["args"]): Promise<Answered<Operations[K]["value"]>> {
    if (this.#state !== "open") return Promise.reject(closedError(this.#state));
    if (this.#queue.length - this.#sent >= this.#options.maxQueued) {
      return Promise.reject(
        new IdempotencyError("store_unavailable", `${this.#options.maxQueued} operations wait for the store already.`),
      );
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({
        call: [name, ...args] as unknown as Call,
        since: performance.now(),
        pending: true,
        resolve: (value, now) => resolve({ value, now }),
        reject,
      });
      this.#schedule();
    });
  }

  /** Refuses new operations, waits for those under way and for those that wait, and closes the lane. */
  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    if (this.#busy()) await new Promise<void>((resolve) => (this.#idle = resolve));
    clearInterval(this.#timer);
    await this.#lane.close();
  }

  #busy(): boolean {
    return this.#underWay.length > 0 || this.#queue.length > this.#sent;
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay.length > 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const members = this.#take();
    if (members.length === 0) {
      this.#idle?.();
      return;
    }
    this.#underWay = members;
    this.#timer ??= this.#watch();
    try {
      const calls = members.map((member) => member.call);
      this.#answer(members, await this.#lane.run({ calls, now: this.#options.now?.() ?? null }));
    } catch (error) {
      for (const member of members) settle(member, () => member.reject(error));
    }
    this.#underWay = [];
    this.#schedule();
  }

  #take(): readonly Member[] {
    const members: Member[] = [];
    while (this.#sent < this.#queue.length && members.length < this.#options.maxBatch) {
      const member = this.#queue[this.#sent++];
      // One that gave up while it waited had no effect and is to have none.
      if (member?.pending) members.push(member);
    }
    // Cut off seldom, since that moves all that is behind; but also where new ones always come before it is empty.
    if (this.#sent === this.#queue.length || this.#sent >= CUT_OFF) {
      this.#queue = this.#queue.slice(this.#sent);
      this.#sent = 0;
    }
    return members;
  }

  #answer(members: readonly Member[], reply: BatchReply): void {
    const faults = new Map(reply.faults);
    for (const [index, member] of members.entries()) {
      const fault = faults.get(index);
      settle(member, () => {
        if (fault !== undefined) member.reject(errorOf(fault));
        else member.resolve(reply.values[index] as never, reply.instants[index] ?? 0);
      });
    }
  }

  /** Rejects whoever has waited too long; one timer for all, since one for each would cost more than the operation. */
  #watch(): NodeJS.Timeout {
    const { maxWaitMs } = this.#options;
    const timer = setInterval(
      () => {
        const since = performance.now() - maxWaitMs;
        for (const member of [...this.#underWay, ...this.#queue.slice(this.#sent)]) {
          if (member.since < since) settle(member, () => member.reject(tooLong(maxWaitMs)));
        }
        if (this.#busy()) return;
        clearInterval(timer);
        this.#timer = undefined;
      },
      Math.max(10, maxWaitMs / 10),
    );
    timer.unref();
    return timer;
  }
}

function settle(member: Member, answer: () => void): void {
  if (!member.pending) return;
  member.pending = false;
  answer();
}

function tooLong(maxWaitMs: number): IdempotencyError {
  return new IdempotencyError("store_unavailable", `The SQLite store has not answered within ${maxWaitMs} ms.`);
}

function closedError(state: "new" | "open" | "closed"): IdempotencyError {
  const reason = state === "new" ? "has not been opened" : state === "open" ? "is open already" : "has been closed";
  return new IdempotencyError("store_closed", `The SQLite store ${reason}.`);
}
