// How a record's state and instants are kept in a table.

import type { RecordState, StoredRecord } from "../../core/record.js";
import type { ClaimRequest } from "../../core/store.js";

const STATES: readonly RecordState[] = ["running", "done", "unknown"];

/** A state as it is kept: an index of {@link STATES}. Never to be renumbered. */
export const RUNNING = 0;
export const DONE = 1;
export const UNKNOWN = 2;

export function stateNumber(state: RecordState): number {
  return STATES.indexOf(state);
}

export function stateOf(number: number): RecordState {
  const state = STATES[number];
  if (state === undefined) throw new TypeError(`A record's state is ${number}, which means nothing.`);
  return state;
}

/** The offsets of a claim's instants from the database's clock, in whole milliseconds. */
export interface ClaimTimes {
  /** How long before now the record was made. */
  readonly ageMs: number;
  /** How long it is kept from then on; null where `untilAt` says until when. */
  readonly forMs: number | null;
  readonly untilAt: number | null;
  readonly leaseMs: number;
}

export function claimTimes({ ageMs, retention, leaseMs }: ClaimRequest): ClaimTimes {
  return {
    ageMs: Math.round(Math.max(0, ageMs)),
    forMs: "forMs" in retention ? Math.round(retention.forMs) : null,
    untilAt: "untilMs" in retention ? Math.round(retention.untilMs) : null,
    leaseMs: Math.round(leaseMs),
  };
}

/** The record that a claim made at `now`; what the database wrote, so that it need not be sent back. */
export function claimedRecord(request: ClaimRequest, now: number): StoredRecord {
  const { id, fence, fingerprint, labels } = request;
  const { account, key, operation, runId } = labels;
  const { ageMs, forMs, untilAt, leaseMs } = claimTimes(request);
  const createdAt = now - ageMs;
  // Written out, since each claim makes one: spread from parts it costs microseconds.
  return {
    id,
    state: "running",
    fence,
    fingerprint,
    account,
    key,
    operation,
    runId,
    createdAt,
    expiresAt: untilAt ?? createdAt + (forMs ?? 0),
    leaseUntil: now + leaseMs,
    endedAt: null,
    status: null,
    payload: null,
  };
}
