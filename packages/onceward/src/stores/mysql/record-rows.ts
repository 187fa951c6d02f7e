// A record as a row: which columns are read, and what they mean.

import type { StoredRecord } from "../../core/record.js";
import { DONE, stateOf } from "../sql/states.js";
import type { Row } from "./client.js";
import { readBytes, readHex, readInteger, readIntegerOrNull, readText, readTextOrNull } from "./statements.js";

/** A record without its payload, as listings show it. In the order in which {@link readRecord} reads them. */
export const LISTED_COLUMNS = `id, state, fence, fingerprint, account, \`key\`, operation, run_id, created_at, expires_at,
  lease_until, ended_at, status`;
const LISTED = 13;

/** A record and, behind it, the clock it is judged by, and its place. */
export function foundColumns(clock: string): string {
  return `${LISTED_COLUMNS}, payload, ${clock}, made_at`;
}

/** A record as it was read with {@link foundColumns}, expired or not. */
export interface RowFound {
  readonly record: StoredRecord;
  readonly now: number;
  readonly madeAtUs: number;
}

export function readFound(row: Row): RowFound {
  const record = readRecord(row);
  const payload = row[LISTED];
  const recorded = record.state === "done" && payload !== null;
  return {
    // Memory of its own, which a caller may change, and no part of the client's buffer, which would be kept with it.
    record: recorded ? { ...record, payload: new Uint8Array(readBytes(payload)) } : record,
    now: readInteger(row[LISTED + 1]),
    madeAtUs: readInteger(row[LISTED + 2]),
  };
}

export function readRecord(row: Row): StoredRecord {
  return {
    id: readHex(row[0]),
    state: stateOf(readInteger(row[1])),
    fence: readHex(row[2]),
    fingerprint: readTextOrNull(row[3]),
    account: readText(row[4]),
    key: readText(row[5]),
    operation: readText(row[6]),
    runId: readText(row[7]),
    createdAt: readInteger(row[8]),
    expiresAt: readInteger(row[9]),
    leaseUntil: readInteger(row[10]),
    endedAt: readIntegerOrNull(row[11]),
    status: readIntegerOrNull(row[12]),
    payload: null,
  };
}

/** The condition that a row has not expired (SPEC §4.10). */
export function live(clock: string): string {
  return `(expires_at > ${clock} OR lease_until > ${clock})`;
}

/** The condition that a row has expired. */
export function expired(clock: string): string {
  return `(expires_at <= ${clock} AND lease_until <= ${clock})`;
}

/**
 * How rows are reached whose ids are given. Without it a small table, or one that the optimizer takes for small, is read
 * as a whole, and by whoever writes locked as a whole.
 */
export const BY_ID: string = "FORCE INDEX (by_id)";

/** Running or unknown. */
export const OPEN: string = `state <> ${DONE}`;
