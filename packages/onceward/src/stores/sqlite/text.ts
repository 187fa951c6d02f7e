// Strings as SQLite can hold them exactly.

import type { SqlValue } from "./driver.js";

// Drivers bind and read text as C strings in UTF-8: a NUL ends it, and a lone surrogate is replaced.
const UNSAFE = /[\0\p{Surrogate}]/u;

/** A string as it is bound: text, or a blob of UTF-16 where text would not give it back. Equal ones stay equal. */
export function bindText(value: string): string | Uint8Array {
  return UNSAFE.test(value) ? Buffer.from(value, "utf16le") : value;
}

/** A string as it was bound. */
export function readText(value: SqlValue | undefined): string {
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("utf16le");
  throw new TypeError("A text of the database is missing.");
}

/** A hexadecimal id or fence as it is bound. */
export function bindHex(value: string): Uint8Array {
  return Buffer.from(value, "hex");
}

export function readHex(value: SqlValue | undefined): string {
  if (!(value instanceof Uint8Array)) throw new TypeError("An id of the database is missing.");
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex");
}

/** An integer, also where a driver is set to read them as bigints. */
export function readNumber(value: SqlValue | undefined): number {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  throw new TypeError("A number of the database is missing.");
}

export function readNumberOrNull(value: SqlValue | undefined): number | null {
  return value === null || value === undefined ? null : readNumber(value);
}
