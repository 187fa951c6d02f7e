// The adapter of Koa.

import type { Context, Middleware, Next } from "koa";
import type { IdempotencyClaim } from "../http/claim.js";
import { createIdempotency, type IdempotencyOptions, type MiddlewareParts, middlewareOf } from "../http/idempotency.js";
import { beginNode, type ParsedBody, sendAnswer } from "../http/node.js";

export type { AnswerInit, IdempotencyClaim, StepContext } from "../http/claim.js";
export type { AccountResolver, BackgroundOptions, IdempotencyOptions } from "../http/idempotency.js";

declare module "koa" {
  interface ExtendableContext {
    /** Behind `idempotency()`: what the handler works with, also where the request carries no key. */
    idempotency: IdempotencyClaim<void>;
  }
}

export type KoaIdempotencyOptions = IdempotencyOptions<Context>;

/** For `app.use`, or a router's. */
export interface KoaIdempotency extends Middleware, MiddlewareParts<Context> {}

/**
 * Makes the middleware: `app.use(idempotency({ store, account }))`. Best before what parses bodies: it compares their
 * exact bytes then, else what the parser made of them.
 *
 * What is recorded is what Koa sends in the end: with what middlewares before this one add, and with the answers of
 * their error handlers, or Koa's own.
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function idempotency(options: KoaIdempotencyOptions): KoaIdempotency {
  const runtime = createIdempotency<Context>(options);
  const middleware = async (ctx: Context, next: Next): Promise<void> => {
    const { req: request, res: response, originalUrl } = ctx;
    const turn = await beginNode(runtime, {
      request,
      response,
      subject: ctx,
      target: originalUrl,
      parsed: ctx.request as ParsedBody,
      ...routeOf(ctx),
    });
    if (turn.kind !== "run") {
      ctx.respond = false;
      if (turn.kind === "answer") sendAnswer(response, turn.response, turn.isReplay);
      return;
    }
    ctx.idempotency = turn.claim;
    if (turn.capture === null) return next();
    try {
      await next();
    } catch (error) {
      // Koa says no more on an answer that has begun.
      if (ctx.headerSent) await turn.capture.abandon("The operation failed in the middle of its answer.");
      throw error;
    }
  };
  return middlewareOf(middleware, runtime);
}

/** As @koa/router has it. */
function routeOf(ctx: Context): { readonly route?: string } {
  const { _matchedRoute: path } = ctx as { readonly _matchedRoute?: unknown };
  return typeof path === "string" ? { route: `${ctx.method} ${path}` } : {};
}
