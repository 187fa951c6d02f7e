// Reads a consumer's messages one by one, and knows when there are no more of them.

import type { NatsMessageLike, NatsMessagesLike } from "./client.js";
import { unavailable } from "./faults.js";

/** After so long without a message the stream's leader is asked whether there are more. */
const ASK_AFTER_MS = 500;
/** A consumer that is silent for so long, though there are more, is lost, or its server lags far behind. */
const LOST_AFTER_MS = 10_000;

/**
 * A consumer may live on a server whose copy of the stream lags behind its leader's, so that it says of a message that
 * there are none after it where there are; and the message that is to be the last may be deleted before it is sent.
 */
export class ScanReader {
  readonly #messages: NatsMessagesLike;
  readonly #last: () => Promise<number>;
  readonly #iterator: AsyncIterator<NatsMessageLike>;
  readonly #timer: NodeJS.Timeout;
  #read = 0;
  /** Null while nobody waits for a message. */
  #waitingSince: number | null = null;
  #over = false;

  /** `last`: the sequence number of the last message that there is. */
  constructor(messages: NatsMessagesLike, last: () => Promise<number>) {
    this.#messages = messages;
    this.#last = last;
    this.#iterator = messages[Symbol.asyncIterator]();
    this.#timer = setInterval(() => void this.#look(), ASK_AFTER_MS);
  }

  /** Null where there are no more. Rejects with `store_unavailable`. */
  async next(): Promise<NatsMessageLike | null> {
    this.#waitingSince = performance.now();
    try {
      const next = await this.#iterator.next();
      if (next.done === true) {
        if (this.#over) return null;
        throw new Error("its consumer ended early");
      }
      this.#read = next.value.seq;
      return next.value;
    } catch (error) {
      throw unavailable("scan the keys of a bucket", error);
    } finally {
      this.#waitingSince = null;
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#messages.stop();
  }

  async #look(): Promise<void> {
    const since = this.#waitingSince;
    const silentMs = since === null ? 0 : performance.now() - since;
    if (silentMs > LOST_AFTER_MS) this.#messages.stop(new Error("its consumer went silent"));
    if (silentMs < ASK_AFTER_MS) return;
    const last = await this.#last().catch(() => Number.POSITIVE_INFINITY);
    if (last > this.#read || this.#waitingSince !== since) return;
    this.#over = true;
    this.#messages.stop();
  }
}
