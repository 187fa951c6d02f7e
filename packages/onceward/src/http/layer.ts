// What the HTTP layer is given and what it answers: the seam that the gateway and every adapter build on.

import type { Clock } from "../core/clock.js";
import type { RequestErrorCode } from "../core/errors.js";
import type { EngineEvent } from "../core/events.js";
import type { Run, RunFlag } from "../core/history.js";
import type { Policy, RecoverFunction } from "../core/policy.js";
import type { StepContext } from "../core/steps.js";
import type { Store } from "../core/store.js";
import type { Transactions } from "../core/transactions.js";
import type { HeaderList, HttpResponse } from "./message.js";

/** Who is calling, as an account resolver found it (SPEC §3). */
export type AccountReading =
  | {
      readonly kind: "account";
      /** Part of the scope; unique, stable over retries, never a raw credential. */
      readonly account: string;
      /** The same caller's names under replaced account keys, newest first; records made under them are still found. */
      readonly previous?: readonly string[];
      /** How people see it in the history; the account itself where left out. */
      readonly label?: string;
    }
  | {
      readonly kind: "refused";
      /** 401 where a credential failed verification (with `wwwAuthenticate`), 503 where it cannot be verified now, else 400. */
      readonly status: 400 | 401 | 503;
      /** What is wrong and which setting mends it. Never the credential. */
      readonly detail: string;
      readonly wwwAuthenticate?: string;
    };

/** A request as the layer sees it. */
export interface LayerRequest {
  /** The policy of the route that it matched. */
  readonly policy: Policy;
  /** The route's name in the history, such as `POST /v1/transfers`. */
  readonly route: string;
  readonly method: string;
  /** Normalised path (SPEC §5.8), without the query. */
  readonly path: string;
  /** The query as received, with its `?`; empty where there is none. */
  readonly query: string;
  readonly headers: HeaderList;
  readonly namespace: string;
  readonly environment: string;
  /** Called at most once, and only for a request with a readable key. */
  account(): Promise<AccountReading>;
  /**
   * Reads the body whole (SPEC §5.5), giving its bytes to `sink` as they come; called at most once. Where a framework
   * left only a parsed body it answers that. Rejects with `request_too_large`, or with whatever broke the upload off:
   * then nothing is claimed.
   */
  body(sink: (chunk: Uint8Array) => void): Promise<{ readonly parsed: unknown } | undefined>;
  /** SPEC S6: asked before a replay; answers a response to send instead of it, or null where the caller may have it. */
  authorizeReplay?(): Promise<HttpResponse | null>;
}

/** What to do with a request. */
export type Begin =
  /** Not keyed, or let through unprotected: run it as if the layer were not there. */
  | {
      readonly kind: "pass";
      /** Fields to add to its response, such as `Idempotency-Status: ignored`. */
      readonly headers: HeaderList;
      /** `mode: observe`: tell it what passes by. */
      readonly observation: Observation | null;
    }
  /** A replay or a refusal: send it, run nothing. */
  | {
      readonly kind: "answer";
      readonly response: HttpResponse;
      /** The problem's code where the layer refused; null for a replay, or for what `authorizeReplay` answered. */
      readonly code: RequestErrorCode | null;
    }
  /** This request owns the key: run the operation, then end the claim in exactly one of its ways. */
  | { readonly kind: "run"; readonly claim: HttpClaim };

/** The response before its body. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: HeaderList;
}

/** The owner's side of a record. Each ending answers what the client is to be sent. */
export interface HttpClaim {
  readonly account: string;
  readonly key: string;
  readonly runId: string;
  /** Whether an interrupted run came before this one, whose finished steps are not run again. */
  readonly tookOver: boolean;
  /** Aborted when the claim is lost to somebody else; what is done after it is not recorded. */
  readonly signal: AbortSignal;
  /**
   * Runs a part of the operation and records its result, which is JSON; where the operation was taken over, a part that
   * was finished answers its recorded result and is not run again (SPEC §7.2). Names are unique within a run, but for one
   * whose `run` threw. Rejects with what `run` threw, which records nothing, or with an IdempotencyError: `claim_lost`
   * (somebody else owns the key: end the operation), `claim_misused`, and `store_unavailable` or `store_corrupt`, after
   * which whatever is finished with is answered 503 `outcome_unknown` (SPEC §4.11). An operation one of whose steps has
   * begun has started: its answer is recorded also where the policy lists its status as not started.
   */
  step<T>(name: string, run: (step: StepContext) => T | Promise<T>): Promise<T>;
  /**
   * Runs `work` in a transaction of `database`, which must be the one that holds the store's records, and commits the
   * recorded answer with what it wrote (SPEC §7.1). That ends the claim; the answer, or a 409 or 503 to send instead of
   * it, is what is to be sent. Rejects with what `work` threw, and with `claim_misused` or `store_unsuitable`: then all is
   * rolled back and the claim goes on, so that the answer to the error is recorded by {@link finish}.
   *
   * An answer that is not to be recorded is not committed either: one that says "not started" rolls back and gives the
   * key back, one of `unknownStatuses` rolls back and leaves the outcome unknown. An error status that is returned
   * commits as any other. A body beyond `maxBody` is sent and not kept; streams have no place in a transaction.
   */
  transaction<Tx>(
    database: Transactions<Tx>,
    work: (tx: Tx) => HttpResponse | Promise<HttpResponse>,
  ): Promise<HttpResponse>;
  /**
   * The operation answered: records it before its first byte is sent (SPEC §4.4), or gives the key back where the
   * answer says that it did not start (SPEC §4.8), or leaves it unknown (SPEC §4.9 `unknownStatuses`).
   */
  finish(response: HttpResponse): Promise<HttpResponse>;
  /**
   * The answer is too large or streams (SPEC §5.4): records that it was not kept. Answers the head to send before the
   * body is passed on, or a whole response to send instead of it. What `finish` would release is released here too.
   */
  finishUnkept(
    head: ResponseHead,
  ): Promise<
    | { readonly kind: "stream"; readonly head: ResponseHead }
    | { readonly kind: "answer"; readonly response: HttpResponse }
  >;
  /** The operation demonstrably did not start (SPEC §4.5): gives the key back and answers `response` as it is. */
  notStarted(response: HttpResponse): Promise<HttpResponse>;
  /** The operation was cut off (SPEC §4.9): nobody knows whether it took effect. */
  unknown(status: 500 | 502 | 504, detail: string): Promise<HttpResponse>;
  /** Marks the run in the history, also after its end. */
  flag(flag: RunFlag): void;
}

