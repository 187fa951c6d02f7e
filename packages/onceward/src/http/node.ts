// A request of Node's `http` or `http2` through the layer: begin → run captured → record → send. For adapters.

import type { IncomingMessage, ServerResponse } from "node:http";
import { type IdempotencyClaim, type OwnedRequest, ownedRequest, passingClaim } from "./claim.js";
import type { Idempotency } from "./idempotency.js";
import type { Begin, HttpClaim } from "./layer.js";
import type { HttpResponse } from "./message.js";
import { Capture } from "./node/capture.js";
import { replaceHeaders, requestHeaders, responseHeaders } from "./node/head.js";
import { observe } from "./node/observe.js";
import { captureOf } from "./node/overrides.js";
import { type ParsedBody, RequestBody, UploadBrokenOff } from "./node/request-body.js";
import { shieldRequest } from "./node/shield.js";

export type { ParsedBody } from "./node/request-body.js";

/** A request on its way, as an adapter describes it. */
export interface NodeExchange<Req> {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** What the functions of the options are given. */
  readonly subject: Req;
  /** Path and query as received; `request.url` where left out. */
  readonly target?: string;
  /** How the history names the route; method and path where left out. */
  readonly route?: string;
  /** Where the framework leaves what it made of the body, if not on the request. */
  readonly parsed?: ParsedBody;
}

/** What the adapter is to do. */
export type NodeTurn =
  /** Run the handler; `capture` where this middleware made the request own its key. */
  | { readonly kind: "run"; readonly claim: IdempotencyClaim<void>; readonly capture: Capture | null }
  /** Send this instead, with {@link sendAnswer} or in the framework's own way. */
  | { readonly kind: "answer"; readonly response: HttpResponse; readonly isReplay: boolean }
  /** Nobody is left to answer. */
  | { readonly kind: "gone" };

const GONE: NodeTurn = { kind: "gone" };

/**
 * Decides about a request; at once where the layer has nothing to do with it. Rejects with what a function of the
 * options failed with: nothing has run then.
 */
export function beginNode<Req>(runtime: Idempotency<Req>, exchange: NodeExchange<Req>): NodeTurn | Promise<NodeTurn> {
  const { request, response } = exchange;
  const before = captureOf(response);
  // Another middleware has this request already, and its answer.
  if (before !== undefined) return { kind: "run", claim: before.claim, capture: null };
  if (runtime.concerns(request.method ?? "", request.headers[runtime.header] !== undefined))
    return begin(runtime, exchange);
  return passing(response);
}

/**
 * Sends a whole answer: a replay in place of everything that was set before, so that it is what the first one was;
 * any other beside what was set, such as the fields of CORS.
 */
export function sendAnswer(response: ServerResponse, answer: HttpResponse, isReplay: boolean): void {
  if (response.headersSent) return;
  replaceHeaders(response, answer.headers, () => !isReplay);
  response.writeHead(answer.status);
  if (answer.body.length === 0) response.end();
  else response.end(answer.body);
}

async function begin<Req>(runtime: Idempotency<Req>, exchange: NodeExchange<Req>): Promise<NodeTurn> {
  const { request, response, subject, target = request.url ?? "", route, parsed = request as ParsedBody } = exchange;
  const { policy, memory } = runtime;
  const body = new RequestBody(request, { maxBytes: policy.maxRequestBodyBytes, memory });
  let begun: Begin;
  try {
    begun = await runtime.begin(subject, {
      method: request.method ?? "",
      target,
      headers: requestHeaders(request.rawHeaders),
      body: (sink) => body.read(sink, parsed),
      ...(route === undefined ? {} : { route }),
    });
  } catch (error) {
    body.dispose();
    if (!(error instanceof UploadBrokenOff)) throw error;
    response.destroy();
    return GONE;
  }
  switch (begun.kind) {
    case "answer":
      body.dispose();
      return { kind: "answer", response: begun.response, isReplay: begun.code === null };
    case "run":
      return own(runtime, exchange, begun.claim, body);
    case "pass":
      response.once("close", () => body.dispose());
      for (const [name, value] of begun.headers) response.setHeader(name, value);
      if (begun.observation !== null) {
        const maxBytes = policy.maxRequestBodyBytes;
        observe(request, response, begun.observation, { maxBytes, parsed: parsed.body });
      }
      return passing(response);
  }
}

/** This request owns the key: whatever happens from here on, the capture ends the claim in one of its ways. */
function own<Req>(
  { policy, memory }: Idempotency<Req>,
  { request, response }: NodeExchange<Req>,
  held: HttpClaim,
  body: RequestBody,
): NodeTurn {
  const owner: OwnedRequest<void> = ownedRequest<void>(
    held,
    policy,
    (answer) => capture.answer(answer),
    () => responseHeaders(response),
  );
  const unshield = shieldRequest(request);
  const onOver = (): void => {
    body.dispose();
    unshield();
  };
  const capture = new Capture(response, { policy, owner, memory, onOver });
  return { kind: "run", claim: owner.claim, capture };
}

function passing(response: ServerResponse): NodeTurn {
  const claim = passingClaim<void>((answer) => sendAnswer(response, answer, false));
  return { kind: "run", claim, capture: null };
}
