// The rest of an answer that is not kept, on its way to the client (SPEC §5.4); it is read to its end without one too.

import type { HeaderList } from "onceward/http";
import type { AnswerSink } from "../upstream/call.js";
import { ClientStream } from "./client-stream.js";
import { type OpenAnswer, PausedAnswer } from "./held-answer.js";
import type { Exchange } from "./runtime.js";
import { boundRest } from "./send.js";

export class UnkeptAnswer implements AnswerSink {
  /** Whether the upstream's answer was complete; resolves at its end. Never rejects. */
  readonly passed: Promise<boolean>;
  readonly #exchange: Exchange;
  readonly #client: ClientStream;
  readonly #open: OpenAnswer;
  #settle: (complete: boolean) => void = () => undefined;
  #alone: NodeJS.Timeout | null = null;

  constructor(exchange: Exchange, open: OpenAnswer) {
    this.#exchange = exchange;
    this.#open = open;
    const { call } = open;
    this.#client = new ClientStream(exchange.response, call, exchange.config.timeouts.bodyMs);
    this.passed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    const { onClosed } = exchange;
    exchange.onClosed = (gone) => {
      onClosed?.(gone);
      if (gone) this.#outlive();
    };
    const before = call.sink;
    call.sink = this;
    if (before instanceof PausedAnswer && before.failure !== null) {
      this.onFailure();
      return;
    }
    if (exchange.clientGone) this.#outlive();
    let flows = true;
    for (const chunk of open.begun) flows = this.#client.write(chunk);
    if (flows) call.resume();
  }

  onHead(): boolean {
    return true;
  }

  onChunk(chunk: Buffer): boolean {
    return this.#client.write(chunk);
  }

  onEnd(_trailers: HeaderList): void {
    this.#end(true);
    this.#client.end([]);
    boundRest(this.#exchange);
  }

  onFailure(): void {
    this.#end(false);
    this.#client.break();
  }

  #end(complete: boolean): void {
    if (this.#alone !== null) clearTimeout(this.#alone);
    this.#settle(complete);
  }

  /**
   * The client is gone and the operation may finish (SPEC §4.7), but an endless stream never would: after a while it is
   * told by a closed connection that nobody listens.
   */
  #outlive(): void {
    const { timeouts } = this.#exchange.config;
    this.#alone ??= setTimeout(
      () => this.#open.call.abort(new Error("nobody listens any more")),
      timeouts.upstreamHeadersMs,
    );
  }
}
