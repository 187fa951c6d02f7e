// The adapter of Node's own `http` and `http2`: a listener, and no framework around it.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { IdempotencyClaim } from "../http/claim.js";
import { createIdempotency, type IdempotencyOptions, type MiddlewareParts, middlewareOf } from "../http/idempotency.js";
import { beginNode, type NodeTurn, sendAnswer } from "../http/node.js";

export type { AnswerInit, IdempotencyClaim, StepContext } from "../http/claim.js";
export type { AccountResolver, BackgroundOptions, IdempotencyOptions } from "../http/idempotency.js";

export interface NodeIdempotencyOptions extends IdempotencyOptions<IncomingMessage> {
  /**
   * Answers a keyed request whose listener threw, or rejected; the answer is recorded (SPEC §4.8). Default: the error
   * goes to `console.error`, and the answer is 500 `Internal Server Error`. Without a key the error comes out of the
   * listener, as it would without the middleware.
   */
  readonly onError?: (error: unknown, request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
}

/** A listener behind the middleware: the claim comes third. */
export type IdempotentListener = (
  request: IncomingMessage,
  response: ServerResponse,
  claim: IdempotencyClaim<void>,
) => void | Promise<void>;

/** Wraps a listener; what comes out is what `createServer` is given. */
export interface NodeIdempotency extends MiddlewareParts<IncomingMessage> {
  (listener: IdempotentListener): (request: IncomingMessage, response: ServerResponse) => Promise<void>;
}

type OnError = NonNullable<NodeIdempotencyOptions["onError"]>;

/**
 * Makes the middleware: `createServer(idempotency({ store, account })(listener))`.
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function idempotency(options: NodeIdempotencyOptions): NodeIdempotency {
  const { onError = internalError, ...rest } = options;
  if (typeof onError !== "function") throw new TypeError("`onError` must be a function of the error and the request.");
  const runtime = createIdempotency<IncomingMessage>(rest);
  const wrap =
    (listener: IdempotentListener) =>
    (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const begun = beginNode(runtime, { request, response, subject: request });
      // At once where it can be, so that a request without a key meets its listener in the same tick as ever.
      if (!(begun instanceof Promise)) return run(begun, listener, onError, request, response);
      return begun.then(
        (turn) => run(turn, listener, onError, request, response),
        (error) => onError(error, request, response),
      );
    };
  return middlewareOf(wrap, runtime);
}

async function run(
  turn: NodeTurn,
  listener: IdempotentListener,
  onError: OnError,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (turn.kind === "answer") sendAnswer(response, turn.response, turn.isReplay);
  if (turn.kind !== "run") return;
  const { claim, capture } = turn;
  try {
    await listener(request, response, claim);
  } catch (error) {
    if (capture === null) throw error;
    try {
      await onError(error, request, response);
    } finally {
      // Whoever left it half answered, or did not answer at all, will not come back.
      await capture.abandon("The operation failed before it had answered.");
    }
  }
}

function internalError(error: unknown, _request: IncomingMessage, response: ServerResponse): void {
  console.error(error);
  if (response.headersSent) return;
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  response.writeHead(500, { "Content-Type": "text/plain; charset=utf-8" });
  response.end("Internal Server Error");
}
