// Gathers the operations of concurrent requests, so that they share one round trip or one commit.

import { IdempotencyError } from "../../core/errors.js";

/** What one call of a round trip came to; a member that fails never fails its neighbours. */
export type Reply<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: unknown };

/** The settings of gathering that a store's users see. */
export interface GatheringOptions {
  /** Operations that one round trip may carry. */
  readonly maxBatch: number;
  /** How long an operation waits for the round trip under way before it goes out beside it, in milliseconds. */
  readonly longestWaitMs: number;
}

export interface GathererOptions<Call, Value> extends GatheringOptions {
  /** Of the store, for messages, such as `SQLite`. */
  readonly name: string;
  /**
   * One round trip: answers a reply for each call, in their order. Where it rejects, all of its calls have failed, but
   * for those that {@link retryAlone} is about.
   */
  send(calls: readonly Call[]): Promise<readonly Reply<Value>[]>;
  /** Round trips under way at once before operations wait for one another. Default 1. */
  readonly lanes?: number;
  /** Round trips under way at once, those included that went out since others took too long. Default `lanes`. */
  readonly maxLanes?: number;
  /** Two calls of one key never share a round trip, and a round trip's calls are in the order of their keys. */
  keyOf?(call: Call): string;
  /** Bytes of a call, where a round trip is bounded by `maxBatchBytes` too; a larger call travels alone. */
  sizeOf?(call: Call): number;
  readonly maxBatchBytes?: number;
  /**
   * Whether a round trip that rejected with this error had no effect and may have failed because of one of its calls:
   * then each is sent alone.
   */
  retryAlone?(error: unknown): boolean;
  /** Operations that may wait; more are refused. */
  readonly maxQueued: number;
  /** Longest an operation goes without an answer, in milliseconds; then it is rejected as `store_unavailable`. */
  readonly giveUpAfterMs: number;
}

interface Member<Call, Value> {
  readonly call: Call;
  readonly since: number;
  /** Cleared once it is answered. */
  pending: boolean;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: unknown) => void;
}

/** Members that have been sent and still stand in the queue, at most. */
const CUT_OFF = 4_096;

/**
 * An operation goes out in the next turn of the event loop, together with those that were asked for in the same one; a
 * lone request thus never waits. While as many round trips as there are lanes are under way, later operations gather for
 * the next. All answers of one are given in one burst, so that what their callers do next is gathered again.
 */
export class Gatherer<Call, Value> {
  readonly #options: GathererOptions<Call, Value>;
  readonly #lanes: number;
  readonly #maxLanes: number;
  #queue: Member<Call, Value>[] = [];
  /** Where the queue begins; what is before it has been sent. */
  #head = 0;
  readonly #underWay = new Set<readonly Member<Call, Value>[]>();
  #closed = false;
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;
  #idle: (() => void) | undefined;

  constructor(options: GathererOptions<Call, Value>) {
    this.#options = options;
    this.#lanes = options.lanes ?? 1;
    this.#maxLanes = Math.max(this.#lanes, options.maxLanes ?? this.#lanes);
  }

