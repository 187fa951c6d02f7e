// What the calling side and the side that owns the database say to each other; plain data, so that it crosses threads.

import type { ErrorCode } from "../../core/errors.js";
import type { AuditEntry, Run, RunOutcome, RunQuery } from "../../core/history.js";
import type { RecordState, StoredRecord } from "../../core/record.js";
import type { Slice } from "../sql/slices.js";
import { stateOf } from "../sql/states.js";

/** A {@link StoredRecord} without names, which would be copied with each one. See {@link recordOf}. */
export type RecordRow = readonly [
  id: string,
  state: number,
  fence: string,
  fingerprint: string | null,
  account: string,
  key: string,
  operation: string,
  runId: string,
  createdAt: number,
  expiresAt: number,
  leaseUntil: number,
  endedAt: number | null,
  status: number | null,
  payload: Uint8Array | null,
];

export type ClaimArgs = [
  id: string,
  fence: string,
  fingerprint: string | null,
  ageMs: number,
  forMs: number | null,
  untilAt: number | null,
  leaseMs: number,
  account: string,
  key: string,
  operation: string,
  runId: string,
];

/** `null`: created just as asked for. */
export type ClaimValue =
  | null
  | readonly [outcome: "claimed" | "found", row: RecordRow]
  | readonly [outcome: "full", limit: "account" | "store"];

export interface ListArgs {
  readonly state: RecordState | null;
  readonly account: string | null;
  readonly key: string | null;
  readonly limit: number;
  readonly cursor: string | null;
}

/** Every operation: its arguments, and the value it answers. */
export interface Operations {
  claim: { args: ClaimArgs; value: ClaimValue };
  renew: { args: [id: string, fence: string, leaseMs: number]; value: boolean };
  complete: { args: [id: string, fence: string, status: number, payload: Uint8Array]; value: boolean };
  interrupt: { args: [id: string, fence: string, status: number, byOwner: boolean]; value: boolean };
  takeOver: {
    args: [id: string, fence: string, nextFence: string, leaseMs: number, runId: string | null];
    value: boolean;
  };
  settle: { args: [id: string, fence: string, nextFence: string, status: number, payload: Uint8Array]; value: boolean };
  release: { args: [id: string, fence: string]; value: boolean };
  appendStep: { args: [id: string, fence: string, entry: Uint8Array]; value: boolean };
  /** The whole log, as core/step-log.ts writes it. */
  readSteps: { args: [id: string, fence: string]; value: Uint8Array | null };
  find: { args: [id: string]; value: RecordRow | null };
  list: { args: [query: ListArgs]; value: Slice<RecordRow> };
  purge: { args: [limit: number]; value: number };
  getShared: { args: [name: string]; value: Uint8Array | null };
  setShared: { args: [name: string, value: Uint8Array, expected: Uint8Array | null]; value: boolean };
  putRuns: { args: [runs: readonly Run[]]; value: null };
  listRuns: { args: [query: RunQuery]; value: Slice<Run> };
  getRun: { args: [id: string]; value: Run | null };
  amendRun: { args: [id: string, outcome: RunOutcome, status: number | null]; value: null };
  trimRuns: { args: [keep: number, limit: number]; value: number };
  putAudit: { args: [entry: AuditEntry]; value: null };
  listAudit: { args: [limit: number, cursor: string | null]; value: Slice<AuditEntry> };
}

export type OperationName = keyof Operations;

/** One operation with its arguments. */
export type Call = { [K in OperationName]: readonly [K, ...Operations[K]["args"]] }[OperationName];

/** Those that only read; a batch of them takes no write lock. */
export const READING: ReadonlySet<OperationName> = new Set<OperationName>([
  "readSteps",
  "find",
  "list",
  "getShared",
  "listRuns",
  "getRun",
  "listAudit",
]);

/** An error as it crosses threads. */
export interface Fault {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Operations that run together, in one transaction. */
export interface Batch {
  readonly calls: readonly Call[];
  /** The instant to judge by; null for the clock of the side that owns the database, which is the rule. */
  readonly now: number | null;
}

/** What became of a batch: a value for each call, in order, or an error. */
export interface BatchReply {
  /** The instant that each call was judged by. */
  readonly instants: readonly number[];
  readonly values: readonly unknown[];
  /** By the index of the call; its value is then meaningless. */
  readonly faults: ReadonlyArray<readonly [index: number, fault: Fault]>;
}

export function recordOf(row: RecordRow): StoredRecord {
  return {
    id: row[0],
    state: stateOf(row[1]),
    fence: row[2],
    fingerprint: row[3],
    account: row[4],
    key: row[5],
    operation: row[6],
    runId: row[7],
    createdAt: row[8],
    expiresAt: row[9],
    leaseUntil: row[10],
    endedAt: row[11],
    status: row[12],
    payload: row[13],
  };
}
