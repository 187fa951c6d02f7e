// A request of Node's `http` or `http2` through the layer: begin → run captured → record → send. For adapters.

import type { IncomingMessage, ServerResponse } from "node:http";
import { type IdempotencyClaim, type OwnedRequest, ownedRequest, passingClaim } from "./claim.js";
import type { Idempotency } from "./idempotency.js";
import type { Begin, HttpClaim } from "./layer.js";
import type { HeaderList, HttpResponse } from "./message.js";
import { Capture } from "./node/capture.js";
import { replaceHeaders, requestHeaders, responseHeaders } from "./node/head.js";
import { HeldRequest, type ParsedBody } from "./node/held-request.js";
import { UploadBrokenOff } from "./node/intercept.js";
import { observe } from "./node/observe.js";
import { captureOf } from "./node/overrides.js";

export type { HeldRequest, ParsedBody } from "./node/held-request.js";

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
  /** Where it was held before, so that its body is here although the framework has parsed it. */
  readonly held?: HeldRequest;
  /** The fields that the framework was told to send with whatever is answered; those of the response where left out. */
  readonly preset?: () => HeaderList;
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

/** A request that is to be read before {@link beginNode}, by its {@link HeldRequest.keep}. */
export function holdRequest<Req>({ policy, memory }: Idempotency<Req>, request: IncomingMessage): HeldRequest {
  return new HeldRequest(request, { maxBytes: policy.maxRequestBodyBytes, memory });
}

/**
 * Decides about a request; at once where the layer has nothing to do with it. Rejects with what a function of the
 * options failed with: nothing has run then.
 */
export function beginNode<Req>(runtime: Idempotency<Req>, exchange: NodeExchange<Req>): NodeTurn | Promise<NodeTurn> {
  const { request, response } = exchange;
  const before = captureOf(response);
  // Another middleware has this request already, and its answer.
  if (before !== undefined) return { kind: "run", claim: before.claim, capture: null };
  return isConcerned(runtime, request) ? begin(runtime, exchange) : passing(exchange);
}

/** Whether the layer has anything to do with a request. */
export function isConcerned<Req>(runtime: Idempotency<Req>, request: IncomingMessage): boolean {
  return runtime.concerns(request.method ?? "", request.headers[runtime.header] !== undefined);
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
  const { policy } = runtime;
  const held = exchange.held ?? holdRequest(runtime, request);
  let begun: Begin;
  try {
    begun = await runtime.begin(subject, {
      method: request.method ?? "",
      target,
      headers: requestHeaders(request.rawHeaders),
      body: (sink) => held.read(sink, parsed),
      ...(route === undefined ? {} : { route }),
    });
  } catch (error) {
    held.letGo();
    if (!(error instanceof UploadBrokenOff)) throw error;
    response.destroy();
    return GONE;
  }
  switch (begun.kind) {
    case "answer":
      held.letGo();
      return { kind: "answer", response: begun.response, isReplay: begun.code === null };
    case "run":
      return own(runtime, exchange, held, begun.claim);
    case "pass":
      response.once("close", () => held.letGo());
      for (const [name, value] of begun.headers) response.setHeader(name, value);
      if (begun.observation !== null) {
        const maxBytes = policy.maxRequestBodyBytes;
        observe(request, response, begun.observation, { maxBytes, parsed: parsed.body });
      }
      return passing(exchange);
  }
}

/** This request owns the key: whatever happens from here on, the capture ends the claim in one of its ways. */
function own<Req>(
  { policy, memory }: Idempotency<Req>,
  { request, response, preset = () => responseHeaders(response) }: NodeExchange<Req>,
  held: HeldRequest,
  claim: HttpClaim,
): NodeTurn {
  const owner: OwnedRequest<void> = ownedRequest<void>(claim, policy, (answer) => capture.answer(answer), preset);
  const capture = new Capture(request, response, { policy, owner, memory, held });
  return { kind: "run", claim: owner.claim, capture };
}

function passing<Req>({ response, preset }: NodeExchange<Req>): NodeTurn {
  const claim = passingClaim<void>((answer) => {
    if (preset !== undefined) replaceHeaders(response, preset(), () => false);
    sendAnswer(response, answer, false);
  });
  return { kind: "run", claim, capture: null };
}
