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
  /**
   * Whether a round trip keeps its lane until it ends, also where it took so long that all its calls were given up: of a
   * connection that does one thing after the other. Else its lane is free for others then. Default false.
   */
  readonly exclusive?: boolean;
  /** Two calls of one key never share a round trip, and a round trip's calls are in the order of their keys. */
  keyOf?(call: Call): string;
  /** Bytes of a call, where a round trip is bounded by `maxBatchBytes` too; a larger call travels alone. */
  sizeOf?(call: Call): number;
  readonly maxBatchBytes?: number;
  /**
   * Whether a round trip that rejected with this error had no effect and may have failed because of one of its calls:
   * then its halves are sent one after the other, and theirs, until that one travels alone.
   */
  retryAlone?(error: unknown): boolean;
  /** Operations that may wait; more are refused. */
  readonly maxQueued: number;
  /** Longest an operation goes without an answer, in milliseconds; then it is rejected as `store_unavailable`. */
  readonly giveUpAfterMs: number;
}

interface Member<Call, Value> {
  readonly call: Call;
  readonly key: string | undefined;
  readonly since: number;
  /** Cleared once it is answered, or given up. */
  pending: boolean;
  /** The next call of the same key. */
  follower: Member<Call, Value> | undefined;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: unknown) => void;
}

/** Members that have been sent and still stand in the queue, at most. */
const CUT_OFF = 4_096;

/**
 * An operation goes out in the next turn of the event loop, together with those that were asked for in the same one; a
 * lone request thus never waits. While as many round trips as there are lanes are under way, later operations gather for
 * the next. All answers of one are given in one burst, so that what their callers do next is gathered again.
 *
 * Calls of one key stand in the queue as one: the first of them, with the others behind it. When it is sent, the next
 * takes a place at the end, so that thousands of duplicates of one key cost a round trip's other calls nothing.
 */
export class Gatherer<Call, Value> {
  readonly #options: GathererOptions<Call, Value>;
  readonly #lanes: number;
  readonly #maxLanes: number;
  #queue: Member<Call, Value>[] = [];
  /** Where the queue begins; what is before it has been sent. */
  #head = 0;
  /** Members that wait, those behind others of their key included. */
  #waiting = 0;
  /** The last that waits of each key. */
  readonly #lasts = new Map<string, Member<Call, Value>>();
  readonly #underWay = new Set<readonly Member<Call, Value>[]>();
  #closing: Promise<void> | undefined;
  #closed: (() => void) | undefined;
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;
  #lookedAt = 0;

  constructor(options: GathererOptions<Call, Value>) {
    this.#options = options;
    this.#lanes = options.lanes ?? 1;
    this.#maxLanes = Math.max(this.#lanes, options.maxLanes ?? this.#lanes);
  }

