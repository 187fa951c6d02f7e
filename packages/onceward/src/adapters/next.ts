// The adapter of Next.js: route handlers of the App Router, on the Node.js runtime.

import type { IdempotencyClaim } from "../http/claim.js";
import { createIdempotency, type IdempotencyOptions, type MiddlewareParts, middlewareOf } from "../http/idempotency.js";
import { mediaType } from "../http/media-type.js";
import { type FailedAnswer, serveWeb } from "../http/web.js";

export type { AnswerInit, IdempotencyClaim, StepContext } from "../http/claim.js";
export type { AccountResolver, BackgroundOptions, IdempotencyOptions } from "../http/idempotency.js";

export interface NextIdempotencyOptions<Base extends Request> extends IdempotencyOptions<Base> {
  /**
   * Next's `after`, or what else keeps the platform from stopping, so that an operation is finished and recorded where
   * the client goes away (SPEC §4.7). Servers of one's own need none.
   */
  readonly waitUntil?: (work: Promise<unknown>) => void;
}

/** A route handler with the claim as its third argument. */
export type IdempotentRouteHandler<Req extends Request, Context> = (
  request: Req,
  context: Context,
  claim: IdempotencyClaim<Response>,
) => Response | Promise<Response>;

/** Wraps a route handler; what comes out is one as Next types it. */
export interface NextIdempotency<Base extends Request> extends MiddlewareParts<Base> {
  <Req extends Base, Context = unknown>(
    handler: IdempotentRouteHandler<Req, Context>,
  ): (request: Req, context: Context) => Promise<Response>;
}

/**
 * Makes the wrapper: `export const POST = idempotency({ store, account })(async (request, context, claim) => …)`. Where
 * the functions of the options need more than a Request, name it: `idempotency<NextRequest>(…)`.
 *
 * `redirect`, `notFound`, `forbidden` and `unauthorized` answer as Next answers them, and that is recorded (SPEC §4.8).
 * For any other error the 500 without a body that Next sends is recorded, and the error goes on to Next, whose
 * instrumentation sees it. Cookies that are set through `cookies()` Next adds to the first answer only: they are not
 * recorded.
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function idempotency<Base extends Request = Request>(
  options: NextIdempotencyOptions<Base>,
): NextIdempotency<Base> {
  const { waitUntil, ...rest } = options;
  // Next imports route handlers while it builds, where no store is to be opened.
  const runtime = createIdempotency<Base>(rest, [], false);
  const wrap =
    <Req extends Base, Context>(handler: IdempotentRouteHandler<Req, Context>) =>
    async (request: Req, context: Context): Promise<Response> => {
      const { response } = await serveWeb<Base>(runtime, {
        request,
        subject: request,
        run: (claim) => handler(request, context, claim),
        failed: (error) => failed(request, error),
        ...(waitUntil === undefined ? {} : { waitUntil }),
      });
      return response;
    };
  return middlewareOf(wrap, runtime);
}

/** What Next answers for an error that a handler threw. */
function failed(request: Request, error: unknown): FailedAnswer {
  const response = redirection(request, error) ?? refusal(error);
  if (response !== null) return { response, rethrow: false };
  return { response: new Response(null, { status: 500 }), rethrow: true };
}

/** `redirect()` and `permanentRedirect()` throw `NEXT_REDIRECT;<type>;<url>;<status>;`. */
function redirection(request: Request, error: unknown): Response | null {
  const parts = digestOf(error).split(";");
  const status = Number(parts.at(-2));
  if (parts[0] !== "NEXT_REDIRECT" || parts.length < 5 || ![303, 307, 308].includes(status)) return null;
  const headers = { location: parts.slice(2, -2).join(";") };
  // Next takes forms for calls of server actions, after which a browser is to GET.
  return new Response(null, { status: isForm(request) ? 303 : status, headers });
}

/** `notFound()`, `forbidden()` and `unauthorized()` throw `NEXT_HTTP_ERROR_FALLBACK;<status>`. */
function refusal(error: unknown): Response | null {
  const [name, status] = digestOf(error).split(";");
  if (name !== "NEXT_HTTP_ERROR_FALLBACK" || !["401", "403", "404"].includes(status ?? "")) return null;
  return new Response(null, { status: Number(status) });
}

function digestOf(error: unknown): string {
  const digest = typeof error === "object" && error !== null && "digest" in error ? error.digest : undefined;
  return typeof digest === "string" ? digest : "";
}

function isForm({ method, headers }: Request): boolean {
  if (method !== "POST") return false;
  const type = mediaType(headers.get("content-type"));
  return headers.has("next-action") || type === "multipart/form-data" || type === "application/x-www-form-urlencoded";
}
