// A web Request through the layer: begin → run the handler → record → answer. Shared by all adapters that speak fetch.

import type { Policy } from "../core/policy.js";
import { type IdempotencyClaim, type OwnedRequest, ownedRequest, passingClaim } from "./claim.js";
import type { Idempotency } from "./idempotency.js";
import type { Begin } from "./layer.js";
import type { HeaderList } from "./message.js";
import { problem, problemResponse } from "./problem.js";
import { holdAnswer, isResponse, openResponse, wholeResponse } from "./web-answer.js";
import { type BodyReader, observeBody, UploadBroken, WebBody } from "./web-body.js";

/** A request on its way, as an adapter describes it. */
export interface WebExchange<Req> {
  readonly request: Request;
  /** What the functions of the options are given. */
  readonly subject: Req;
  /** How the history names the route; method and path where left out. */
  readonly route?: string;
  /** The request's fields, where the framework has them for less. */
  headers?(): HeaderList;
  /** Reads the body in the framework's own way; from a copy of the request where left out. */
  readonly body?: BodyReader;
  /** Runs the handler. */
  run(claim: IdempotencyClaim<Response>): Response | Promise<Response>;
  /**
   * What the platform answers where the handler threw; `rethrow` where it is the platform that does so. What this
   * throws itself leaves the outcome unknown.
   */
  failed(error: unknown): FailedAnswer | Promise<FailedAnswer>;
  /** The fields that the framework was told already to send with whatever is answered. */
  readonly preset?: () => HeaderList;
  /** Calls `gone` where the client goes away, until the returned function is called; by the request's signal where left out. */
  watchClient?(gone: () => void): () => void;
  /** Keeps the platform from stopping before the promise settles. */
  waitUntil?(work: Promise<unknown>): void;
}

/** What came of a request. */
export interface Served {
  readonly response: Response;
  /**
   * `handler`: as the handler answered, the layer had no say. `own`: the layer's own answer, to go out with what the
   * framework was told to send with any (those of CORS). `whole`: in place of all that the framework has.
   */
  readonly kind: "handler" | "own" | "whole";
}

export interface FailedAnswer {
  readonly response: Response;
  readonly rethrow: boolean;
}

/** Of requests under way, as the framework sees them: for code that is given nothing else, and for a second middleware. */
const claims = new WeakMap<object, IdempotencyClaim<Response>>();

/** The claim of a request that is being handled, or undefined where it came through no middleware. */
export function claimOfRequest(subject: object): IdempotencyClaim<Response> | undefined {
  return claims.get(subject);
}

/** Serves a request. Rejects where the handler's own error is to reach the platform, or a function of the options failed. */
export async function serveWeb<Req extends object>(
  runtime: Idempotency<Req>,
  exchange: WebExchange<Req>,
): Promise<Served> {
  const { request, subject } = exchange;
  const before = claims.get(subject);
  // Another middleware has this request already, and its answer.
  if (before !== undefined && before.key !== null) return { kind: "handler", response: await exchange.run(before) };
  if (!runtime.concerns(request.method, request.headers.has(runtime.header)))
    return { kind: "handler", response: await run(exchange, passingClaim(wholeResponse)) };
  const served = serve(runtime, exchange);
  // SPEC §4.7: also where the client is gone, on platforms that would stop then.
  exchange.waitUntil?.(served.catch(() => {}));
  return served;
}

async function run<Req extends object>(
  exchange: WebExchange<Req>,
  claim: IdempotencyClaim<Response>,
): Promise<Response> {
  const { subject } = exchange;
  claims.set(subject, claim);
  try {
    return await exchange.run(claim);
  } finally {
    // Handled once more, it is another request's attempt.
    claims.delete(subject);
  }
}

async function serve<Req extends object>(runtime: Idempotency<Req>, exchange: WebExchange<Req>): Promise<Served> {
  const { request, subject, route } = exchange;
  const { policy, memory } = runtime;
  const body = new WebBody(request, policy.maxRequestBodyBytes, memory);
  try {
    const begun = await runtime.begin(subject, {
      method: request.method,
      target: targetOf(request.url),
      headers: exchange.headers?.() ?? [...request.headers],
      body: (sink) => exchange.body?.(sink, (bytes) => body.take(bytes)) ?? body.read(sink),
      ...(route === undefined ? {} : { route }),
    });
    switch (begun.kind) {
      case "pass":
        return await pass(policy, exchange, begun);
      case "answer":
        // What refuses a replay is no problem of the layer's, and is sent as it is too.
        return { kind: begun.code === null ? "whole" : "own", response: wholeResponse(begun.response) };
      case "run": {
        const owned = ownedRequest(begun.claim, policy, wholeResponse, exchange.preset);
        return { kind: "whole", response: await own(runtime, exchange, owned) };
      }
    }
  } catch (error) {
    if (!(error instanceof UploadBroken)) throw error;
    const broken = problem("request_invalid", { detail: `${error.message} Nothing was run.` });
    return { kind: "own", response: wholeResponse(problemResponse(broken, policy.errorFormat)) };
  } finally {
    body.dispose();
  }
}

