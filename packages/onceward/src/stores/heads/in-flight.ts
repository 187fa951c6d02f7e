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
}

/** Held by an operation from its start until its end, or until it has taken too long. */
interface Slot {
  readonly since: number;
}

/** An operation that comes while there is room starts at once; answers are given as they come. */
export class InFlight {
  readonly #options: InFlightOptions;
  readonly #waiting = new Set<(slot: Slot) => void>();
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
    if (this.#waiting.size >= maxQueued) {
      const reason = `${maxQueued} operations wait for the ${name} store already.`;
      return Promise.reject(new IdempotencyError("store_unavailable", reason));
    }
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      this.#watch();
    });
  }

  #admit(): void {
    for (const resolve of this.#waiting) {
      if (this.#slots.size >= this.#options.most) return;
      this.#waiting.delete(resolve);
      resolve(this.#take());
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
        if (this.#waiting.size > 0) this.#watch();
      },
      Math.max(1, oldest.since + longestWaitMs - performance.now()),
    );
  }
}
