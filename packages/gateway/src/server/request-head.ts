// What a request's head says, read once; and what makes it unfit to be forwarded (SPEC §5.7, §5.8, RFC 9112).

import type { IncomingMessage } from "node:http";
import { normalisePath } from "onceward/http";

/** Where a request wants to go. */
export interface RequestTarget {
  /** Normalised; `*` for the server as a whole. This is what is matched and what is forwarded. */
  readonly path: string;
  /** With its `?`; empty where there is none. */
  readonly query: string;
  /** The authority as the client named it; empty where an HTTP/1.0 client named none. */
  readonly authority: string;
  /** Its host without the port, in lower case; `a.` is `a`. */
  readonly host: string;
}

export interface HeadRules {
  readonly maxHeaders: number;
  /** In lower case: what may be sent once only, since route or environment rest on it (SPEC S5). */
  readonly once: ReadonlySet<string>;
}

/** A head that is refused: 400, or what says more. */
export interface HeadFault {
  readonly fault: string;
  /** Where all but the path is in order: for the endpoints that read a path of their own. */
  readonly unclearPath?: { readonly host: string };
  readonly status: 400 | 417 | 431 | 501 | 505 | 508;
}

/** Without percent-encoding, which no name has, and which would be another spelling of one. */
const AUTHORITY = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._~!$&'()*+,;=-]*)(?::\d{0,5})?$/;
const FIELD_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * Node's parser refuses both framings at once, repeated lengths, folded lines and stray control characters. What it
 * lets through and servers behind could read in another way is refused here.
 */
export function readTarget(request: IncomingMessage, { maxHeaders, once }: HeadRules): RequestTarget | HeadFault {
  const fault = framingFault(request, maxHeaders) ?? repeatedFault(request.rawHeaders, once);
  if (fault !== null) return fault;
  const authority = authorityOf(request);
  if (!AUTHORITY.test(authority)) return { status: 400, fault: "The request's host is malformed." };
  const reading = normalisePath(request.url ?? "");
  if (!reading.ok) return { status: 400, fault: reading.reason, unclearPath: { host: hostOf(authority) } };
  if (reading.path === "*" && request.method !== "OPTIONS") {
    return { status: 400, fault: "The request's target is *, which only OPTIONS may have." };
  }
  const query = reading.query === "" && !request.url?.includes("?") ? "" : `?${reading.query}`;
  return { path: reading.path, query, authority, host: hostOf(authority) };
}

/** Whether a body follows the head. */
export function hasBody(request: IncomingMessage): boolean {
  const { headers } = request;
  if (headers["transfer-encoding"] !== undefined) return true;
  const length = headers["content-length"];
  return length !== undefined && length !== "0";
}

function framingFault(request: IncomingMessage, maxHeaders: number): HeadFault | null {
  const { httpVersion, rawHeaders } = request;
  if (httpVersion !== "1.1" && httpVersion !== "1.0") {
    return { status: 505, fault: "This server speaks HTTP/1.1 and HTTP/1.0." };
  }
  if (rawHeaders.length > maxHeaders * 2)
    return { status: 431, fault: `The request has more than ${maxHeaders} header fields.` };
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
    if (FIELD_VALUE.test(rawHeaders[at + 1] ?? ""))
      return { status: 400, fault: "A header field holds a control character." };
  }
  if (hosts > 1) return { status: 400, fault: "The request names more than one host." };
  if (hosts === 0 && httpVersion === "1.1") return { status: 400, fault: "The request names no host." };
  const { expect } = request.headers;
  if (expect !== undefined && httpVersion === "1.1" && !expect.toLowerCase().includes("100-continue")) {
    return { status: 417, fault: "The only expectation met is 100-continue." };
  }
  const coding = request.headers["transfer-encoding"];
  if (coding === undefined) return null;
  if (httpVersion === "1.0" || request.headers["content-length"] !== undefined) {
    return { status: 400, fault: "The request's framing can be read in two ways." };
  }
  return coding.trim().toLowerCase() === "chunked"
    ? null
    : { status: 501, fault: "The only transfer coding served is chunked." };
}

/** Which of two values the server behind would believe is not known, and with it whether the request is protected. */
function repeatedFault(raw: readonly string[], once: ReadonlySet<string>): HeadFault | null {
  if (once.size === 0) return null;
  const seen = new Set<string>();
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]?.toLowerCase() ?? "";
    if (!once.has(name)) continue;
    if (seen.has(name))
      return { status: 400, fault: `The header field ${name} was sent more than once: send it once.` };
    seen.add(name);
  }
  return null;
}

/** RFC 9112 §3.2.2: the authority of an absolute target goes before `Host`. */
function authorityOf(request: IncomingMessage): string {
  const url = request.url ?? "";
  if (url.charCodeAt(0) === 0x2f || url === "*") return request.headers.host ?? "";
  return /^https?:\/\/([^/?]*)/i.exec(url)?.[1] ?? "";
}

/** The name that an authority means: servers take `a.` for `a`, so a condition on a host has to as well (SPEC S5). */
export function hostOf(authority: string): string {
  const end = authority.startsWith("[") ? authority.indexOf("]") + 1 : authority.indexOf(":");
  const host = (end < 0 ? authority : authority.slice(0, end)).toLowerCase();
  return host.endsWith(".") ? host.slice(0, -1) : host;
}
