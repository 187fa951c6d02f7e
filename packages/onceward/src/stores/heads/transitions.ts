// What each operation of the Store contract makes of a head: pure, so that a store only reads, asks here, and compares and sets.

import { type Answer, type Fence, isExpired, isLapsed, type StoredRecord } from "../../core/record.js";
import { encodeEntry } from "../../core/step-log.js";
import type { ClaimRequest, Store } from "../../core/store.js";
import { type Head, type Moment, NO_CONTENT } from "./head.js";

/**
 * What is to be done, and what is to be answered once that is done. Where somebody else changed the head meanwhile, the
 * operation is asked for anew with what is there then; where the head was remembered and not read, `unchanged` says
 * nothing until it was read.
 */
export interface Move<Answered> {
  readonly answer: Answered;
  readonly next: Head | "delete" | "unchanged";
}

/** What a claim met; `new`: nothing that counts, so that limits on records are to be asked first. */
export type ClaimMove =
  | { readonly met: "new" | "own"; readonly next: Head }
  | { readonly met: "other"; readonly next: "unchanged"; readonly head: Head };

type Next<Operation extends "takeOver" | "settle"> = Parameters<Store[Operation]>[2];

const REFUSED: Move<boolean> = { answer: false, next: "unchanged" };
const ALREADY: Move<boolean> = { answer: true, next: "unchanged" };

export function claim(head: Head | null, moment: Moment, request: ClaimRequest): ClaimMove {
  const found = live(head, moment);
  if (found === null) return { met: "new", next: newHead(moment, request) };
  const { record } = found;
  if (record.fence !== request.fence || record.state !== "running") {
    return { met: "other", next: "unchanged", head: found };
  }
  return { met: "own", next: changed(found, { leaseUntil: leaseFrom(moment, request.leaseMs) }) };
}

export function renew(head: Head | null, moment: Moment, fence: Fence, leaseMs: number): Move<boolean> {
  const found = unfinished(head, moment, fence);
  return found === null ? REFUSED : wrote(changed(found, { leaseUntil: leaseFrom(moment, leaseMs) }));
}

export function complete(head: Head | null, moment: Moment, fence: Fence, answer: Answer): Move<boolean> {
  const found = owned(head, moment, fence);
  if (found === null) return REFUSED;
  return found.record.state === "done" ? ALREADY : wrote(finished(found, moment, answer));
}

export function interrupt(
  head: Head | null,
  moment: Moment,
  fence: Fence,
  status: number,
  by: "owner" | "finder",
): Move<boolean> {
  const found = unfinished(head, moment, fence);
  if (found === null) return REFUSED;
  const { record } = found;
  const lease = by === "owner" ? { leaseUntil: 0 } : {};
  if (record.state === "unknown") {
    return by === "owner" && record.leaseUntil !== 0 ? wrote(changed(found, lease)) : ALREADY;
  }
  if (by === "finder" && !isLapsed(record, moment.judgedAt)) return REFUSED;
  return wrote(changed(found, { state: "unknown", status, endedAt: moment.now, ...lease }));
}

export function takeOver(head: Head | null, moment: Moment, fence: Fence, next: Next<"takeOver">): Move<boolean> {
  const found = live(head, moment);
  if (found === null) return REFUSED;
  const { record } = found;
  const repeated = record.fence === next.fence && record.state === "running";
  const free = record.fence === fence && record.state !== "done" && isLapsed(record, moment.judgedAt);
  if (!repeated && !free) return REFUSED;
  return wrote(
    changed(found, {
      state: "running",
      fence: next.fence,
      runId: next.runId ?? record.runId,
      leaseUntil: leaseFrom(moment, next.leaseMs),
      endedAt: null,
      status: null,
    }),
  );
}

export function settle(head: Head | null, moment: Moment, fence: Fence, next: Next<"settle">): Move<boolean> {
  const found = live(head, moment);
  if (found === null) return REFUSED;
  const { record } = found;
  if (record.state === "done") return record.fence === next.fence ? ALREADY : REFUSED;
  const alive = record.state === "running" && !isLapsed(record, moment.judgedAt);
  if (record.fence !== fence || alive) return REFUSED;
  return wrote(finished(changed(found, { fence: next.fence }), moment, next.answer));
}

export function release(head: Head | null, moment: Moment, fence: Fence): Move<boolean> {
  return unfinished(head, moment, fence) === null ? REFUSED : { answer: true, next: "delete" };
}

export function appendStep(head: Head | null, moment: Moment, fence: Fence, entry: Uint8Array): Move<boolean> {
  const found = unfinished(head, moment, fence);
  if (found === null) return REFUSED;
  const { spilled, inline } = found.content;
  const encoded = encodeEntry(entry);
  const log = new Uint8Array(inline.byteLength + encoded.byteLength);
  log.set(inline);
  log.set(encoded, inline.byteLength);
  return wrote({ ...found, content: { spilled, inline: log } });
}

/** The head whose step log a holder of the fence may read; null where the fence no longer holds. */
export function stepsOf(head: Head | null, moment: Moment, fence: Fence): Head | null {
  return unfinished(head, moment, fence);
}

/** The head of a record that has not expired. */
export function live(head: Head | null, moment: Moment): Head | null {
  return head === null || isExpired(head.record, moment.judgedAt) ? null : head;
}

function owned(head: Head | null, moment: Moment, fence: Fence): Head | null {
  const found = live(head, moment);
  return found?.record.fence === fence ? found : null;
}

function unfinished(head: Head | null, moment: Moment, fence: Fence): Head | null {
  const found = owned(head, moment, fence);
  return found?.record.state === "done" ? null : found;
}

function newHead(moment: Moment, request: ClaimRequest): Head {
  const { id, fence, fingerprint, retention, labels } = request;
  const { account, key, operation, runId } = labels;
  const createdAt = Math.round(moment.now - Math.max(0, request.ageMs));
  const record: StoredRecord = {
    id,
    state: "running",
    fence,
    fingerprint,
    createdAt,
    expiresAt: Math.round("untilMs" in retention ? retention.untilMs : createdAt + retention.forMs),
    leaseUntil: leaseFrom(moment, request.leaseMs),
    endedAt: null,
    status: null,
    payload: null,
    account,
    key,
    operation,
    runId,
  };
  return { record, content: NO_CONTENT, order: null };
}

function finished(head: Head, moment: Moment, answer: Answer): Head {
  const { status, payload } = answer;
  return {
    ...changed(head, { state: "done", leaseUntil: 0, endedAt: moment.now, status }),
    content: { spilled: [], inline: payload },
  };
}

function changed(head: Head, change: Partial<StoredRecord>): Head {
  return { ...head, record: { ...head.record, ...change } };
}

function wrote(next: Head): Move<boolean> {
  return { answer: true, next };
}

function leaseFrom(moment: Moment, leaseMs: number): number {
  return moment.now + Math.round(leaseMs);
}
