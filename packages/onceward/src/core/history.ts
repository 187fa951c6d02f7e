// The run history: what one keyed request looks like afterwards, and how a store that keeps history is read.

import type { Page } from "./page.js";

/** How a run ended, or that it has not. */
export type RunOutcome =
  /** The operation is under way. */
  | "running"
  /** It ran, and its answer is recorded. */
  | "recorded"
  /** It ran and answered, but the answer was too large or streaming to keep (SPEC §5.4). */
  | "not_kept"
  /** A duplicate that got the recorded answer. */
  | "replayed"
  /** It did not start; the key is unused again (SPEC §4.5). */
  | "not_started"
  /** Refused by the layer; `code` says why. */
  | "refused"
  /** Nobody knows whether it took effect (SPEC §4.6). */
  | "unknown"
  /** The store was out of reach and the policy let it run unprotected. */
  | "bypassed"
  /** Watched only (`mode: observe`); `code` says what would have been done. */
  | "observed";

/** Marks of a run. `IDEMPOTENT_REQUEST` is on every duplicate and on no first run (SPEC §11). */
export type RunFlag =
  | "IDEMPOTENT_REQUEST"
  | "TAKEN_OVER"
  | "RECOVERED"
  | "WAITED"
  | "RECORDED_LATE"
  | "CLAIM_LOST"
  | "TRUNCATED"
  | "CLIENT_GONE";

/**
 * A thing that happened in a run, in the order of their ends. A duplicate's steps hold the step named
 * `IDEMPOTENT_REQUEST`. A step of the operation's own (SPEC §7.2) is named `step "…"`, with ` reused`, ` failed` or
 * ` unrecorded` behind it where it was not run again, threw, or could not be recorded.
 */
export interface RunStep {
  readonly name: string;
  /** When it began, in milliseconds since the run did. */
  readonly atMs: number;
  /** How long it took, in milliseconds, where that is known. */
  readonly durationMs?: number;
}

/** One keyed request. */
export interface Run {
  /** Sorts by time (UUIDv7). */
  readonly id: string;
  /** Arrival, epoch milliseconds of the node that served it. */
  readonly at: number;
  /** Id of the record it met, or null where it met none. */
  readonly recordId: string | null;
  readonly account: string;
  readonly key: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** The route whose policy it was under. */
  readonly route: string;
  /** What it was answered with, or null while it runs. */
  readonly status: number | null;
  readonly durationMs: number | null;
  readonly outcome: RunOutcome;
  /** The problem's code where the layer answered itself (SPEC §6), else null. */
  readonly code: string | null;
  readonly steps: readonly RunStep[];
  readonly flags: readonly RunFlag[];
  /** Id of the run whose answer it replayed. */
  readonly replayOf: string | null;
}

/** Filters of the history; each that is given must hold. */
export interface RunQuery {
  readonly account?: string;
  readonly key?: string;
  readonly route?: string;
  readonly outcome?: RunOutcome;
  readonly flag?: RunFlag;
  readonly recordId?: string;
  /** Epoch milliseconds, inclusive. */
  readonly from?: number;
  /** Epoch milliseconds, exclusive. */
  readonly to?: number;
  readonly limit: number;
  readonly cursor?: string;
}

/** One change that an operator made (SPEC §4.14, §9.5). */
export interface AuditEntry {
  readonly id: string;
  readonly at: number;
  /** Who did it, as far as the admin interface or the command line knows. */
  readonly who: string;
  readonly action: "settle" | "release";
  readonly recordId: string;
  readonly account: string;
  readonly key: string;
  readonly reason: string;
  /** What was done, such as `settled as never happened`. */
  readonly detail: string;
}

/** History as a store may keep it. Nothing of the promise rests on it. */
export interface HistoryStore {
  /** Writes runs, replacing those of the same id, in one batch. */
  putRuns(runs: readonly Run[]): Promise<void>;
  /** Newest first. */
  listRuns(query: RunQuery): Promise<Page<Run>>;
  getRun(id: string): Promise<Run | null>;
  /** Sets outcome and status of a run that ended otherwise than it was written, such as one found interrupted. */
  amendRun(id: string, change: { readonly outcome: RunOutcome; readonly status: number | null }): Promise<void>;
  /** Deletes the oldest runs beyond `keep`, at most `limit` of them, and answers how many. The audit trail is kept. */
  trimRuns(keep: number, limit: number): Promise<number>;
  putAudit(entry: AuditEntry): Promise<void>;
  /** Newest first. */
  listAudit(query: { readonly limit: number; readonly cursor?: string }): Promise<Page<AuditEntry>>;
}
