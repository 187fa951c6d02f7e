// Compares this node's clock with the server's, which stamps messages: it judges nothing, but it is the same for all nodes.

import type { NatsBucket } from "./bucket.js";

const CLOCK_KEY = "clock";
const AGAIN_AFTER_MS = 600_000;

/**
 * Nodes that are each within half the declared skew of the server are within it of one another. A node that is not says
 * so, once; nothing else comes of it (SPEC §4.3).
 */
export class ClockCheck {
  readonly #bucket: NatsBucket;
  readonly #now: () => number;
  readonly #maxClockSkewMs: number;
  readonly #warn: (message: string) => void;
  #nextAt = 0;
  #warned = false;

  constructor(
    bucket: NatsBucket,
    now: () => number,
    { maxClockSkewMs, warn }: { readonly maxClockSkewMs: number; readonly warn: (message: string) => void },
  ) {
    this.#bucket = bucket;
    this.#now = now;
    this.#maxClockSkewMs = maxClockSkewMs;
    this.#warn = warn;
  }

  /** Looks where it has not for a while. */
  async look(): Promise<void> {
    if (this.#warned || this.#maxClockSkewMs === 0 || performance.now() < this.#nextAt) return;
    this.#nextAt = performance.now() + AGAIN_AFTER_MS;
    const offMs = await this.#offset();
    if (offMs === null || Math.abs(offMs) <= this.#maxClockSkewMs / 2) return;
    this.#warned = true;
    const how = offMs > 0 ? "ahead of" : "behind";
    this.#warn(
      `This node's clock is ${Math.abs(Math.round(offMs))} ms ${how} the NATS server's, and nodes may be ` +
        `${this.#maxClockSkewMs} ms apart (maxClockSkewMs): synchronise it, or raise that on all nodes.`,
    );
  }

  /** By how much this node's clock is ahead of the server's at least; null where another node looked just then. */
  async #offset(): Promise<number | null> {
    const before = await this.#bucket.get(CLOCK_KEY);
    const sentAt = this.#now();
    const revision = await this.#bucket.put(CLOCK_KEY, before?.revision ?? 0, CLOCK_KEY, new Uint8Array(0));
    const ackedAt = this.#now();
    const stamped = await this.#bucket.get(CLOCK_KEY);
    if (stamped === null || stamped.revision !== revision) return null;
    // The server stamped it at some time between sending and the answer.
    return Math.max(0, sentAt - stamped.at) + Math.min(0, ackedAt - stamped.at);
  }
}
