// A record as its one value in Redis has it: head, labels, and the recorded answer or the step log.

import { IdempotencyError } from "../../core/errors.js";
import type { RecordId, RecordState, StoredRecord } from "../../core/record.js";
import type { ClaimRequest } from "../../core/store.js";
import { ByteReader, type ByteWriter } from "./bytes.js";

/** The first byte of every value. A reader refuses a higher one. */
const RECORD_FORMAT = 1;

/** The state's byte. Never to be renumbered. */
const STATES: readonly RecordState[] = ["running", "done", "unknown"];

export function stateByte(state: RecordState): number {
  return STATES.indexOf(state);
}

/** The labels behind the head; scripts find the account in the first of them and the run's id in the second. */
export function writeLabels(writer: ByteWriter, { labels, fingerprint }: ClaimRequest): void {
  writer.text(labels.account).text(labels.runId).text(labels.key).text(labels.operation).text(fingerprint);
}

/**
 * A record from its value, or from its head and labels alone (then without a payload).
 *
 * @throws IdempotencyError `store_corrupt` where it is no record, `store_schema_newer` where a newer version wrote it.
 */
export function readRecord(id: RecordId, value: Buffer): StoredRecord {
  const format = value[0] ?? 0;
  if (isNewer(format)) throw newerRecord(id, format);
  try {
    return decode(id, new ByteReader(value), value);
  } catch (cause) {
    throw corruptRecord(id, cause instanceof Error ? cause.message : "", cause);
  }
}

/** Whether a first byte is one of a later version; from 32 on it is a text of somebody else's. */
export function isNewer(format: number): boolean {
  return format > RECORD_FORMAT && format < 32;
}

export function corruptRecord(id: RecordId, reason: string, cause?: unknown): IdempotencyError {
  const message = `What Redis holds for record ${id} is no record of Onceward (${reason}).`;
  return new IdempotencyError("store_corrupt", message, { cause, details: { recordId: id } });
}

export function newerRecord(id: RecordId, format: number): IdempotencyError {
  return new IdempotencyError(
    "store_schema_newer",
    `Record ${id} was written by a newer version of Onceward (format ${format}; this one knows up to ${RECORD_FORMAT}). Upgrade this node.`,
    { details: { found: format, known: RECORD_FORMAT } },
  );
}

function decode(id: RecordId, reader: ByteReader, value: Buffer): StoredRecord {
  if (reader.byte() !== RECORD_FORMAT) throw new TypeError("another format");
  const state = STATES[reader.byte()];
  if (state === undefined) throw new TypeError("no state");
  const fence = reader.hex(16);
  const leaseUntil = reader.double();
  const expiresAt = reader.double();
  const createdAt = reader.double();
  const endedAt = reader.double();
  const status = reader.uint16();
  const bodyAt = reader.uint32();
  // The index in the batch, and the batch: they are the scripts'.
  reader.byte();
  reader.block();
  const [account, runId, key, operation] = [label(reader), label(reader), label(reader), label(reader)];
  const fingerprint = reader.text();
  return {
    ...{ id, state, fence, fingerprint, account, key, operation, runId, createdAt, expiresAt, leaseUntil },
    endedAt: state === "running" ? null : endedAt,
    status: state === "running" ? null : status,
    // A copy, since the caller may change it and the reply it lies in is larger.
    payload: state === "done" ? new Uint8Array(value.subarray(bodyAt)) : null,
  };
}

function label(reader: ByteReader): string {
  const text = reader.text();
  if (text === null) throw new TypeError("no label");
  return text;
}
