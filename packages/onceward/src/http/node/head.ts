// Header fields of Node's messages: read as lists in wire order, and put back.

import type { ServerResponse } from "node:http";
import type { ResponseHead } from "../layer.js";
import type { HeaderList } from "../message.js";

/** Of the connection and not of the answer: Node's server and whoever shuts it down have their say there. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set(["connection", "keep-alive"]);

/** A request's fields, in wire order and as spelled there; the pseudo fields of HTTP/2 are none. */
export function requestHeaders(raw: readonly string[]): HeaderList {
  const headers: (readonly [string, string])[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? "";
    if (!name.startsWith(":")) headers.push([name, raw[at + 1] ?? ""]);
  }
  return headers;
}

/** The head that a response has been given until now. */
export function responseHead(response: ServerResponse): ResponseHead {
  return { status: response.statusCode, headers: responseHeaders(response) };
}

/** The fields that a response has been given until now, in order. */
export function responseHeaders(response: ServerResponse): HeaderList {
  const headers: (readonly [string, string])[] = [];
  for (const name of rawNames(response)) {
    const value = response.getHeader(name);
    if (Array.isArray(value)) for (const item of value) headers.push([name, String(item)]);
    else headers.push([name, String(value)]);
  }
  return headers;
}

/** Sets fields in place of all but the connection's own and those that `keeps` says to keep. */
export function replaceHeaders(response: ServerResponse, headers: HeaderList, keeps: (name: string) => boolean): void {
  const { sendDate } = response;
  for (const name of response.getHeaderNames()) {
    if (!OF_THE_CONNECTION.has(name) && !keeps(name)) response.removeHeader(name);
  }
  // Who removes a Date is taken to want none.
  response.sendDate = sendDate;
  const set = new Set<string>();
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    if (set.has(key)) response.setHeader(name, [response.getHeader(name)].flat().map(String).concat(value));
    else response.setHeader(name, value);
    set.add(key);
  }
}

/** The arguments of `writeHead` after the status, in all of their spellings, set as Node would set them. */
export function setHeadersOf(response: ServerResponse, headers: unknown): void {
  if (typeof headers !== "object" || headers === null) return;
  if (!Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) response.setHeader(name, value);
    return;
  }
  const pairs = Array.isArray(headers[0]) ? headers : pairsOf(headers);
  for (const [name] of pairs) response.removeHeader(name);
  for (const [name, value] of pairs) {
    const before = response.getHeader(name);
    response.setHeader(name, before === undefined ? value : [before, value].flat().map(String));
  }
}

/** What Onceward's own answers must not take away from a browser of another origin, which could not read them else. */
export function isOfCors(name: string): boolean {
  return name === "vary" || name.startsWith("access-control-");
}

function pairsOf(flat: readonly unknown[]): [string, string | string[]][] {
  if (flat.length % 2 !== 0) {
    const error = new TypeError("The argument 'headers' is invalid: an array of names and values has an even length.");
    throw Object.assign(error, { code: "ERR_INVALID_ARG_VALUE" });
  }
  return flat.flatMap((name, at) => (at % 2 === 0 ? [[String(name), flat[at + 1] as string | string[]]] : []));
}

function rawNames(response: ServerResponse): string[] {
  // HTTP/2 knows no other names than those in lower case. Node's types lack what its documentation has.
  const { getRawHeaderNames } = response as { getRawHeaderNames?: () => string[] };
  return getRawHeaderNames?.call(response) ?? response.getHeaderNames();
}
