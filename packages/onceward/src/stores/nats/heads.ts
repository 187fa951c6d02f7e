// The heads of a bucket: read, written with their chunks and deleted, each by the revision that was read.

import type { Fence, RecordId } from "../../core/record.js";
import { chunkNames, chunksOf, join, missingChunk, spill } from "../heads/chunks.js";
import type { Content, Head } from "../heads/head.js";
import { encodeHead } from "../heads/head-text.js";
import type { NatsBucket } from "./bucket.js";
import { CHUNKS, chunkKey, recordKey, storedHead } from "./keys.js";

/** A head as it was read or written last; `revision` 0: nothing is there. */
export interface Seen {
  readonly head: Head | null;
  readonly revision: number;
}

/** The name of a segment of an answer's chunks takes so much of a head's text, at most. */
const SEGMENT_TEXT_BYTES = 200;
/** Chunks on their way at once. */
const ABREAST = 8;

export class NatsHeads {
  readonly #bucket: NatsBucket;
  /** Chunks that are being deleted. */
  readonly #clearing = new Set<Promise<unknown>>();

  constructor(bucket: NatsBucket) {
    this.#bucket = bucket;
  }

  async read(id: RecordId): Promise<Seen> {
    const stored = await this.#bucket.get(recordKey(id));
    if (stored === null) return { head: null, revision: 0 };
    return { head: storedHead(id, stored), revision: stored.revision };
  }

  /**
   * Null where somebody else wrote or deleted it since it was seen. Chunks that were written for it may then be those
   * of the head that is there now (the same answer, recorded twice at once), so they are left to the purge of orphans.
   */
  async write(id: RecordId, seen: Seen, next: Head): Promise<Seen | null> {
    let head = next;
    let note = encodeHead(head);
    const inlineBytes = this.#bucket.longestData(note.length);
    if (head.content.inline.byteLength > inlineBytes) {
      const fence = seen.head?.record.fence ?? next.record.fence;
      head = { ...head, content: await this.#spill(id, head.content, fence, inlineBytes - SEGMENT_TEXT_BYTES) };
      note = encodeHead(head);
    }
    const revision = await this.#bucket.put(recordKey(id), seen.revision, note, head.content.inline);
    if (revision === null) return null;
    this.#clear(id, chunksOnlyOf(seen.head, head));
    return { head: head.order === null ? { ...head, order: revision } : head, revision };
  }

  /** Whether it was still there as it was seen. */
  async remove(id: RecordId, seen: Seen): Promise<boolean> {
    const removed = await this.#bucket.remove(recordKey(id), seen.revision);
    if (removed) this.#clear(id, chunksOnlyOf(seen.head, null));
    return removed;
  }

  /**
   * All of a content's bytes, or null where the record was changed while they were read.
   *
   * @throws IdempotencyError `store_corrupt` where they are not what was written.
   */
  async content(id: RecordId, { head, revision }: Seen & { readonly head: Head }): Promise<Uint8Array | null> {
    const names = chunksOf(head.content);
    if (names.length === 0) return head.content.inline;
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < names.length; at += ABREAST) {
      const part = names.slice(at, at + ABREAST);
      const stored = await Promise.all(part.map((name) => this.#bucket.get(chunkKey(id, name))));
      for (const [index, chunk] of stored.entries()) {
        if (chunk !== null && chunk.note !== null) chunks.push(chunk.data);
        else if ((await this.read(id)).revision !== revision) return null;
        else throw missingChunk(id, part[index] ?? "");
      }
    }
    return join(id, head.content, chunks);
  }

  /** Waits for what is deleted in the background. */
  async close(): Promise<void> {
    await Promise.all(this.#clearing);
  }

  /** Moves what is too long for one message to chunks, and writes those. */
  async #spill(id: RecordId, content: Content, fence: Fence, inlineBytes: number): Promise<Content> {
    const spilled = spill(content, fence, inlineBytes, this.#bucket.longestData(CHUNKS.length));
    for (let at = 0; at < spilled.chunks.length; at += ABREAST) {
      const part = spilled.chunks.slice(at, at + ABREAST);
      await Promise.all(part.map(({ name, bytes }) => this.#putChunk(chunkKey(id, name), bytes)));
    }
    return spilled.content;
  }

  /** One that is there already is the same: its name holds a digest of it. */
  async #putChunk(key: string, bytes: Uint8Array): Promise<void> {
    await this.#bucket.put(key, 0, CHUNKS, bytes);
  }

  /** Deletes chunks that no head names any more, without holding anybody up; what fails here, a purge finds. */
  #clear(id: RecordId, names: readonly string[]): void {
    for (const name of names) {
      const clearing = this.#bucket
        .remove(chunkKey(id, name), Number.MAX_SAFE_INTEGER - 1)
        .catch(() => {})
        .finally(() => this.#clearing.delete(clearing));
      this.#clearing.add(clearing);
    }
  }
}

function chunksOnlyOf(head: Head | null, other: Head | null): string[] {
  if (head === null || head.content.spilled.length === 0) return [];
  const kept = new Set(other?.content.spilled.flatMap(chunkNames));
  return chunksOf(head.content).filter((name) => !kept.has(name));
}