  /** Rejects with the call's own error, `store_unavailable` where it took too long, or `store_closed`. */
  submit(call: Call): Promise<Value> {
    const { name, maxQueued } = this.#options;
    if (this.#closed) return Promise.reject(new IdempotencyError("store_closed", `The ${name} store has been closed.`));
    if (this.#queue.length - this.#head >= maxQueued) {
      const reason = `${maxQueued} operations wait for the ${name} store already.`;
      return Promise.reject(new IdempotencyError("store_unavailable", reason));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ call, since: performance.now(), pending: true, resolve, reject });
      this.#schedule();
    });
  }

  /** Refuses new operations and waits for those under way and those that wait. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#busy()) await new Promise<void>((resolve) => (this.#idle = resolve));
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #busy(): boolean {
    return this.#underWay.size > 0 || this.#queue.length > this.#head;
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay.size >= this.#lanes || this.#queue.length === this.#head) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#underWay.size < this.#lanes) this.#depart();
    });
  }

  #depart(): void {
    const members = this.#take();
    if (members.length > 0) void this.#travel(members);
    else if (!this.#busy()) this.#idle?.();
  }

  async #travel(members: readonly Member<Call, Value>[]): Promise<void> {
    this.#underWay.add(members);
    this.#timer ??= this.#watch();
    await this.#send(members);
    this.#underWay.delete(members);
    if (this.#busy()) this.#schedule();
    else this.#idle?.();
  }

  async #send(members: readonly Member<Call, Value>[]): Promise<void> {
    try {
      const replies = await this.#options.send(members.map(({ call }) => call));
      for (const [index, member] of members.entries()) settle(member, replies[index] ?? UNANSWERED);
    } catch (error) {
      if (members.length > 1 && this.#options.retryAlone?.(error)) {
        await Promise.all(members.map((member) => this.#send([member])));
      } else {
        for (const member of members) settle(member, { ok: false, error });
      }
    }
  }

  #take(): readonly Member<Call, Value>[] {
    const { maxBatch, keyOf, sizeOf, maxBatchBytes = Number.POSITIVE_INFINITY } = this.#options;
    const members: Member<Call, Value>[] = [];
    const put: Member<Call, Value>[] = [];
    const keys = new Set<string>();
    let bytes = 0;
    while (this.#head < this.#queue.length && members.length < maxBatch && put.length < maxBatch) {
      const member = this.#queue[this.#head];
      if (member?.pending) {
        bytes += sizeOf?.(member.call) ?? 0;
        if (members.length > 0 && bytes > maxBatchBytes) break;
        const key = keyOf?.(member.call);
        if (key !== undefined && keys.has(key)) put.push(member);
        else {
          if (key !== undefined) keys.add(key);
          members.push(member);
        }
      }
      // One that gave up while it waited had no effect and is to have none.
      this.#head++;
    }
    // Those whose key is in this round trip stay first in line.
    while (put.length > 0) this.#queue[--this.#head] = put.pop() as Member<Call, Value>;
    // Cut off seldom, since that moves all that is behind; but also where new ones always come before it is empty.
    if (this.#head === this.#queue.length || this.#head >= CUT_OFF) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    if (keyOf === undefined) return members;
    return members.sort((one, other) => (keyOf(one.call) < keyOf(other.call) ? -1 : 1));
  }

  /** Lets out whoever has waited long and rejects whoever has waited too long; one timer, since one each would cost more. */
  #watch(): NodeJS.Timeout {
    const { longestWaitMs, giveUpAfterMs, name } = this.#options;
    const timer = setInterval(
      () => {
        const now = performance.now();
        const waiting = this.#queue.slice(this.#head);
        for (const member of [...waiting, ...[...this.#underWay].flat()]) {
          if (now - member.since < giveUpAfterMs) continue;
          const reason = `The ${name} store has not answered within ${giveUpAfterMs} ms.`;
          settle(member, { ok: false, error: new IdempotencyError("store_unavailable", reason) });
        }
        const first = waiting.find(({ pending }) => pending);
        if (first && now - first.since >= longestWaitMs && this.#underWay.size < this.#maxLanes) this.#depart();
        if (this.#busy()) return;
        clearInterval(timer);
        this.#timer = undefined;
      },
      Math.max(5, Math.min(longestWaitMs, giveUpAfterMs / 10)),
    );
    timer.unref();
    return timer;
  }
}

const UNANSWERED: Reply<never> = { ok: false, error: new Error("a round trip answered fewer calls than it had") };

function settle<Value>(member: Member<unknown, Value>, reply: Reply<Value>): void {
  if (!member.pending) return;
  member.pending = false;
  if (reply.ok) member.resolve(reply.value);
  else member.reject(reply.error);
}
