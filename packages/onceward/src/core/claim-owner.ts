// What steps and transactions know of the claim that they are of, and what they may do with it.

import type { Clock } from "./clock.js";
import { IdempotencyError } from "./errors.js";
import type { EngineEvent } from "./events.js";
import type { Fence, RecordId } from "./record.js";
import type { StepSecret } from "./step-secret.js";
import type { Store } from "./store.js";
import type { StoreCalls } from "./store-calls.js";

/** Bounds on the step log of one record (SPEC §9.3). */
export interface StepLimits {
  readonly maxSteps: number;
  readonly maxStepLogBytes: number;
}

/** What all claims of an engine share. */
export interface ClaimContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly calls: StoreCalls;
  readonly emit: (event: EngineEvent) => void;
  readonly stepSecret: StepSecret;
  readonly stepLimits: StepLimits;
  /** Wakes duplicates of this node that wait for the record. */
  readonly changed: (id: RecordId) => void;
}

export interface ClaimFacts {
  readonly id: RecordId;
  readonly fence: Fence;
  readonly leaseMs: number;
  readonly runId: string;
  /** Why the record was taken over from an interrupted run, or null: this run made it. */
  readonly tookOver: "rerun" | "recover" | null;
  /** Whether the policy holds interrupted operations, so that no take-over can produce another answer. */
  readonly held: boolean;
}

/** A claim, as its steps and its transactions see it. */
export interface ClaimOwner {
  readonly facts: ClaimFacts;
  readonly context: ClaimContext;
  /** Aborted when the claim is lost. */
  readonly signal: AbortSignal;
  /** Throws where the claim has ended, is lost or was broken off; `what` begins the sentence. */
  assertUsable(what: string): void;
  /** The store refused the fence: answers what to reject with. */
  refused(what: string): IdempotencyError;
  /** Nothing more of the run can be recorded, its answer neither. */
  breakOff(error: unknown): void;
  /** No ending may follow, and no renewal. */
  end(): void;
  /** Somebody else owns the record. */
  lose(): void;
  /** Renews the lease at once. */
  renew(): void;
}

export function misused(message: string): IdempotencyError {
  return new IdempotencyError("claim_misused", message);
}

export function tooLate(what: string): IdempotencyError {
  return misused(`${what} was not waited for: the operation has been answered by now. Await it before answering.`);
}

export function lost(what: string): IdempotencyError {
  const reason = "somebody else has taken the key over, or an operator has settled it";
  return new IdempotencyError("claim_lost", `${what} can be recorded no more: ${reason}. End the operation.`);
}
