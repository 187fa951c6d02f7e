// The bytes that an answer is recorded as, and back (SPEC §5.1, §5.4).

import { IdempotencyError } from "../core/errors.js";
import type { HeaderList } from "./message.js";

/** A recorded answer. */
export interface RecordedResponse {
  readonly status: number;
  readonly headers: HeaderList;
  /** null: the body was too large or a stream, and was not kept (SPEC §5.4). */
  readonly body: Uint8Array | null;
}

const VERSION = 1;
const BODY_KEPT = 1;
const TEXT_PART = 4_096;

/**
 * The payload of an answer: version, flags, header count, headers, body, each with its length before it as a base-128
 * varint. Names and values are one byte a character. The status is kept beside it.
 *
 * @throws TypeError where a header holds a character above U+00FF, which no HTTP message can carry.
 */
export function encodeResponse(response: RecordedResponse): Uint8Array {
  const { headers, body } = response;
  let size = 2 + varintSize(headers.length);
  for (const [name, value] of headers) {
    size += varintSize(name.length) + name.length + varintSize(value.length) + value.length;
  }
  if (body !== null) size += varintSize(body.length) + body.length;
  const bytes = new Uint8Array(size);
  bytes[0] = VERSION;
  bytes[1] = body === null ? 0 : BODY_KEPT;
  let at = writeVarint(bytes, 2, headers.length);
  for (const [name, value] of headers) {
    at = writeText(bytes, at, name, name);
    at = writeText(bytes, at, value, name);
  }
  if (body !== null) bytes.set(body, writeVarint(bytes, at, body.length));
  return bytes;
}

/**
 * The answer of a payload. Its body shares the payload's memory.
 *
 * @throws IdempotencyError `store_corrupt` where the payload is none, or of a version that is not known.
 */
export function decodeResponse(status: number, payload: Uint8Array): RecordedResponse {
  if (!Number.isInteger(status) || status < 100 || status > 999) throw corrupt("its status is none");
  // No version is 0: what begins so was encrypted by a sealed store, and this one was opened without the keys.
  if (payload[0] === 0) throw corrupt("it is sealed; set `encryption`");
  if (payload[0] !== VERSION) throw corrupt("it is of an unknown version");
  const flags = payload[1];
  if (flags === undefined || flags > BODY_KEPT) throw corrupt("its flags are unknown");
  const reader = new PayloadReader(payload, 2);
  const headers: [string, string][] = [];
  for (let left = reader.varint(); left > 0; left -= 1) headers.push([reader.text(), reader.text()]);
  const body = flags === BODY_KEPT ? reader.bytes(reader.varint()) : null;
  reader.end();
  return { status, headers, body };
}

class PayloadReader {
  private readonly payload: Uint8Array;
  private at: number;

  constructor(payload: Uint8Array, at: number) {
    this.payload = payload;
    this.at = at;
  }

  varint(): number {
    let value = 0;
    // Five groups of seven bits hold every length that memory can.
    for (let scale = 1; scale <= 128 ** 4; scale *= 128) {
      const byte = this.payload[this.at];
      if (byte === undefined) throw corrupt("it ends early");
      this.at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw corrupt("a length in it is too large");
  }

  bytes(length: number): Uint8Array {
    const { payload, at } = this;
    if (length > payload.length - at) throw corrupt("it ends early");
    this.at = at + length;
    // Not subarray: of a Node Buffer that would be a Buffer again, whose slice() means something else.
    return new Uint8Array(payload.buffer, payload.byteOffset + at, length);
  }

  text(): string {
    const length = this.varint();
    const { payload, at } = this;
    if (length > payload.length - at) throw corrupt("it ends early");
    this.at = at + length;
    let text = "";
    // Not TextDecoder: its "latin1" is windows-1252, which changes 0x80 to 0x9F. In parts, since each byte is an argument.
    for (let from = at; from < this.at; from += TEXT_PART) {
      const part = payload.subarray(from, Math.min(from + TEXT_PART, this.at));
      text += String.fromCharCode.apply(null, part as unknown as number[]);
    }
    return text;
  }

  end(): void {
    if (this.at !== this.payload.length) throw corrupt("it goes on after its end");
  }
}

function corrupt(what: string): IdempotencyError {
  return new IdempotencyError("store_corrupt", `A recorded answer cannot be read: ${what}.`);
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size += 1;
  return size;
}

function writeVarint(bytes: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) {
    bytes[at] = (rest % 128) | 0x80;
    at += 1;
  }
  bytes[at] = rest;
  return at + 1;
}

function writeText(bytes: Uint8Array, start: number, text: string, header: string): number {
  const at = writeVarint(bytes, start, text.length);
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code > 0xff) throw new TypeError(`The header ${JSON.stringify(header)} holds a character above U+00FF.`);
    bytes[at + index] = code;
  }
  return at + text.length;
}
