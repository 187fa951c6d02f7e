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

/** The record that a claim made at `now`; what the database wrote, so that it need not be sent back. */
export function claimedRecord(request: ClaimRequest, now: number): StoredRecord {
  const { id, fence, fingerprint, ageMs, retention, leaseMs, labels } = request;
  const { account, key, operation, runId } = labels;
  const createdAt = Math.round(now - Math.max(0, ageMs));
  return {
    ...{ id, state: "running", fence, fingerprint, account, key, operation, runId, createdAt },
    expiresAt: Math.round("untilMs" in retention ? retention.untilMs : createdAt + retention.forMs),
    leaseUntil: now + Math.round(leaseMs),
    ...{ endedAt: null, status: null, payload: null },
  };
}