async function pass<Req extends object>(
  policy: Policy,
  exchange: WebExchange<Req>,
  { headers, observation }: Extract<Begin, { kind: "pass" }>,
): Promise<Served> {
  const claim = passingClaim(wholeResponse);
  if (observation === null) {
    const response = await run(exchange, claim);
    // One that changes protocols cannot be copied.
    if (headers.length === 0 || response.status < 200) return { kind: "handler", response };
    // A copy, since that of a fetched answer cannot be changed.
    const extended = new Response(response.body, response);
    for (const [name, value] of headers) extended.headers.append(name, value);
    return { kind: "whole", response: extended };
  }
  const passed = observeBody(exchange.request, policy.maxRequestBodyBytes, observation);
  try {
    const response = await run(exchange, claim);
    const head = { status: response.status, headers: [...response.headers] };
    void passed.then(() => observation.responseEnd(head));
    return { kind: "handler", response };
  } catch (error) {
    void passed.then(() => observation.responseEnd(null));
    throw error;
  }
}

/** This request owns the key: whatever happens from here on, the claim is ended in one of its ways. */
async function own<Req extends object>(
  runtime: Idempotency<Req>,
  exchange: WebExchange<Req>,
  owned: OwnedRequest<Response>,
): Promise<Response> {
  const gone = (): void => owned.flag("CLIENT_GONE");
  const forget = exchange.watchClient?.(gone) ?? watchSignal(exchange.request, gone);
  let error: unknown;
  let answered: FailedAnswer;
  try {
    const response = await run(exchange, owned.claim);
    if (!isResponse(response)) throw new TypeError("The handler answered no Response.");
    answered = { response, rethrow: false };
  } catch (thrown) {
    error = thrown;
    answered = await failed(exchange, owned, thrown);
  } finally {
    forget();
  }
  const ended = await end(runtime, exchange, owned, answered.response);
  // Where the record holds something else, that is what the client is to have.
  if (answered.rethrow && ended.status === answered.response.status) throw error;
  return ended;
}

async function failed<Req extends object>(
  exchange: WebExchange<Req>,
  owned: OwnedRequest<Response>,
  error: unknown,
): Promise<FailedAnswer> {
  const settled = await owned.settled();
  if (settled !== null) {
    // Its effect and its answer are committed already; what failed after it changes neither.
    console.error("onceward: a handler threw after its transaction, whose answer its client got:", error);
    return { response: wholeResponse(settled), rethrow: false };
  }
  try {
    return await exchange.failed(error);
  } catch (fault) {
    await owned.unknown("The operation failed without an answer. Whether it took effect is not known.");
    throw fault;
  }
}

/** Ends the claim by the handler's answer, unless a transaction has, and answers what the client is sent. */
async function end<Req>(
  { policy, memory }: Idempotency<Req>,
  exchange: WebExchange<Req>,
  owned: OwnedRequest<Response>,
  response: Response,
): Promise<Response> {
  const held = await holdAnswer(response, policy, memory);
  switch (held.kind) {
    case "whole":
      return wholeResponse(await owned.finish(held.response));
    case "broken":
      return wholeResponse(
        await owned.unknown("The operation's answer broke off. Whether it took effect is not known."),
      );
    case "open": {
      const passed = await owned.finishUnkept(held.head);
      if (passed.kind === "stream") {
        const over = (complete: boolean): unknown => complete || owned.flag("TRUNCATED");
        return openResponse(held, passed.head, { over, waitUntil: exchange.waitUntil?.bind(exchange) });
      }
      held.rest.cancel("the answer is not wanted").catch(() => {});
      return wholeResponse(passed.response);
    }
  }
}

/** Path and query of an address, as they stand in it. */
function targetOf(url: string): string {
  const slash = url.indexOf("/", url.indexOf("//") + 2);
  const end = url.indexOf("#");
  return slash < 0 ? "/" : url.slice(slash, end < 0 ? undefined : end);
}

/** Calls `gone` where the client goes away while the handler runs. */
function watchSignal(request: Request, gone: () => void): () => void {
  // Not every platform's requests have a signal.
  const signal = request.signal as AbortSignal | undefined;
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    gone();
    return () => {};
  }
  signal.addEventListener("abort", gone);
  return () => signal.removeEventListener("abort", gone);
}
