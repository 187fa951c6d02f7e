// What the engine tells of its work, for history, metrics and logs.

import type { RequestErrorCode } from "./errors.js";
import type { RecordId } from "./record.js";

/** One thing that happened to one request (`runId`) or record. Events carry no key, credential or body. */
export type EngineEvent = {
  readonly runId: string;
  readonly recordId: RecordId;
} /** The request owns the key and runs. */ & (
  | { readonly type: "claimed" }
  /** It took over a record whose owner was interrupted. */
  | { readonly type: "taken-over"; readonly from: string }
  /** A duplicate gets the recorded answer of run `of`. */
  | { readonly type: "replayed"; readonly of: string }
  /** A duplicate waits for the running operation. */
  | { readonly type: "waiting" }
  | { readonly type: "refused"; readonly code: RequestErrorCode }
  /** The answer is recorded; `late` after its client already had it (SPEC §4.11). */
  | { readonly type: "recorded"; readonly late: boolean }
  /** The store was out of reach when the answer was to be recorded; it is tried again. */
  | { readonly type: "recording-deferred" }
  /**
   * What was put off will not be recorded: too much waited, or it was tried for too long (then the lease settles what
   * becomes of the record), or it turned out that the transaction it was part of was rolled back.
   */
  | { readonly type: "recording-abandoned" }
  /** A step of the operation (SPEC §7.2) ended, after so many milliseconds; `reused` was not run again. */
  | {
      readonly type: "step";
      readonly name: string;
      readonly outcome: "recorded" | "reused" | "failed" | "unrecorded";
      readonly durationMs: number;
    }
  /** A transaction of the operation (SPEC §7.1) ended. */
  | { readonly type: "transaction"; readonly outcome: "committed" | "lost" | "failed" | "unknown" }
  /** The key was given back unused. */
  | { readonly type: "released" }
  /** Run `of` was interrupted; the record is unknown now. */
  | { readonly type: "interrupted"; readonly of: string; readonly status: number }
  /** Asked what became of run `of`, somebody knew its answer. */
  | { readonly type: "recovered"; readonly of: string; readonly status: number }
  /** Asking what became of an interrupted operation failed, so it counts as unknown. */
  | { readonly type: "ask-failed"; readonly error: unknown }
  /** Somebody else owns the record now; what this run answers is not recorded. */
  | { readonly type: "claim-lost" }
  /** A claim took effect after its caller had given up, and was undone (SPEC §4.12). */
  | { readonly type: "late-claim-released" }
  /** A store operation failed or took too long. */
  | { readonly type: "store-failed"; readonly operation: string; readonly error: unknown }
);
