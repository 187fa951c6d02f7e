// Content that is too long for an item: in items of its own, written before the head that names them.

import { randomBytes } from "node:crypto";
import type { RecordId } from "../../core/record.js";
import { type Chunk, chunksOf, join, spill } from "../heads/chunks.js";
import { type Content, NO_CONTENT } from "../heads/head.js";
import type { DynamoDBItem } from "./client.js";
import { bytes, indexed, number, text, ttlOf } from "./item.js";
import { chunkKey } from "./layout.js";
import type { Table } from "./table.js";

/** What an item says of itself that is the first chunk of a group; the group is purged by it. */
export const CHUNK_STATE = "chunk";

/** An item has at most 400 KB; what an answer's labels take is far below the rest. */
const CHUNK_BYTES = 256 * 1024;

export class Chunks {
  readonly #table: Table;
  readonly #sequence: (now: number) => string;

  constructor(table: Table, sequence: (now: number) => string) {
    this.#table = table;
    this.#sequence = sequence;
  }

  /**
   * Moves `whole` into chunks where it is longer than `inlineBytes`. Each call gives them names of their own, so that no
   * two writers can write over one another. They are kept until `keepUntil` whatever becomes of the head: one that names
   * them must not outlive them, and those that none names are purged then.
   */
  async write(id: RecordId, whole: Uint8Array, inlineBytes: number, now: number, keepUntil: number): Promise<Content> {
    const own = randomBytes(16).toString("hex");
    const { content, chunks } = spill({ ...NO_CONTENT, inline: whole }, own, inlineBytes, CHUNK_BYTES);
    const [first, ...others] = chunks;
    if (first === undefined) return content;
    // Alone and first: purging finds the group by it.
    await this.#put(id, first, keepUntil, {
      ...indexed(id, this.#sequence(now)),
      state: text(CHUNK_STATE),
      expires: number(keepUntil),
      lease: number(0),
      parts: number(chunks.length),
    });
    await Promise.all(others.map((chunk) => this.#put(id, chunk, keepUntil)));
    return content;
  }

  /** null where a chunk is not there: the head that named it has expired or changed meanwhile. */
  async read(id: RecordId, content: Content): Promise<Uint8Array | null> {
    const items = await Promise.all(chunksOf(content).map((name) => this.#table.get(chunkKey(id, name))));
    const parts = items.flatMap((item) => item?.["bytes"]?.B ?? []);
    return parts.length < items.length ? null : join(id, content, parts);
  }

  async remove(id: RecordId, content: Content): Promise<void> {
    await Promise.all(chunksOf(content).map((name) => this.#table.remove(chunkKey(id, name))));
  }

  async #put(id: RecordId, chunk: Chunk, keepUntil: number, more: DynamoDBItem = {}): Promise<void> {
    const item = { ...chunkKey(id, chunk.name), ...more, bytes: bytes(chunk.bytes), ttl: number(ttlOf(keepUntil)) };
    await this.#table.put(item);
  }
}
