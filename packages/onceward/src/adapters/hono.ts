// The adapter of Hono: a middleware, and the claim as `c.var.idempotency`.

import type { Context, Env, ExecutionContext, MiddlewareHandler } from "hono";
import type { IdempotencyClaim } from "../http/claim.js";
import { createIdempotency, type IdempotencyOptions, type MiddlewareParts, middlewareOf } from "../http/idempotency.js";
import { serveWeb } from "../http/web.js";
import { bodyReader } from "./hono/body.js";
import { nodeBindings, watchConnection, wireHeaders } from "./hono/node-bindings.js";

export type { AnswerInit, IdempotencyClaim, StepContext } from "../http/claim.js";
export type { AccountResolver, BackgroundOptions, IdempotencyOptions } from "../http/idempotency.js";

/** What the middleware adds to the environment of a route. */
export interface IdempotencyEnv {
  Variables: { idempotency: IdempotencyClaim<Response> };
}

/** A middleware of Hono's; `E` is the environment that the functions of the options see. */
export type HonoIdempotency<E extends Env> = MiddlewareHandler<E & IdempotencyEnv> & MiddlewareParts<Context<E>>;

/**
 * Makes the middleware: `app.post("/transfers", idempotency({ store, account }), (c) => …)`. Behind it the claim is
 * `c.var.idempotency`, for requests without a key too.
 *
 * What `app.onError` answers where a handler threw is recorded (SPEC §4.8), and so is what middlewares between this one
 * and the handler make of its answer. A replay is sent in place of all that middlewares before this one have set; what
 * they change after it they change of a replay too.
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function idempotency<E extends Env = Env>(options: IdempotencyOptions<Context<E>>): HonoIdempotency<E> {
  const runtime = createIdempotency(options);
  const { maxRequestBodyBytes } = runtime.policy;
  const middleware: MiddlewareHandler<E & IdempotencyEnv> = async (c, next) => {
    const { raw } = c.req;
    const route = c.req.matchedRoutes.at(-1)?.path;
    const node = nodeBindings(c.env);
    const body = bodyReader(c.req, maxRequestBodyBytes, node !== null);
    const { response, kind } = await serveWeb(runtime, {
      request: raw,
      subject: c as unknown as Context<E>,
      ...(route === undefined || route.endsWith("*") ? {} : { route: `${raw.method} ${route}` }),
      ...(node === null
        ? { waitUntil: (work) => executionContext(c)?.waitUntil(work) }
        : { headers: () => wireHeaders(node), watchClient: (gone) => watchConnection(node, gone) }),
      ...(body === null ? {} : { body }),
      async run(claim) {
        c.set("idempotency", claim);
        await next();
        return c.res;
      },
      // What is an Error `app.onError` has answered; what is none Hono hands on to the platform.
      failed(error) {
        throw error;
      },
      preset: () => [...c.res.headers],
    });
    // What is returned Hono joins with what was set before; what is set in place of nothing is sent as it is.
    if (kind === "own") return response;
    if (kind === "whole") {
      c.res = undefined;
      c.res = response;
    }
    return;
  };
  return middlewareOf(middleware, runtime);
}

/** Hono throws where the platform has none, and the trace of an error that nobody sees would cost more than the rest. */
function executionContext(c: Context): Pick<ExecutionContext, "waitUntil"> | null {
  const limit = Error.stackTraceLimit;
  try {
    Error.stackTraceLimit = 0;
    return c.executionCtx;
  } catch {
    return null;
  } finally {
    Error.stackTraceLimit = limit;
  }
}
