// A small request whose whole answer is wanted: for asking about operations and for authorizing replays.

import type { HeaderList, HttpResponse } from "onceward/http";
import { isHopByHop } from "onceward/http";
import type { AnswerSink, UpstreamCall, UpstreamFailure } from "./call.js";
import type { Upstreams } from "./upstreams.js";

export interface WholeRequest {
  readonly url: string;
  /** Name, value, name, value. `Host` is the URL's own. */
  readonly headers: readonly string[];
  readonly maxBodyBytes: number;
  readonly timeoutMs: number;
}

/** The request failed; `failure` says how, or is null where the answer was too large or too late. */
export class WholeFailure extends Error {
  override readonly name = "WholeFailure";
  readonly failure: UpstreamFailure | null;

  constructor(message: string, failure: UpstreamFailure | null) {
    super(message);
    this.failure = failure;
  }
}

/** Sends a GET and answers its response, without fields of the connection. Rejects with a {@link WholeFailure}. */
export function getWhole(upstreams: Upstreams, request: WholeRequest): Promise<HttpResponse> {
  const url = new URL(request.url);
  const upstream = upstreams.get(url.origin);
  return new Promise((resolve, reject) => {
    const answer = new WholeAnswer(request.maxBodyBytes, (result) => {
      clearTimeout(timer);
      if (result instanceof WholeFailure) reject(result);
      else resolve(result);
    });
    const call = upstream.plain.dispatch(
      {
        method: "GET",
        path: url.pathname + url.search,
        headers: ["Host", upstream.host, ...request.headers],
      },
      answer,
    );
    const timer = setTimeout(() => call.abort(new Error("it took too long")), request.timeoutMs);
  });
}

class WholeAnswer implements AnswerSink {
  readonly #maxBytes: number;
  readonly #settle: (result: HttpResponse | WholeFailure) => void;
  readonly #chunks: Buffer[] = [];
  #call: UpstreamCall | null = null;
  #bytes = 0;
  #status = 0;
  #headers: HeaderList = [];

  constructor(maxBytes: number, settle: (result: HttpResponse | WholeFailure) => void) {
    this.#maxBytes = maxBytes;
    this.#settle = settle;
  }

  onHead(call: UpstreamCall, status: number, headers: HeaderList): boolean {
    this.#call = call;
    this.#status = status;
    this.#headers = headers;
    return true;
  }

  onChunk(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) {
      this.#call?.abort(new Error("its answer is too large"));
      return false;
    }
    this.#chunks.push(chunk);
    return true;
  }

  onEnd(): void {
    const headers = this.#headers.filter(([name]) => !isHopByHop(name.toLowerCase()));
    this.#settle({ status: this.#status, headers, body: Buffer.concat(this.#chunks) });
  }

  onFailure(failure: UpstreamFailure): void {
    this.#settle(new WholeFailure(failure.error.message, failure));
  }
}