  /** Rejects with the call's own error, `store_unavailable` where it took too long, or `store_closed`. */
  submit(call: Call): Promise<Value> {
    const { name, maxQueued, keyOf } = this.#options;
    if (this.#closing)
      return Promise.reject(new IdempotencyError("store_closed", `The ${name} store has been closed.`));
    if (this.#waiting >= maxQueued) {
      const reason = `${maxQueued} operations wait for the ${name} store already.`;
      return Promise.reject(new IdempotencyError("store_unavailable", reason));
    }
    return new Promise((resolve, reject) => {
      const since = performance.now();
      this.#enqueue({ call, key: keyOf?.(call), since, pending: true, follower: undefined, resolve, reject });
      this.#schedule();
    });
  }

  /**
   * Refuses new operations and waits for those under way and those that wait, but for no longer than any of them may go
   * without an answer.
   */
  close(): Promise<void> {
    this.#closing ??= new Promise<void>((resolve) => {
      this.#closed = resolve;
    });
    this.#endIfOver();
    return this.#closing;
  }

  #enqueue(member: Member<Call, Value>): void {
    this.#waiting++;
    const { key } = member;
    const last = key === undefined ? undefined : this.#lasts.get(key);
    if (key !== undefined) this.#lasts.set(key, member);
    if (last === undefined) this.#queue.push(member);
    else last.follower = member;
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting === 0 || this.#underWay.size >= this.#lanes) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#waiting > 0 && this.#underWay.size < this.#lanes) this.#depart();
      this.#endIfOver();
    });
  }

  #depart(): void {
    const members = this.#take();
    if (members.length > 0) void this.#travel(members);
  }

  async #travel(members: readonly Member<Call, Value>[]): Promise<void> {
    this.#underWay.add(members);
    this.#timer ??= this.#watch();
    await this.#send(members);
    this.#underWay.delete(members);
    this.#schedule();
    this.#endIfOver();
  }

  async #send(members: readonly Member<Call, Value>[]): Promise<void> {
    let failure: unknown;
    try {
      const replies = await this.#options.send(members.map(({ call }) => call));
      for (const [index, member] of members.entries()) settle(member, replies[index] ?? UNANSWERED);
      return;
    } catch (error) {
      failure = error;
    }
    // One that gave up meanwhile had no effect and is to have none.
    const left = members.filter(({ pending }) => pending);
    if (members.length === 1 || left.length === 0 || !this.#options.retryAlone?.(failure)) {
      for (const member of left) settle(member, { ok: false, error: failure });
      return;
    }
    const middle = Math.ceil(left.length / 2);
    await this.#send(left.slice(0, middle));
    if (middle < left.length) await this.#send(left.slice(middle));
  }

  #take(): readonly Member<Call, Value>[] {
    const { maxBatch, keyOf, sizeOf, maxBatchBytes = Number.POSITIVE_INFINITY } = this.#options;
    const members: Member<Call, Value>[] = [];
    const followers: Member<Call, Value>[] = [];
    let bytes = 0;
    while (this.#head < this.#queue.length && members.length < maxBatch) {
      const member = this.#skipGivenUp(this.#queue[this.#head] as Member<Call, Value>);
      if (member !== undefined) {
        bytes += sizeOf?.(member.call) ?? 0;
        if (members.length > 0 && bytes > maxBatchBytes) {
          this.#queue[this.#head] = member;
          break;
        }
        members.push(member);
        const follower = this.#dequeue(member);
        if (follower !== undefined) followers.push(follower);
      }
      this.#head++;
    }
    // Cut off seldom, since that moves all that is behind; but also where new ones always come before it is empty.
    if (this.#head === this.#queue.length || this.#head >= CUT_OFF) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    this.#queue.push(...followers);
    return keyOf === undefined ? members : members.sort((one, other) => ((one.key ?? "") < (other.key ?? "") ? -1 : 1));
  }

  /** Takes a member out of those that wait, and answers the next of its key. */
  #dequeue(member: Member<Call, Value>): Member<Call, Value> | undefined {
    this.#waiting--;
    const { key, follower } = member;
    if (key !== undefined && follower === undefined) this.#lasts.delete(key);
    return follower;
  }

  /** The first of a key that still waits for an answer. One that gave up while it waited is to have no effect. */
  #skipGivenUp(first: Member<Call, Value>): Member<Call, Value> | undefined {
    let member: Member<Call, Value> | undefined = first;
    while (member !== undefined && !member.pending) member = this.#dequeue(member);
    return member;
  }

  /** Lets out whoever has waited long and rejects whoever has waited too long; one timer, since one each would cost more. */
  #watch(): NodeJS.Timeout {
    const { longestWaitMs, giveUpAfterMs } = this.#options;
    const mayOvertake = this.#maxLanes > this.#lanes;
    const lookMs = giveUpAfterMs / 10;
    this.#lookedAt = performance.now();
    const timer = setInterval(
      () => {
        const now = performance.now();
        if (now - this.#lookedAt >= lookMs) this.#giveUp(now);
        const first = this.#queue[this.#head];
        const waits = first !== undefined && now - first.since >= longestWaitMs;
        if (mayOvertake && waits && this.#underWay.size < this.#maxLanes) this.#depart();
        this.#endIfOver();
        if (this.#waiting > 0 || this.#underWay.size > 0) return;
        clearInterval(timer);
        this.#timer = undefined;
      },
      Math.max(5, mayOvertake ? Math.min(longestWaitMs, lookMs) : lookMs),
    );
    timer.unref();
    return timer;
  }

  #giveUp(now: number): void {
    const { giveUpAfterMs, name, exclusive } = this.#options;
    this.#lookedAt = now;
    const look = (member: Member<Call, Value>): void => {
      if (!member.pending || now - member.since < giveUpAfterMs) return;
      const reason = `The ${name} store has not answered within ${giveUpAfterMs} ms.`;
      settle(member, { ok: false, error: new IdempotencyError("store_unavailable", reason) });
    };
    const waiting: Member<Call, Value>[] = [];
    for (let at = this.#head; at < this.#queue.length; at++) {
      const first = this.#queue[at] as Member<Call, Value>;
      for (let member: Member<Call, Value> | undefined = first; member !== undefined; member = member.follower)
        look(member);
      const left = this.#skipGivenUp(first);
      if (left !== undefined) waiting.push(left);
    }
    this.#queue = waiting;
    this.#head = 0;
    for (const members of this.#underWay) {
      for (const member of members) look(member);
      if (!exclusive && isOver(members)) this.#underWay.delete(members);
    }
    this.#schedule();
  }

  #endIfOver(): void {
    if (this.#closed === undefined || this.#waiting > 0 || ![...this.#underWay].every(isOver)) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#closed();
  }
}

const UNANSWERED: Reply<never> = { ok: false, error: new Error("a round trip answered fewer calls than it had") };

function settle<Value>(member: Member<unknown, Value>, reply: Reply<Value>): void {
  if (!member.pending) return;
  member.pending = false;
  if (reply.ok) member.resolve(reply.value);
  else member.reject(reply.error);
}

function isOver(members: readonly { readonly pending: boolean }[]): boolean {
  return members.every(({ pending }) => !pending);
}
