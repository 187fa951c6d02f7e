// The keys of a bucket, and what is at them.

import type { RecordId } from "../../core/record.js";
import type { Head } from "../heads/head.js";
import { decodeHead } from "../heads/head-text.js";
import type { Listed, Stored } from "./bucket.js";

/** `r.<id>`: a record's head. Its text is the note, what of its content is not in chunks the data. */
export const RECORDS = "r.";
/** `c.<id>.<fence>.<digest>.<index>`: chunks of a record's content. */
export const CHUNKS = "c.";
/** `s.<name in hexadecimal>`: shared values. */
export const SHARED = "s.";

export function recordKey(id: RecordId): string {
  return `${RECORDS}${id}`;
}

export function chunkKey(id: RecordId, name: string): string {
  return `${CHUNKS}${id}.${name}`;
}

export function sharedKey(name: string): string {
  return `${SHARED}${Buffer.from(name).toString("hex")}`;
}

/** The record that a key of a head or a chunk belongs to. */
export function idOf(key: string): RecordId {
  return key.split(".")[1] ?? "";
}

/** The head at a key; null where another client deleted it, which leaves a marker. */
export function storedHead(id: RecordId, { note, data, revision }: Stored): Head | null {
  return note === null ? null : placed(decodeHead(id, note, data), revision);
}

/** The head as a scan finds it: without what lies in the data. */
export function listedHead({ key, note, revision }: Listed): Head | null {
  return note === null ? null : placed(decodeHead(idOf(key), note, new Uint8Array(0)), revision);
}

// A record's place in listings is the revision that it was made with, so that they go by the order of claims.
function placed(head: Head, revision: number): Head {
  return head.order === null ? { ...head, order: revision } : head;
}