/** Watches a request under `mode: observe`; none of its calls fails or waits. */
export interface Observation {
  /** A piece of the request's body. */
  requestChunk(chunk: Uint8Array): void;
  /** The request's body is complete. */
  requestEnd(): void;
  /** The response is complete, or null where there was none. */
  responseEnd(head: ResponseHead | null): void;
}

/** What a caller may learn of a key of its own (SPEC §10.2). */
export type KeyState =
  | { readonly state: "absent" }
  | { readonly state: "running"; readonly since: number }
  | {
      readonly state: "done";
      readonly since: number;
      readonly endedAt: number;
      readonly status: number;
      readonly expiresAt: number;
    }
  | { readonly state: "unknown"; readonly since: number; readonly expiresAt: number };

export interface KeyQuery {
  readonly namespace: string;
  readonly environment: string;
  readonly account: string;
  readonly previous?: readonly string[];
  /** Method and path, where the policy's scope is `account+operation`; else null. */
  readonly operation: string | null;
  readonly key: string;
}

export interface LayerOptions {
  /** Opened by the caller, who also closes it. */
  readonly store: Store;
  readonly clock?: Clock;
  /** How long one store operation may take, in milliseconds. Default 5000. */
  readonly storeTimeoutMs?: number;
  /** Duplicates that may wait for one key. Default 100. */
  readonly maxWaitersPerKey?: number;
  /** Duplicates that may wait in all. Default 10,000. */
  readonly maxWaiters?: number;
  /** Steps that one record may have (SPEC §7.2). Default 1000. */
  readonly maxSteps?: number;
  /** Bytes of their results in all. Default 1 MiB. */
  readonly maxStepLogBytes?: number;
  /** New keys a second and account; null (default): no bound (SPEC §9.4). */
  readonly newKeysPerSecond?: number | null;
  /** Keeps keys as digests in records and history (SPEC §9.2). Default false. */
  readonly hashKeys?: boolean;
  /** How a path is shown in records and history. Default: as it is. */
  readonly showPath?: (path: string) => string;
  /** Whether runs are written to the store's history, where it has one. Default true. */
  readonly history?: boolean;
  /** Address of the policy document that answers link to (SPEC §6). */
  readonly policyDocument?: string;
  /** Makes the function that asks about interrupted operations, for policies with `onInterrupted: { ask }`. */
  readonly ask?: (template: string) => RecoverFunction;
  readonly onEvent?: (event: EngineEvent) => void;
  /**
   * Told of each run that was only watched (`mode: observe`) when it is over. Its `code` says what enforcing would have
   * done: `run`, `replay`, or the code of the refusal.
   */
  readonly onObserved?: (run: Run) => void;
}

/** The layer: one for a process and store. */
export interface Layer {
  /** Decides about a request. Rejects only with what `body` or `account` rejected with. */
  begin(request: LayerRequest): Promise<Begin>;
  /** What is known of a key, without touching it. Rejects with `store_unavailable`. */
  keyState(query: KeyQuery): Promise<KeyState>;
  /** Resolves when answers that could not be recorded yet are, or after `timeoutMs`, and the history is written. */
  drain(timeoutMs: number): Promise<void>;
  /**
   * Makes running records whose owner died unknown, without waiting for a duplicate, and answers how many there were.
   * Reads every record once, so it is for the start and for long intervals. Rejects with `store_unavailable`.
   */
  sweep(signal?: AbortSignal): Promise<number>;
  /** Runs that were not written since the history did not keep up. */
  readonly droppedRuns: number;
}
