// The step log of a record as one run of bytes: each entry with its length before it (SPEC §7.2).

import { IdempotencyError } from "./errors.js";

const LENGTH_BYTES = 4;

/** An entry as it is appended: its length as four bytes, the most significant first, and the entry itself. */
export function encodeEntry(entry: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES + entry.byteLength);
  new DataView(bytes.buffer).setUint32(0, entry.byteLength);
  bytes.set(entry, LENGTH_BYTES);
  return bytes;
}

/**
 * The entries of a log in their order, each in memory of its own.
 *
 * @throws IdempotencyError `store_corrupt` where the log does not end with an entry's end.
 */
export function decodeEntries(log: Uint8Array): readonly Uint8Array[] {
  const lengths = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const entries: Uint8Array[] = [];
  for (let at = 0; at < log.byteLength; ) {
    const start = at + LENGTH_BYTES;
    const end = start > log.byteLength ? start : start + lengths.getUint32(at);
    if (end > log.byteLength) throw new IdempotencyError("store_corrupt", "A record's step log ends early.");
    // Not slice(): of a Node Buffer that would share the log's memory.
    entries.push(new Uint8Array(log.subarray(start, end)));
    at = end;
  }
  return entries;
}
