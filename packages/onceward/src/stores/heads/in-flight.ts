// Bounds how many operations are under way at once, for stores that have no batch: requests go out side by side.

import { IdempotencyError } from "../../core/errors.js";

export interface InFlightOptions {
  /** Of the store, for messages, such as `NATS`. */
  readonly name: string;
  /** Operations under way at once before later ones wait. */
  readonly most: number;
  /**
   * An operation that takes longer no longer counts, in milliseconds: what is slow holds nobody up. It must end by itself,
   * by a timeout of its requests.
   */
  readonly longestWaitMs: number;
  /** Operations that may wait; more are refused. */
  readonly maxQueued: number;
  /** One that has waited for so long is not started any more but refused, in milliseconds. Default: none is. */
  readonly giveUpAfterMs?: number;
}

interface Waiting {
  readonly since: number;
  readonly start: (slot: Slot) => void;
  readonly refuse: (error: unknown) => void;
}

/** Held by an operation from its start until its end, or until it has taken too long. */
interface Slot {
  readonly since: number;
}

/**
 * An operation that comes while there is room starts at once; answers are given as they come. Those that wait start in
 * their order, but where more wait than can be under way, the latest first: in an overload the first have been given up
 * by their callers by the time they would start, and serving only such would let the overload never end.
 */
export class InFlight {
  readonly #options: InFlightOptions;
  readonly #waiting: Waiting[] = [];
  /** The oldest first. */
  readonly #slots = new Set<Slot>();
  #underWay = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #idle: (() => void) | undefined;

  constructor(options: InFlightOptions) {
    this.#options = options;
  }

  /** Rejects as `work` does, with `store_closed`, or with `store_unavailable` where too many wait already. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    this.assertOpen();
    this.#underWay++;
    let slot: Slot | undefined;
    try {
      slot = this.#slots.size < this.#options.most ? this.#take() : await this.#turn();
      return await work();
    } finally {
      this.#underWay--;
      if (slot !== undefined) this.#slots.delete(slot);
      this.#admit();
      if (this.#underWay === 0) this.#idle?.();
    }
  }

  assertOpen(): void {
    if (this.#closed) throw new IdempotencyError("store_closed", `The ${this.#options.name} store has been closed.`);
  }

  /** Refuses new operations and waits for those under way and those that wait. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  #take(): Slot {
    const slot = { since: performance.now() };
    this.#slots.add(slot);
    return slot;
  }

  #turn(): Promise<Slot> {
    const { name, maxQueued } = this.#options;
    if (this.#waiting.length >= maxQueued) {
      const reason = `${maxQueued} operations wait for the ${name} store already.`;
      return Promise.reject(new IdempotencyError("store_unavailable", reason));
    }
    return new Promise((start, refuse) => {
      this.#waiting.push({ since: performance.now(), start, refuse });
      this.#watch();
    });
  }

  #admit(): void {
    const { name, most, giveUpAfterMs = Number.POSITIVE_INFINITY } = this.#options;
    while (this.#slots.size < most) {
      const next = this.#waiting.length > most ? this.#waiting.pop() : this.#waiting.shift();
      if (next === undefined) return;
      if (performance.now() - next.since < giveUpAfterMs) next.start(this.#take());
      else next.refuse(new IdempotencyError("store_unavailable", `Too many operations waited for the ${name} store.`));
    }
  }

  /** While any wait: one timer, for the oldest slot. */
  #watch(): void {
    const [oldest] = this.#slots;
    if (this.#timer !== undefined || oldest === undefined) return;
    const { longestWaitMs } = this.#options;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        const until = performance.now() - longestWaitMs;
        for (const slot of this.#slots) if (slot.since <= until) this.#slots.delete(slot);
        this.#admit();
        if (this.#waiting.length > 0) this.#watch();
      },
      Math.max(1, oldest.since + longestWaitMs - performance.now()),
    );
  }
}
