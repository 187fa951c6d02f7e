// The adapter of Express, 4 and 5, and of whatever calls its middlewares likewise, such as Connect.

import type { NextFunction, Request, Response } from "express";
import type { IdempotencyClaim } from "../http/claim.js";
import { createIdempotency, type IdempotencyOptions, type MiddlewareParts, middlewareOf } from "../http/idempotency.js";
import { beginNode, type NodeTurn, sendAnswer } from "../http/node.js";
import { catchRejections } from "./express/rejections.js";

export type { AnswerInit, IdempotencyClaim, StepContext } from "../http/claim.js";
export type { AccountResolver, BackgroundOptions, IdempotencyOptions } from "../http/idempotency.js";

declare global {
  namespace Express {
    interface Request {
      /** Behind `idempotency()`: what the handler works with, also where the request carries no key. */
      idempotency: IdempotencyClaim<void>;
    }
  }
}

export type ExpressIdempotencyOptions = IdempotencyOptions<Request>;

/** For `app.use`, for a router, or for one route. */
export interface ExpressIdempotency extends MiddlewareParts<Request> {
  (request: Request, response: Response, next: NextFunction): void;
}

/**
 * Makes the middleware: `app.use(idempotency({ store, account }))`, or on a route before its handler. Best before what
 * parses bodies: it compares their exact bytes then, else what the parser made of them.
 *
 * Errors go to the app's own error handler, whose answer is recorded. So do those of asynchronous handlers of keyed
 * requests in Express 4, which knows nothing of promises.
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function idempotency(options: ExpressIdempotencyOptions): ExpressIdempotency {
  const runtime = createIdempotency<Request>(options);
  const middleware = (request: Request, response: Response, next: NextFunction): void => {
    const take = (turn: NodeTurn): void => {
      if (turn.kind === "answer") sendAnswer(response, turn.response, turn.isReplay);
      if (turn.kind !== "run") return;
      request.idempotency = turn.claim;
      if (turn.capture !== null) catchRejections(request);
      next();
    };
    const begun = beginNode(runtime, { request, response, subject: request, ...described(request) });
    if (begun instanceof Promise) begun.then(take, next);
    else take(begun);
  };
  return middlewareOf(middleware, runtime);
}

/** A router sees only its own part of the address; what a key belongs to is all of it. */
function described(request: Request): { readonly target: string; readonly route?: string } {
  const { originalUrl, route, baseUrl, method } = request as Request & { readonly route?: { readonly path?: unknown } };
  const target = originalUrl ?? request.url;
  return typeof route?.path === "string" ? { target, route: `${method} ${baseUrl}${route.path}` } : { target };
}
