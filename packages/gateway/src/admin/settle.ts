// Settling an unknown outcome and releasing a key by hand (SPEC §4.14), for the admin API and the command line alike.

import { randomBytes } from "node:crypto";
import { type AuditEntry, isLapsed, type RunOutcome, type Store, type StoredRecord } from "onceward";
import { encodeResponse, type HttpResponse } from "onceward/http";
import { responseFault } from "./response-fault.js";
import { timeOrderedId } from "./time-ordered-id.js";

/** What an operator found out about an operation whose outcome is unknown. */
export type Settlement =
  /** It took no effect: the key is unused again. */
  | { readonly outcome: "never-happened" }
  /** It took effect, and this is what it answered or should have: every duplicate gets it. */
  | { readonly outcome: "done"; readonly response: HttpResponse };

/** What became of a change. Where it is not `changed`, the record is as it was. */
export type ChangeResult =
  | {
      readonly kind: "changed";
      readonly entry: AuditEntry;
      /** Whether the store keeps an audit trail; where it does not, the caller must log the entry. */
      readonly audited: boolean;
      /** Whether the run in the history says so too; nothing rests on it. */
      readonly amended: boolean;
    }
  /** No such record, or it has expired. */
  | { readonly kind: "missing"; readonly detail: string }
  /** The record's state does not allow it, or somebody else was quicker. */
  | { readonly kind: "conflict"; readonly detail: string }
  /** The reason or the response is not usable. */
  | { readonly kind: "invalid"; readonly detail: string };

/** How long a record that is about to be freed is held, so that its owner cannot come back in between. */
const HOLD_MS = 5_000;
/** In characters; enough for a sentence and a ticket's address. */
const MAX_REASON_LENGTH = 2_000;

/**
 * Settles a record that is unknown, or running with a lapsed lease. An owner that comes back afterwards finds its
 * fence stale; one that came back before makes this a conflict.
 *
 * @param who Who decided, for the audit trail: `local`, the name of a token or of the user of the command line.
 * @throws IdempotencyError `store_unavailable`: whether it took effect is then to be looked up.
 */
export async function settleRecord(
  store: Store,
  id: string,
  decision: Settlement,
  who: string,
  reason: string,
): Promise<ChangeResult> {
  const invalid = reasonFault(reason) ?? (decision.outcome === "done" ? responseFault(decision.response) : null);
  if (invalid !== null) return { kind: "invalid", detail: invalid };
  const found = await store.find(id);
  if (found === null) return MISSING;
  const { record, now } = found;
  if (record.state === "done")
    return conflict(`It is done already: ${describeDone(record)}. A recorded answer is never changed.`);
  if (!isLapsed(record, now)) {
    return conflict(
      `Its owner is alive (the lease runs for another ${record.leaseUntil - now} ms), so the outcome is not unknown: wait for it, or release the key with force.`,
    );
  }
  const detail =
    decision.outcome === "done"
      ? `settled as done with status ${decision.response.status}`
      : "settled as never happened";
  const apply =
    decision.outcome === "done" ? () => recordAnswer(store, record, decision.response) : () => free(store, record);
  const change =
    decision.outcome === "done"
      ? { outcome: "recorded" as const, status: decision.response.status }
      : { outcome: "not_started" as const };
  return carryOut(store, record, { action: "settle", who, reason, detail }, apply, change);
}

/**
 * Frees a key without a word on what became of its operation. An unknown record is released as it is; a running one
 * only with force, since its operation may still be under way and a retry would start it a second time.
 *
 * @throws IdempotencyError `store_unavailable`: whether it took effect is then to be looked up.
 */
export async function releaseRecord(
  store: Store,
  id: string,
  options: { readonly force: boolean },
  who: string,
  reason: string,
): Promise<ChangeResult> {
  const invalid = reasonFault(reason);
  if (invalid !== null) return { kind: "invalid", detail: invalid };
  const found = await store.find(id);
  if (found === null) return MISSING;
  const { record, now } = found;
  if (record.state === "done")
    return conflict(`It is done: ${describeDone(record)}. A recorded answer is kept until the key expires.`);
  const live = !isLapsed(record, now);
  if (!options.force && (record.state === "running" || live)) {
    const owner = live
      ? "its owner is alive"
      : "its owner has not been heard of since its lease lapsed, yet it may come back";
    // A live owner's outcome is its own to say: settling it is refused.
    const otherwise = live ? "wait for it" : "settle it";
    return conflict(
      `It is running (${owner}). Releasing it lets a retry start the operation a second time: ${otherwise}, or release it with force.`,
    );
  }
  const detail = options.force ? `released with force while ${record.state}` : `released while ${record.state}`;
  // With force the fence of whoever owns it is enough; without, an owner that has come back must keep its claim.
  const apply = options.force ? () => store.release(record.id, record.fence) : () => free(store, record);
  return carryOut(store, record, { action: "release", who, reason, detail }, apply, { outcome: "unknown" });
}

