// The answer to a keyed request, held back until it is whole or known to be of the kind that is not kept (SPEC §5.4).

import type { HttpResponse, ResponseHead } from "onceward/http";
import { headerValue } from "onceward/http";
import type { AnswerSink, UpstreamCall, UpstreamFailure } from "../upstream/call.js";
import { answerHeaders } from "./forwarding.js";
import type { Exchange } from "./runtime.js";

/** What a piece takes beside its bytes: an answer may come in many small ones. */
const CHUNK_BYTES = 256;

/** An answer that is passed on as it comes; the upstream waits until it is resumed. */
export interface OpenAnswer {
  readonly kind: "open";
  readonly call: UpstreamCall;
  readonly head: ResponseHead;
  /** As the upstream declared it. */
  readonly contentLength: string | null;
  /** What of the body is here already. */
  readonly begun: readonly Buffer[];
}

export type HeldResult =
  | { readonly kind: "whole"; readonly response: HttpResponse }
  | OpenAnswer
  | { readonly kind: "failed"; readonly failure: UpstreamFailure };

/** 1xx and trailers of an answer to a keyed request go no further (SPEC §5.7). */
export class HeldAnswer implements AnswerSink {
  /** Never rejects. */
  readonly settled: Promise<HeldResult>;
  readonly #exchange: Exchange;
  #settle: (result: HeldResult) => void = () => undefined;
  #call: UpstreamCall | null = null;
  #head: ResponseHead = { status: 0, headers: [] };
  #contentLength: string | null = null;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #takenBytes = 0;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  onHead(call: UpstreamCall, status: number, received: ResponseHead["headers"]): boolean {
    this.#call = call;
    const headers = answerHeaders(received, true);
    const policy = this.#exchange.route.policy;
    // A recorded Date has to be there from the first answer on, or the first would be given another one than replays.
    if (policy?.keepDate === true && headerValue(headers, "date") === undefined) {
      this.#head = { status, headers: [...headers, ["Date", new Date().toUTCString()]] };
    } else {
      this.#head = { status, headers };
    }
    this.#contentLength = headerValue(received, "content-length") ?? null;
    const tooLarge = Number(this.#contentLength ?? 0) > (policy?.maxBodyBytes ?? 0);
    if (tooLarge || policy?.streamingTypes.has(mediaType(headers)) === true) return this.#open(call);
    return true;
  }

  onChunk(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    this.#chunks.push(chunk);
    const fits = this.#bytes <= (this.#exchange.route.policy?.maxBodyBytes ?? 0);
    const counted = chunk.length + CHUNK_BYTES;
    if (fits && this.#exchange.runtime.memory.tryTake(counted)) {
      this.#takenBytes += counted;
      return true;
    }
    return this.#call === null ? true : this.#open(this.#call);
  }

  onEnd(): void {
    const { status, headers } = this.#head;
    const first = this.#chunks[0];
    const body = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#settle({ kind: "whole", response: { status, headers, body } });
  }

  onFailure(failure: UpstreamFailure): void {
    this.#settle({ kind: "failed", failure });
  }

  /** Frees what the body took of the memory for bodies. */
  dispose(): void {
    this.#exchange.runtime.memory.give(this.#takenBytes);
    this.#takenBytes = 0;
    this.#chunks = [];
  }

  /** Pauses the upstream and hands its answer over. */
  #open(call: UpstreamCall): boolean {
    // Until somebody takes the rest, a failure must not get lost.
    const pending = new PausedAnswer();
    call.sink = pending;
    this.#settle({ kind: "open", call, head: this.#head, contentLength: this.#contentLength, begun: this.#chunks });
    return false;
  }
}

/** Keeps what a paused upstream still says, which is at most that it died. */
export class PausedAnswer implements AnswerSink {
  failure: UpstreamFailure | null = null;

  onHead(): boolean {
    return false;
  }

  onChunk(): boolean {
    return false;
  }

  onEnd(): void {}

  onFailure(failure: UpstreamFailure): void {
    this.failure = failure;
  }
}

function mediaType(headers: ResponseHead["headers"]): string {
  const value = headerValue(headers, "content-type") ?? "";
  const end = value.indexOf(";");
  return (end < 0 ? value : value.slice(0, end)).trim().toLowerCase();
}
