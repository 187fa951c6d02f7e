// The policy document as JSON and as a page, whichever the client prefers (SPEC §10.1).

import { createHash } from "node:crypto";
import { PAGE_CSP } from "../html.js";
import { type HeaderList, type HttpResponse, headerValues } from "../message.js";
import { prefersHtml } from "./accept.js";
import { policyPage } from "./policy-page.js";
import type { PolicyDocument } from "./published.js";

interface Representation {
  readonly contentType: string;
  readonly body: Uint8Array;
  readonly etag: string;
  readonly csp: string;
}

/** Prepares both; what it answers makes the answer to a GET of these fields. */
export function representations(document: PolicyDocument): (headers: HeaderList) => HttpResponse {
  const json = represent("application/json", `${JSON.stringify(document, null, 2)}\n`, "default-src 'none'");
  const page = represent("text/html; charset=utf-8", policyPage(document), PAGE_CSP);
  return (headers) => published(headers, prefersHtml(headers) ? page : json);
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
