// The adapter of fetch: any handler from Request to Response, as Bun, Deno, Workers and others have it.

import type { IdempotencyClaim } from "../http/claim.js";
import { createIdempotency, type IdempotencyOptions, type MiddlewareParts, middlewareOf } from "../http/idempotency.js";
import { claimOfRequest, type FailedAnswer, serveWeb } from "../http/web.js";

export type { AnswerInit, IdempotencyClaim, StepContext } from "../http/claim.js";
export type { AccountResolver, BackgroundOptions, IdempotencyOptions } from "../http/idempotency.js";

export interface FetchIdempotencyOptions extends IdempotencyOptions<Request> {
  /**
   * Answers a keyed request whose handler threw; the answer is recorded (SPEC §4.8). Default: the error goes to
   * `console.error`, and the answer is 500 `Internal Server Error`. Without a key the error goes to the platform.
   */
  readonly onError?: (error: unknown, request: Request) => Response | Promise<Response>;
}

/** A handler behind the middleware: the claim comes second, then whatever the platform gives beside the request. */
export type IdempotentHandler<Rest extends readonly unknown[]> = (
  request: Request,
  claim: IdempotencyClaim<Response>,
  ...rest: Rest
) => Response | Promise<Response>;

/** Wraps a handler; what comes out is what the platform calls. */
export interface FetchIdempotency extends MiddlewareParts<Request> {
  <Rest extends readonly unknown[]>(
    handler: IdempotentHandler<Rest>,
  ): (request: Request, ...rest: Rest) => Promise<Response>;
}

/**
 * Makes the middleware: `idempotency({ store, account })(handler)`.
 *
 * Where one of the platform's arguments has `waitUntil`, as a Worker's `ctx` has, the operation is finished and recorded
 * also where the client goes away (SPEC §4.7).
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function idempotency(options: FetchIdempotencyOptions): FetchIdempotency {
  const { onError = internalError, ...rest } = options;
  if (typeof onError !== "function") throw new TypeError("`onError` must be a function of the error and the request.");
  const runtime = createIdempotency<Request>(rest);
  const wrap =
    <Rest extends readonly unknown[]>(handler: IdempotentHandler<Rest>) =>
    async (request: Request, ...platform: Rest): Promise<Response> => {
      const { response } = await serveWeb(runtime, {
        request,
        subject: request,
        run: (claim) => handler(request, claim, ...platform),
        failed: async (error): Promise<FailedAnswer> => ({ response: await onError(error, request), rethrow: false }),
        waitUntil: (work) => platform.find(canWait)?.waitUntil(work),
      });
      return response;
    };
  return middlewareOf(wrap, runtime);
}

/**
 * The claim of a request that is being handled, for code that is given nothing else, such as the routes of a router.
 *
 * @throws TypeError where the request did not come through {@link idempotency}.
 */
export function claimOf(request: Request): IdempotencyClaim<Response> {
  const claim = claimOfRequest(request);
  if (claim === undefined) throw new TypeError("This request did not come through idempotency().");
  return claim;
}

interface WaitsUntil {
  waitUntil(work: Promise<unknown>): void;
}

function canWait(value: unknown): value is WaitsUntil {
  return typeof (value as Partial<WaitsUntil> | null | undefined)?.waitUntil === "function";
}

function internalError(error: unknown): Response {
  console.error(error);
  return new Response("Internal Server Error", { status: 500 });
}
