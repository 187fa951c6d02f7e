// Records as the admin API shows them: what an operator needs, and nothing that belongs to the account.

import { type Found, isIdempotencyError, isLapsed, type StoredRecord } from "onceward";
import { decodeResponse } from "onceward/http";
import type { RecordDetail, RecordedAnswer, RecordItem } from "../contract.js";

/** Without the fence, which is what a record is changed with, and the fingerprint (SPEC §5.6). */
export function recordItem(record: StoredRecord): RecordItem {
  const { id, state, account, key, operation, runId, createdAt, expiresAt, leaseUntil, endedAt, status } = record;
  const lease = leaseUntil === 0 ? null : leaseUntil;
  return { id, state, account, key, operation, runId, createdAt, expiresAt, leaseUntil: lease, endedAt, status };
}

export function recordDetail({ record, now }: Found): RecordDetail {
  return {
    ...recordItem(record),
    now,
    lapsed: record.state === "running" && isLapsed(record, now),
    answer: recordedAnswer(record),
  };
}

function recordedAnswer({ status, payload }: StoredRecord): RecordedAnswer | null {
  if (status === null || payload === null) return null;
  try {
    const { headers, body } = decodeResponse(status, payload);
    return {
      readable: true,
      status,
      headerNames: headers.map(([name]) => name),
      bodyBytes: body?.length ?? null,
    };
  } catch (error) {
    if (!isIdempotencyError(error)) throw error;
    return { readable: false, detail: error.message };
  }
}
