// What the gateway publishes of itself on its public address (SPEC §10).

import { createHash } from "node:crypto";
import { type HeaderList, type HttpResponse, headerValues } from "onceward/http";
import { PAGE_CSP } from "../html.js";
import { prefersHtml } from "./accept.js";
import { type KeyStatusDeps, keyStatus } from "./key-status.js";
import { DOCUMENT_PATH, KEYS_PATH, policyDocument } from "./policy-document.js";
import { policyPage } from "./policy-page.js";
import type { WellKnownRequest } from "./well-known-request.js";

/**
 * Answers GET and HEAD of `/.well-known/idempotency` and of the keys below it; null for every other request. These
 * paths shadow the upstream's. The answer to HEAD has the body of GET, which is not to be sent. Rejects only where the
 * layer fails in a way that is no matter of the store being out of reach.
 */
export type WellKnown = (request: WellKnownRequest) => Promise<HttpResponse> | null;

interface Representation {
  readonly contentType: string;
  readonly body: Uint8Array;
  readonly etag: string;
  readonly csp: string;
}

/** Prepares the answers for a configuration; after a reload it is called again. */
export function createWellKnown(deps: KeyStatusDeps): WellKnown {
  const document = policyDocument(deps.routes);
  const json = represent("application/json", `${JSON.stringify(document, null, 2)}\n`, "default-src 'none'");
  const page = represent("text/html; charset=utf-8", policyPage(document), PAGE_CSP);
  return (request) => {
    if (request.method !== "GET" && request.method !== "HEAD") return null;
    const { path, headers } = request;
    if (path === DOCUMENT_PATH) return Promise.resolve(published(headers, prefersHtml(headers) ? page : json));
    if (!path.startsWith(KEYS_PATH)) return null;
    return keyStatus(deps, request, path.slice(KEYS_PATH.length));
  };
}

function published(headers: HeaderList, { contentType, body, etag, csp }: Representation): HttpResponse {
  const common = [
    ["ETag", etag],
    ["Cache-Control", "public, max-age=60"],
    ["Vary", "Accept"],
  ] as const;
  if (matches(headerValues(headers, "if-none-match"), etag))
    return { status: 304, headers: common, body: new Uint8Array(0) };
  const more = [
    ["Content-Type", contentType],
    ["Content-Security-Policy", csp],
    ["X-Content-Type-Options", "nosniff"],
  ] as const;
  return { status: 200, headers: [...common, ...more], body };
}

/** RFC 9110 §13.1.2: compared weakly. */
function matches(conditions: readonly string[], etag: string): boolean {
  return conditions.some((value) =>
    value.split(",").some((item) => item.trim() === "*" || item.trim().replace(/^W\//, "") === etag),
  );
}

function represent(contentType: string, text: string, csp: string): Representation {
  const body = new TextEncoder().encode(text);
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return { contentType, body, etag, csp };
}
