// Bytes that are longer than a store's values may be: cut into chunks, named so that no reader can take a wrong one, joined again.

import { createHash } from "node:crypto";
import { IdempotencyError } from "../../core/errors.js";
import type { Fence, RecordId } from "../../core/record.js";
import type { Content, Head, Segment } from "./head.js";

/**
 * Chunks are written first, then the head that names them by compare-and-set. They are never changed: their names hold
 * the record's fence at that time and a digest of the bytes. A writer whose head is refused leaves chunks behind that no
 * head names; {@link isOrphan} tells them from those that a head may still come to name.
 */
export interface Chunk {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** 16 bytes of SHA-256 in hexadecimal: enough that no two contents of a record ever meet. */
const DIGEST_DIGITS = 32;

/** The content with what is too long for the head moved to chunks, which are to be written before it. */
export interface Spilled {
  readonly content: Content;
  readonly chunks: readonly Chunk[];
}

/** `fence`: the record's as it is in the store just now, not one that the write is to give it. */
export function spill(content: Content, fence: Fence, inlineBytes: number, chunkBytes: number): Spilled {
  const { spilled, inline } = content;
  if (inline.byteLength <= inlineBytes) return { content, chunks: [] };
  const digest = digestOf([inline]);
  const segment = { fence, digest, bytes: inline.byteLength, chunks: Math.ceil(inline.byteLength / chunkBytes) };
  const chunks = chunkNames(segment).map((name, index) => ({
    name,
    bytes: inline.subarray(index * chunkBytes, (index + 1) * chunkBytes),
  }));
  return { content: { spilled: [...spilled, segment], inline: new Uint8Array(0) }, chunks };
}

/** `<fence>.<digest>.<index>`, unique within a record. */
export function chunkNames({ fence, digest, chunks }: Segment): string[] {
  return Array.from({ length: chunks }, (_, index) => `${fence}.${digest}.${index}`);
}

/** The names of all chunks of a content. */
export function chunksOf(content: Content): string[] {
  return content.spilled.flatMap(chunkNames);
}

/**
 * The whole content: its segments' chunks, in the order of {@link chunksOf}, and what lay in the head.
 *
 * @throws IdempotencyError `store_corrupt` where the chunks are not what was written.
 */
export function join(id: RecordId, content: Content, chunks: readonly Uint8Array[]): Uint8Array {
  const total = content.spilled.reduce((sum, { bytes }) => sum + bytes, content.inline.byteLength);
  const whole = new Uint8Array(total);
  let at = 0;
  let next = 0;
  for (const segment of content.spilled) {
    const parts = chunks.slice(next, next + segment.chunks);
    next += segment.chunks;
    const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
    if (bytes !== segment.bytes || digestOf(parts) !== segment.digest) throw damaged(id, "are not what was written");
    for (const part of parts) {
      whole.set(part, at);
      at += part.byteLength;
    }
  }
  whole.set(content.inline, at);
  return whole;
}

/** What a store says of a head whose chunks are gone, while the head is still the same. */
export function missingChunk(id: RecordId, name: string): IdempotencyError {
  return damaged(id, `are incomplete: ${name} is missing`);
}

/**
 * Whether a chunk that was there *before* its record's head was read can never be named by a head again. A writer names
 * the fence that it expects, and a fence that is gone never comes back; while the record is unfinished under that fence,
 * the write that the chunk belongs to may be under way.
 */
export function isOrphan(chunkName: string, head: Head | null): boolean {
  if (head === null) return true;
  if (head.content.spilled.some((segment) => chunkNames(segment).includes(chunkName))) return false;
  return head.record.state === "done" || !chunkName.startsWith(`${head.record.fence}.`);
}

function digestOf(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, DIGEST_DIGITS);
}

function damaged(id: RecordId, how: string): IdempotencyError {
  return new IdempotencyError("store_corrupt", `The chunks that hold the content of record ${id} ${how}.`, {
    details: { recordId: id },
  });
}