const MISSING: ChangeResult = { kind: "missing", detail: "There is no such record, or its retention is over." };

function conflict(detail: string): ChangeResult {
  return { kind: "conflict", detail };
}

function reasonFault(reason: string): string | null {
  if (reason.trim() === "") return "A reason is required: it is kept in the audit trail.";
  if (reason.length > MAX_REASON_LENGTH)
    return `The reason is too long: ${reason.length} characters, at most ${MAX_REASON_LENGTH}.`;
  return null;
}

function recordAnswer(store: Store, record: StoredRecord, response: HttpResponse): Promise<boolean> {
  const answer = { status: response.status, payload: encodeResponse(response) };
  return store.settle(record.id, record.fence, { fence: newFence(), answer });
}

/**
 * Deletes the record unless its owner has come back. `release` alone goes by the fence, which a returning owner still
 * holds, so the record is taken over first: that is refused where the lease is live again, and changes the fence.
 */
async function free(store: Store, record: StoredRecord): Promise<boolean> {
  const fence = newFence();
  if (!(await store.takeOver(record.id, record.fence, { fence, leaseMs: HOLD_MS }))) return false;
  return store.release(record.id, fence);
}

/**
 * The trail is written before the change, so that no change is missing from it whatever dies in between. Where the
 * change then has no effect, a second entry says so.
 */
async function carryOut(
  store: Store,
  record: StoredRecord,
  act: Pick<AuditEntry, "action" | "who" | "reason" | "detail">,
  apply: () => Promise<boolean>,
  change: { readonly outcome: RunOutcome; readonly status?: number },
): Promise<ChangeResult> {
  const at = Date.now();
  const entry = { id: timeOrderedId(at), at, recordId: record.id, account: record.account, key: record.key, ...act };
  await store.history?.putAudit(entry);
  if (!(await apply())) {
    const detail = await whatHappened(store, record);
    const later = Date.now();
    await store.history?.putAudit({
      ...entry,
      id: timeOrderedId(later),
      at: later,
      detail: `not ${act.detail}: ${detail}`,
    });
    return conflict(detail);
  }
  return {
    kind: "changed",
    entry,
    audited: store.history !== undefined,
    amended: await amend(store, record.runId, change),
  };
}

/** Why a change that was possible a moment ago had no effect. */
async function whatHappened(store: Store, before: StoredRecord): Promise<string> {
  const found = await store.find(before.id);
  if (found === null) return "The record is gone: somebody else freed the key, or its retention is over.";
  const { record, now } = found;
  if (record.state === "done") return `In the meantime it was done: ${describeDone(record)}. Nothing was changed.`;
  if (record.fence !== before.fence)
    return "In the meantime somebody else took it over. Nothing was changed; look at it again.";
  if (!isLapsed(record, now))
    return "In the meantime its owner came back and is running. Nothing was changed; wait for it, or release it with force.";
  return "It changed in the meantime. Nothing was changed; look at it again.";
}

/** Runs keep the status they were answered with, unless the change gives one. */
async function amend(
  store: Store,
  runId: string,
  change: { readonly outcome: RunOutcome; readonly status?: number },
): Promise<boolean> {
  try {
    const run = await store.history?.getRun(runId);
    if (run === null || run === undefined) return false;
    await store.history?.amendRun(runId, { outcome: change.outcome, status: change.status ?? run.status });
    return true;
  } catch {
    // The change itself has happened; the history is only a picture of it.
    return false;
  }
}

function describeDone(record: StoredRecord): string {
  return `status ${record.status}, recorded ${record.endedAt === null ? "" : new Date(record.endedAt).toISOString()}`.trimEnd();
}

function newFence(): string {
  return randomBytes(16).toString("hex");
}
