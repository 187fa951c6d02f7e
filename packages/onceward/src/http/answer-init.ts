// A plain answer, as a handler gives it where its framework has no say, made a response.

import type { HeaderList, HttpResponse } from "./message.js";

/** A plain answer: what `transaction` records and sends. */
export interface AnswerInit {
  /** Default 200. */
  readonly status?: number;
  readonly headers?: HeaderList | Readonly<Record<string, string | readonly string[]>>;
  /** A text, bytes, or what is sent as JSON; null or left out: none. */
  readonly body?: string | number | boolean | object | null;
}

const encoder = new TextEncoder();
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110 §5.5: no control characters but tab; and one character a byte. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * The response of a plain answer, without framing. A content type is added where there is none: `text/plain` of a
 * text, `application/octet-stream` of bytes, else `application/json`.
 *
 * @throws TypeError where it holds what no HTTP response can carry.
 */
export function answerOf(init: AnswerInit): HttpResponse {
  if (typeof init !== "object" || init === null)
    throw new TypeError("A transaction's function answers what is to be sent: return { status, headers, body }.");
  const { status = 200, body } = init;
  if (!Number.isInteger(status) || status < 200 || status > 599)
    throw new TypeError(`An answer's status is ${status}; it must be a whole number from 200 to 599.`);
  const headers = headerList(init.headers ?? []);
  for (const [name, value] of headers) {
    if (!TOKEN.test(name) || typeof value !== "string" || !VALUE.test(value))
      throw new TypeError(`An answer's header ${JSON.stringify(name)} is not one that HTTP can carry.`);
  }
  if (body === undefined || body === null) return { status, headers, body: new Uint8Array(0) };
  const { type, bytes } = encoded(body);
  const typed = headers.some(([name]) => name.toLowerCase() === "content-type");
  return { status, headers: typed ? headers : [...headers, ["Content-Type", type]], body: bytes };
}

function encoded(body: string | number | boolean | object): { readonly type: string; readonly bytes: Uint8Array } {
  if (typeof body === "string") return { type: "text/plain; charset=utf-8", bytes: encoder.encode(body) };
  if (ArrayBuffer.isView(body)) {
    // A copy: what is recorded must not change with what the handler does to its buffer.
    return {
      type: "application/octet-stream",
      bytes: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice(),
    };
  }
  if (body instanceof ArrayBuffer) return { type: "application/octet-stream", bytes: new Uint8Array(body.slice(0)) };
  const json = JSON.stringify(body);
  if (json === undefined) throw new TypeError("An answer's body is nothing that JSON can express.");
  return { type: "application/json", bytes: encoder.encode(json) };
}

function headerList(headers: NonNullable<AnswerInit["headers"]>): HeaderList {
  if (Array.isArray(headers)) return headers as HeaderList;
  return Object.entries(headers as Readonly<Record<string, string | readonly string[]>>).flatMap(([name, value]) =>
    // Not `typeof value === "string"`: what is neither is told of with its name.
    typeof value === "object" ? value.map((item) => [name, item] as const) : [[name, value] as const],
  );
}
