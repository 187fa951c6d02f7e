// The shortest way: a request that no key protects, streamed both ways (SPEC §5.5).

import type { Readable } from "node:stream";
import { type HeaderList, headerValue, isHopByHop, isOwnHeader, type Observation } from "onceward/http";
import type { AnswerSink, UpstreamCall, UpstreamFailure } from "../upstream/call.js";
import { ClientStream } from "./client-stream.js";
import { answerHeaders, requestHeaders } from "./forwarding.js";
import type { KeyedBody } from "./keyed-body.js";
import { hasBody } from "./request-head.js";
import { RequestStream } from "./request-stream.js";
import type { Exchange } from "./runtime.js";
import { boundRest, sendHead, sendProblem } from "./send.js";

export interface PassOptions {
  /** Added to the answer. */
  readonly headers: HeaderList;
  readonly observation: Observation | null;
  /** The request's body, where it was read already. */
  readonly body: KeyedBody | null;
}

const PLAIN: PassOptions = { headers: [], observation: null, body: null };

/** Forwards a request and passes its answer on as it comes. */
export function passThrough(exchange: Exchange, options: PassOptions = PLAIN): void {
  const { request, route, target, generation, config } = exchange;
  if (exchange.clientGone) {
    options.observation?.responseEnd(null);
    options.body?.dispose();
    return;
  }
  const body = openBody(exchange, options);
  const streamed = body instanceof RequestStream;
  const contentLength = streamed ? (request.headers["content-length"] ?? null) : (options.body?.bytes ?? null);
  const { forwarding } = generation;
  const headers = requestHeaders(request, {
    forwarding,
    route,
    authority: target.authority,
    contentLength: contentLength || null,
  });
  if (request.headers.te?.includes("trailers") === true) headers.push("TE", "trailers");
  const answer = new PassedAnswer(exchange, options, streamed ? body : null);
  const call = route.upstream.plain.dispatch(
    {
      method: request.method ?? "GET",
      path: route.upstream.basePath + target.path + target.query,
      headers,
      body,
      headersTimeout: config.timeouts.upstreamHeadersMs,
    },
    answer,
  );
  exchange.onClosed = (gone) => {
    if (gone) call.abort(new Error("the client is gone"));
    options.body?.dispose();
  };
}

function openBody(exchange: Exchange, { observation, body }: PassOptions): Buffer | Readable | null {
  if (body?.wasRead === true) return body.content();
  const { request, response, config } = exchange;
  if (!hasBody(request)) {
    observation?.requestEnd();
    return null;
  }
  const onFirstRead = (): void => {
    if (!exchange.expectsContinue || exchange.wasContinued || response.headersSent) return;
    exchange.wasContinued = true;
    response.writeContinue();
  };
  return new RequestStream(request, { silenceMs: config.timeouts.bodyMs, observation, onFirstRead });
}

export class PassedAnswer implements AnswerSink {
  readonly #exchange: Exchange;
  readonly #options: PassOptions;
  readonly #upload: RequestStream | null;
  #client: ClientStream | null = null;
  #begun = false;
  #head: { status: number; headers: HeaderList } | null = null;

  constructor(exchange: Exchange, options: PassOptions, upload: RequestStream | null) {
    this.#exchange = exchange;
    this.#options = options;
    this.#upload = upload;
  }

  onInformation(status: number, headers: HeaderList): void {
    if (status === 103) sendEarlyHints(this.#exchange, headers);
  }

  onHead(call: UpstreamCall, status: number, received: HeaderList): boolean {
    const { request, response, config } = this.#exchange;
    if (response.destroyed) return true;
    const headers = [...answerHeaders(received, false), ...this.#options.headers];
    this.#head = { status, headers: received };
    const trailer = headerValue(received, "trailer");
    const chunked = request.httpVersion === "1.1" && request.method !== "HEAD" && status !== 204 && status !== 304;
    if (trailer !== undefined && chunked && headerValue(received, "content-length") === undefined)
      headers.push(["Trailer", trailer]);
    sendHead(this.#exchange, status, headers, null);
    // The head goes out with what of the body came along with it, but does not wait for what is long in coming.
    queueMicrotask(this.#flush);
    this.#client = new ClientStream(response, call, config.timeouts.bodyMs);
    return true;
  }

  onChunk(chunk: Buffer): boolean {
    this.#begun = true;
    return this.#client?.write(chunk) ?? true;
  }

  onEnd(trailers: HeaderList): void {
    this.#begun = true;
    this.#upload?.destroy();
    this.#options.observation?.responseEnd(this.#head);
    const kept = trailers.filter(([field]) => {
      const name = field.toLowerCase();
      return !isHopByHop(name) && !isOwnHeader(name) && name !== "content-length";
    });
    this.#client?.end(kept);
    boundRest(this.#exchange);
  }

  readonly #flush = (): void => {
    if (!this.#begun && !this.#exchange.response.destroyed) this.#exchange.response.flushHeaders();
  };

  onFailure(failure: UpstreamFailure): void {
    this.#upload?.destroy();
    this.#options.observation?.responseEnd(null);
    const { response, runtime, route, clientGone } = this.#exchange;
    if (clientGone) return;
    if (this.#upload?.stalled === true && !response.headersSent) {
      sendProblem(this.#exchange, "request_invalid", {
        status: 408,
        detail: "The request's body did not arrive in time.",
      });
      return;
    }
    runtime.log.warn(
      { route: route.name, sent: failure.sent, reason: failure.reason, err: failure.error.message },
      "upstream failed",
    );
    if (response.headersSent) {
      this.#client?.break();
    } else if (failure.sent) {
      const detail = "The service behind did not complete its answer. Whether the request took effect is not known.";
      sendProblem(this.#exchange, "outcome_unknown", { status: failure.status, detail });
    } else {
      sendProblem(this.#exchange, "upstream_unavailable", { status: failure.status });
    }
  }
}

/** RFC 8297. Node can write no other information, and this only with a well-formed Link. */
function sendEarlyHints({ request, response }: Exchange, headers: HeaderList): void {
  const links = headers.filter(([name]) => name.toLowerCase() === "link").map(([, value]) => value);
  if (links.length === 0 || request.httpVersion === "1.0" || response.headersSent || response.destroyed) return;
  try {
    response.writeEarlyHints({ link: links });
  } catch {
    // A hint is not worth an answer.
  }
}
