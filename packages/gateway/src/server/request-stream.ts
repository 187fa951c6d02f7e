// The body of a request without a key on its way to the upstream: streamed, with backpressure and a bound on silence.

import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { Observation } from "onceward/http";

export interface RequestStreamOptions {
  /** How long the client may be silent while its body is waited for, in milliseconds. */
  readonly silenceMs: number;
  readonly observation: Observation | null;
  /** Called when the upstream first asks for the body: the moment for `100 Continue`. */
  onFirstRead(): void;
}

/**
 * undici destroys a body it cannot send. Were that the request itself, the client's connection would die with it, and
 * nobody could be told why; so this stands between.
 */
export class RequestStream extends Readable {
  readonly #request: IncomingMessage;
  readonly #options: RequestStreamOptions;
  readonly #timer: NodeJS.Timeout;
  #begun = false;
  #wanted = false;
  /** Set where the client was silent for too long. */
  stalled = false;

  constructor(request: IncomingMessage, options: RequestStreamOptions) {
    super({ highWaterMark: 65_536 });
    this.#request = request;
    this.#options = options;
    this.#timer = setTimeout(this.#onSilence, options.silenceMs);
    request.on("data", this.#onData).on("end", this.#onEnd).on("close", this.#onClose).on("error", this.#onClose);
    request.pause();
    // Whoever reads it is told of an error; where nobody reads it any more, nobody minds.
    this.on("error", ignore);
  }

  override _read(): void {
    if (!this.#begun) {
      this.#begun = true;
      this.#options.onFirstRead();
    }
    this.#wanted = true;
    this.#request.resume();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#request
      .off("data", this.#onData)
      .off("end", this.#onEnd)
      .off("close", this.#onClose)
      .off("error", this.#onClose);
    this.#request.on("error", ignore);
    done(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#timer.refresh();
    this.#options.observation?.requestChunk(chunk);
    if (this.push(chunk)) return;
    this.#wanted = false;
    this.#request.pause();
  };

  readonly #onEnd = (): void => {
    clearTimeout(this.#timer);
    this.#options.observation?.requestEnd();
    this.push(null);
  };

  readonly #onClose = (): void => {
    if (!this.readableEnded && !this.#request.complete) this.destroy(new Error("the upload broke off"));
  };

  readonly #onSilence = (): void => {
    // Silence counts only while it is the client's: not while the upstream does not take what is there.
    if (!this.#wanted) {
      this.#timer.refresh();
      return;
    }
    this.stalled = true;
    this.destroy(new Error("the upload stalled"));
  };
}

function ignore(): void {}
