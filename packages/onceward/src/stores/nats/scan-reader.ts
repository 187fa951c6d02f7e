// Reads a consumer's messages one by one, and knows when there are no more of them.

import type { NatsConsumerLike, NatsMessageLike, NatsMessagesLike } from "./client.js";

/** After so long without a message the server is asked whether there are more. */
const ASK_AFTER_MS = 500;
/** A consumer that is silent for so long, though there are more, is lost. */
const LOST_AFTER_MS = 10_000;

/**
 * A message says how many are still to come, but those may be deleted or overwritten before they are sent, and then none
 * says that it was the last.
 */
export class ScanReader {
  readonly #consumer: NatsConsumerLike;
  readonly #messages: NatsMessagesLike;
  readonly #iterator: AsyncIterator<NatsMessageLike>;
  readonly #timer: NodeJS.Timeout;
  /** Null while nobody waits for a message. */
  #waitingSince: number | null = null;
  #over = false;

  constructor(consumer: NatsConsumerLike, messages: NatsMessagesLike) {
    this.#consumer = consumer;
    this.#messages = messages;
    this.#iterator = messages[Symbol.asyncIterator]();
    this.#timer = setInterval(() => void this.#look(), ASK_AFTER_MS);
  }

  /** Null where there are no more. */
  async next(): Promise<NatsMessageLike | null> {
    this.#waitingSince = performance.now();
    const next = await this.#iterator.next();
    this.#waitingSince = null;
    if (next.done !== true) return next.value;
    if (this.#over) return null;
    throw new Error("the scan's consumer ended early");
  }

  close(): void {
    clearInterval(this.#timer);
    this.#messages.stop();
  }

  async #look(): Promise<void> {
    const since = this.#waitingSince;
    const silentMs = since === null ? 0 : performance.now() - since;
    if (silentMs > LOST_AFTER_MS) this.#messages.stop(new Error("the scan's consumer went silent"));
    if (silentMs < ASK_AFTER_MS) return;
    const pending = await this.#consumer.info(false).then(
      (info) => info.num_pending,
      () => 1,
    );
    // Messages that were sent before the answer have arrived before it.
    if (pending > 0 || this.#waitingSince !== since) return;
    this.#over = true;
    this.#messages.stop();
  }
}
