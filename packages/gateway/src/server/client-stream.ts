// The body of an answer on its way to the client: streamed, with backpressure and a bound on a client that does not read.

import type { ServerResponse } from "node:http";
import type { HeaderList } from "onceward/http";
import type { UpstreamCall } from "../upstream/call.js";

export class ClientStream {
  readonly #response: ServerResponse;
  readonly #call: UpstreamCall;
  readonly #stallMs: number;
  #timer: NodeJS.Timeout | null = null;
  #waiting = false;

  constructor(response: ServerResponse, call: UpstreamCall, stallMs: number) {
    this.#response = response;
    this.#call = call;
    this.#stallMs = stallMs;
  }

  /** Answers false where the upstream is to wait until the client has taken what there is. */
  write(chunk: Uint8Array): boolean {
    if (this.#response.destroyed || this.#response.write(chunk)) return true;
    if (!this.#waiting) {
      this.#waiting = true;
      this.#response.once("drain", this.#onDrain).once("close", this.#onDrain);
      this.#timer = setTimeout(this.#onStall, this.#stallMs);
    }
    return false;
  }

  /** The answer is complete. Node sends trailers only where the framing has room for them. */
  end(trailers: HeaderList): void {
    if (this.#response.destroyed) return;
    if (trailers.length > 0) this.#response.addTrailers(trailers as [string, string][]);
    this.#response.end();
  }

  /** The upstream died: the client must not take what it has for the whole (SPEC §5.4). */
  break(): void {
    this.#response.destroy();
  }

  readonly #onDrain = (): void => {
    if (!this.#waiting) return;
    this.#waiting = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#response.off("drain", this.#onDrain).off("close", this.#onDrain);
    this.#call.resume();
  };

  readonly #onStall = (): void => {
    this.#response.destroy();
  };
}
