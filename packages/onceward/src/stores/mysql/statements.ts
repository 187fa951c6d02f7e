// How values are written into statements: as digits and hexadecimal only, so that no setting of a server changes them.

/**
 * The server's clock in microseconds since 1970, whatever the session's time zone is. `NOW()` is local time, in which an
 * hour comes twice a year.
 */
export const CLOCK_US = "TIMESTAMPDIFF(MICROSECOND, DATE'1970-01-01', UTC_TIMESTAMP(6))";

/** The server's clock in milliseconds; or, in tests, an instant of the test's own. */
export function clockOf(now: (() => number) | undefined): () => string {
  return now === undefined ? () => `(${CLOCK_US} DIV 1000)` : () => integer(now());
}

/** The instant that a statement was judged by, whose server's clock showed `us`. */
export function instantOf(clock: string, us: number): number {
  return /^\d+$/.test(clock) ? Number(clock) : Math.floor(us / 1_000);
}

export function integer(value: number): string {
  if (!Number.isSafeInteger(value)) throw new TypeError(`${value} is no whole number.`);
  return String(value);
}

/** A status as its column holds it; a server without strict mode would change another one in silence. */
export function statusCode(value: number): string {
  if (!(value >= 0 && value <= 32_767)) throw new TypeError(`${value} is no status.`);
  return integer(value);
}

/** An id or a fence, which are hexadecimal digits already. */
export function hex(digits: string): string {
  return `X'${digits}'`;
}

export function bytes(value: Uint8Array): string {
  return `X'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}'`;
}

export function text(value: string): string {
  return bytes(encodeText(value));
}

export function textOrNull(value: string | null): string {
  return value === null ? "NULL" : text(value);
}

// UTF-8 has no bytes for a lone surrogate, and none of its bytes is 0xff.
const UNSAFE = /\p{Surrogate}/u;
const UTF16 = 0xff;

/** A string as it is kept: UTF-8, or UTF-16 behind a mark where UTF-8 would not give it back. Equal ones stay equal. */
export function encodeText(value: string): Buffer {
  if (!UNSAFE.test(value)) return Buffer.from(value, "utf8");
  return Buffer.concat([Buffer.of(UTF16), Buffer.from(value, "utf16le")]);
}

export function readText(value: unknown): string {
  const kept = readBytes(value);
  return kept[0] === UTF16 ? kept.toString("utf16le", 1) : kept.toString("utf8");
}

export function readTextOrNull(value: unknown): string | null {
  return value === null ? null : readText(value);
}

export function readHex(value: unknown): string {
  return readBytes(value).toString("hex");
}

export function readBytes(value: unknown): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new TypeError("A column of bytes holds none.");
}

/** An integer, whatever the client was told to read it as. */
export function readInteger(value: unknown): number {
  const number = Number(value);
  if (value === null || !Number.isSafeInteger(number)) throw new TypeError("A column of integers holds none.");
  return number;
}

export function readIntegerOrNull(value: unknown): number | null {
  return value === null ? null : readInteger(value);
}
