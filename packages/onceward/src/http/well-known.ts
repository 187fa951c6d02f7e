// The library's handler of what callers may know: each route's policy, and what became of a key (SPEC §10).

import { IdempotencyError } from "../core/errors.js";
import type { MiddlewareParts } from "./idempotency.js";
import type { HeaderList, HttpResponse } from "./message.js";
import { withContentLength } from "./replay.js";
import { parseRouteMatch } from "./route-pattern.js";
import { wholeResponse } from "./web-answer.js";
import { DOCUMENT_PATH, KEYS_PATH, policyDocument } from "./well-known/policy-document.js";
import { representations } from "./well-known/representations.js";

export type { KeyStatus, PolicyDocument, PublishedPolicy, RoutePolicy } from "./well-known/published.js";

export interface WellKnownOptions<Req> {
  /**
   * What is published, in this order: by the route's name, such as `POST /v1/transfers` (every method where none is
   * named), the middleware that it is behind; null where keys mean nothing.
   */
  readonly routes: Readonly<Record<string, Pick<MiddlewareParts<Req>, "policy"> | null>>;
  /**
   * Also serves the state of a caller's own keys (SPEC §10.2), as this middleware tells accounts apart and in its
   * namespace. Left out: not served.
   */
  readonly keys?: MiddlewareParts<Req>;
}

/** A request as it was received. */
export interface WellKnownFacts {
  readonly method: string;
  /** With the query, as received. */
  readonly target: string;
  readonly headers: HeaderList;
}

/** Requests and answers of `node:http`, as far as they are looked at; those of Express are such. */
export interface NodeRequestLike {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** Express: as received, whatever the handler is mounted under. */
  readonly originalUrl?: string;
  readonly rawHeaders: readonly string[];
}
export interface NodeResponseLike {
  writeHead(status: number, headers: string[]): unknown;
  end(body?: Uint8Array): unknown;
}

/** Answers GET and HEAD of `/.well-known/idempotency` and of the keys below it, and no other request. */
export interface WellKnown<Req> {
  /** null for every other request. `request` is what the account resolver is given. */
  answer(request: Req, facts: WellKnownFacts): Promise<HttpResponse> | null;
  /** For whatever speaks fetch. `subject` is what the account resolver is given, where that is not the request itself. */
  fetch(request: Request, subject?: Req): Promise<Response | null>;
  /** For `node:http`, Express and Connect: calls `next` for every other request, with the error where it failed. */
  node(request: NodeRequestLike, response: NodeResponseLike, next: (error?: unknown) => void): void;
}

/**
 * Prepares the answers. The document names no field of a request's body and nothing of an account.
 *
 * @throws IdempotencyError `config_invalid` where a route's name cannot be read.
 */
export function wellKnown<Req>({ routes, keys }: WellKnownOptions<Req>): WellKnown<Req> {
  const documented = Object.entries(routes).map(([name, middleware]) => {
    const match = parseRouteMatch(name);
    if ("error" in match) throw new IdempotencyError("config_invalid", `wellKnown(): \`routes\`: ${match.error}.`);
    const methods = match.methods === null ? null : new Set(match.methods);
    return { name, methods, when: null, policy: middleware?.policy ?? null };
  });
  const publish = representations(policyDocument(documented, keys === undefined ? "not-served" : "served"));
  const answer = (request: Req, { method, target, headers }: WellKnownFacts): Promise<HttpResponse> | null => {
    if (method !== "GET" && method !== "HEAD") return null;
    const mark = target.indexOf("?");
    const path = mark < 0 ? target : target.slice(0, mark);
    if (path === DOCUMENT_PATH) return Promise.resolve(withContentLength(publish(headers), method));
    if (keys === undefined || !path.startsWith(KEYS_PATH)) return null;
    const question = { encodedKey: path.slice(KEYS_PATH.length), query: mark < 0 ? "" : target.slice(mark), headers };
    return keys.keyStatus(request, question).then((response) => withContentLength(response, method));
  };
  return {
    answer,
    async fetch(request, subject = request as Req) {
      const { pathname, search } = new URL(request.url);
      const facts = { method: request.method, target: pathname + search, headers: [...request.headers] };
      const response = await answer(subject, facts);
      return response === null ? null : wholeResponse(response);
    },
    node(request, response, next) {
      const { method = "GET", rawHeaders } = request;
      const headers: (readonly [string, string])[] = [];
      for (let at = 0; at + 1 < rawHeaders.length; at += 2)
        headers.push([rawHeaders[at] ?? "", rawHeaders[at + 1] ?? ""]);
      const target = request.originalUrl ?? request.url ?? "/";
      const answered = answer(request as Req, { method, target, headers });
      if (answered === null) next();
      else
        answered.then(
          (whole) => response.writeHead(whole.status, whole.headers.flat()) && response.end(whole.body),
          next,
        );
    },
  };
}
