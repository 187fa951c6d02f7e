// Rows of records as texts, and the records they stand for.

import type { StoredRecord } from "../../core/record.js";
import { stateOf } from "../sql/states.js";
import type { Row } from "./database.js";
import { readText } from "./text.js";

/** SQL: the columns of a record `r` but for its id, as {@link readRecord} reads them; the payload in hexadecimal follows. */
export const RECORD_COLUMNS = `r.state::text, encode(r.fence, 'hex'), r.fingerprint, r.account, r.key, r.operation, r.run_id,
  r.created_at::text, r.expires_at::text, r.lease_until::text, r.ended_at::text, r.status::text`;

/** Bytes of answers that one statement reads, but for the last one; the others are asked for again. */
export const MAX_FOUND_BYTES: number = 8 * 1024 * 1024;

/** SQL: the bytes of the answers before that of record `r`, asked by `i`. */
export const BYTES_BEFORE =
  "coalesce(sum(octet_length(r.payload)) OVER (ORDER BY i.ord ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)";

export function readRecord(id: string, row: Row): StoredRecord {
  const [state, fence, fingerprint, account, key, operation, runId, created, expires, lease, ended, status, payload] =
    row;
  return {
    id,
    state: stateOf(Number(state)),
    fence: textOf(fence),
    fingerprint: fingerprint === null || fingerprint === undefined ? null : readText(fingerprint),
    account: readText(textOf(account)),
    key: readText(textOf(key)),
    operation: readText(textOf(operation)),
    runId: readText(textOf(runId)),
    createdAt: Number(created),
    expiresAt: Number(expires),
    leaseUntil: Number(lease),
    endedAt: ended === null ? null : Number(ended),
    status: status === null ? null : Number(status),
    payload: payload === null || payload === undefined ? null : bytesOf(payload),
  };
}

export function textOf(column: string | null | undefined): string {
  if (typeof column === "string") return column;
  throw new TypeError("A text of the database is missing.");
}

/** Bytes in memory of their own, so that nobody changes another's. */
export function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}
