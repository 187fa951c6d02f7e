// The adapter of Hono: a middleware, and the claim as `c.var.idempotency`.

import type { Context, Env, ExecutionContext, HonoRequest, MiddlewareHandler } from "hono";
import type { IdempotencyClaim } from "../http/claim.js";
import { createIdempotency, type IdempotencyOptions, type MiddlewareParts, middlewareOf } from "../http/idempotency.js";
import type { LayerRequest } from "../http/layer.js";
import { serveWeb } from "../http/web.js";
import { bodyConsumed, bodyTooLarge } from "../http/web-body.js";
import { formValue } from "../http/web-form.js";

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
    const { response, kind } = await serveWeb(runtime, {
      request: raw,
      subject: c as unknown as Context<E>,
      ...(route === undefined || route.endsWith("*") ? {} : { route: `${raw.method} ${route}` }),
      ...(raw.bodyUsed ? { body: (sink) => readCached(c.req, maxRequestBodyBytes, sink) } : {}),
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
      waitUntil: (work) => executionContext(c)?.waitUntil(work),
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

/** The body where a middleware before this one has read it: Hono keeps what it made of it. */
async function readCached(
  req: HonoRequest,
  maxBytes: number,
  sink: Parameters<LayerRequest["body"]>[0],
): ReturnType<LayerRequest["body"]> {
  const kept = Object.keys(req.bodyCache);
  if (kept.length === 0) throw bodyConsumed();
  // Written out again, a form has another boundary each time.
  if (kept.includes("formData") && !kept.includes("arrayBuffer"))
    return { parsed: await formValue(await req.formData()) };
  const bytes = new Uint8Array(await req.arrayBuffer());
  if (bytes.length > maxBytes) throw bodyTooLarge(maxBytes);
  sink(bytes);
  return;
}

/** Hono throws where the platform has none. */
function executionContext(c: Context): Pick<ExecutionContext, "waitUntil"> | null {
  try {
    return c.executionCtx;
  } catch {
    return null;
  }
}
