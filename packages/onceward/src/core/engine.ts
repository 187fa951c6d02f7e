// The engine: the one place with control flow. claim → run → record → send, and what happens when any of it fails.

import { OwnedClaim } from "./claim.js";
import type { ClaimContext } from "./claim-owner.js";
import { type Clock, systemClock } from "./clock.js";
import { IdempotencyError, isIdempotencyError, type RequestErrorCode } from "./errors.js";
import type { EngineEvent } from "./events.js";
import { newFence } from "./ids.js";
import { type Decision, decide, type MachineRules } from "./machine.js";
import type { Answer, Fence, RecordId, RecordLabels, StoredRecord } from "./record.js";
import { SharedTurns } from "./shared-turns.js";
import { type Hmac, StepSecret } from "./step-secret.js";
import type { ClaimRequest, ClaimResult, Found, Store } from "./store.js";
import { StoreCalls } from "./store-calls.js";
import { WaitingRooms, type Woken } from "./waiting-rooms.js";

/** What somebody who was asked knows of an interrupted operation (SPEC §4.6). */
export type Verdict =
  | { readonly outcome: "done"; readonly answer: Answer }
  | { readonly outcome: "never-happened" }
  | { readonly outcome: "unknown" };

/** A keyed request, as far as the engine is concerned. */
export interface BeginRequest {
  readonly id: RecordId;
  readonly labels: RecordLabels;
  readonly fingerprint: string | null;
  readonly retention: ClaimRequest["retention"];
  /** When the request arrived, on the clock's monotonic scale. */
  readonly arrivedAtMonotonicMs: number;
  readonly leaseMs: number;
  /** How long it may wait for a running operation; 0: not at all. */
  readonly waitMs: number;
  readonly rules: MachineRules;
  /** Why it may not make a record, or null: it may. What is there already is answered all the same (SPEC §8.1, §9.4). */
  readonly refusal: RequestErrorCode | null;
  /** Asks what became of an interrupted operation; needed where `rules.onInterrupted` is `recover`. */
  readonly ask: ((record: StoredRecord) => Promise<Verdict>) | null;
}

/** What becomes of a request. */
export type Begun =
  /** It owns the key: run the operation, then end the claim. */
  | { readonly kind: "owned"; readonly claim: OwnedClaim }
  | { readonly kind: "replay"; readonly record: StoredRecord }
  /** `outcome_unknown`, with the recorded status. */
  | { readonly kind: "unknown"; readonly status: number; readonly record: StoredRecord }
  | { readonly kind: "refused"; readonly code: RequestErrorCode; readonly record: StoredRecord | null };

export interface EngineOptions {
  readonly store: Store;
  readonly clock?: Clock;
  /** How long one store operation may take, in milliseconds. Default 5000. */
  readonly storeTimeoutMs?: number;
  /** Default 100. */
  readonly maxWaitersPerKey?: number;
  /** Default 10,000. */
  readonly maxWaiters?: number;
  /** HMAC-SHA256, under which the downstream keys of steps are derived (SPEC §7.2); steps need it. */
  readonly hmac?: Hmac;
  /** Steps that one record may have. Default 1000. */
  readonly maxSteps?: number;
  /** Bytes of their results in all. Default 1 MiB. */
  readonly maxStepLogBytes?: number;
  readonly onEvent?: (event: EngineEvent) => void;
}

/** Rounds of a race (found lapsed, but renewed meanwhile, and so on) before a request is told to come back. */
const MAX_ROUNDS = 16;
/** How long somebody who is asked about an interrupted operation may take; after it the outcome counts as unknown. */
const ASK_TIMEOUT_MS = 30_000;
/** Recorded as the status of an outcome that became unknown because its owner died. */
export const OWNER_DIED = 500;

export class Engine {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #emit: (event: EngineEvent) => void;
  readonly #calls: StoreCalls;
  readonly #rooms: WaitingRooms;
  readonly #context: ClaimContext;
  readonly #claims = new SharedTurns<ClaimResult>();
  /** What is done about interrupted owners, by their fence. */
  readonly #interruptions = new SharedTurns<boolean>();
  readonly #takeOvers = new SharedTurns<boolean>();
  /** By fence, not by record: a verdict on one owner says nothing about the next. */
  readonly #asking = new Map<Fence, Promise<Verdict>>();

  constructor(options: EngineOptions) {
    this.#store = options.store;
    this.#clock = options.clock ?? systemClock;
    this.#emit = quiet(options.onEvent);
    this.#calls = new StoreCalls(this.#clock, options.storeTimeoutMs ?? 5000, this.#emit);
    this.#rooms = new WaitingRooms({
      store: this.#store,
      clock: this.#clock,
      calls: this.#calls,
      maxPerKey: options.maxWaitersPerKey ?? 100,
      maxInAll: options.maxWaiters ?? 10_000,
    });
    this.#context = {
      store: this.#store,
      clock: this.#clock,
      calls: this.#calls,
      emit: this.#emit,
      stepSecret: new StepSecret(this.#store, this.#calls, options.hmac ?? withoutHmac),
      stepLimits: {
        maxSteps: options.maxSteps ?? 1_000,
        maxStepLogBytes: options.maxStepLogBytes ?? 1024 * 1024,
      },
      changed: (id) => this.#rooms.changed(id),
    };
  }

  /** Duplicates waiting just now. */
  get waiting(): number {
    return this.#rooms.size;
  }

  /** Answers that still wait to be recorded, and claims that still wait to be undone. */
  get unsettled(): number {
    return this.#calls.unsettled;
  }

  /** Resolves when nothing is unsettled any more, or after `timeoutMs`. */
  drain(timeoutMs: number): Promise<void> {
    return this.#calls.drain(timeoutMs);
  }

  /**
   * Claims the key, or says what is there instead. A store out of reach is a refusal, with the record where one was seen
   * before. Rejects with `store_corrupt` where what the store holds cannot be read, and with faults of the program:
   * neither may be taken for a store out of reach, which some policies let pass.
   */
  async begin(request: BeginRequest): Promise<Begun> {
    const waitUntilMs = this.#clock.monotonic() + request.waitMs;
    let record: StoredRecord | null = null;
    let known: Found | null = null;
    try {
      for (let round = 0; round < MAX_ROUNDS; ) {
        const met: Begun | Found = known ?? (await this.#claim(request));
        if ("kind" in met) return this.#tell(request, met);
        record = met.record;
        const decision = decide(record, met.now, request.fingerprint, request.rules);
        if (decision.do === "wait") {
          const woken = await this.#wait(request, waitUntilMs);
          if (woken === "gave-up") return this.#tell(request, { kind: "refused", code: "in_progress", record });
          // Waiting is not a race: only rounds that were lost to somebody else are counted.
          known = woken === "try-again" ? null : woken;
          continue;
        }
        const begun = await this.#act(decision, record, request);
        if (begun !== null) return this.#tell(request, begun);
        known = null;
        round++;
      }
    } catch (error) {
      if (!isIdempotencyError(error, "store_unavailable")) throw error;
      return this.#tell(request, { kind: "refused", code: "store_unavailable", record });
    }
    return this.#tell(request, { kind: "refused", code: "in_progress", record });
  }

  /** Reads a record, in the time a call of the store may take. Rejects with `store_unavailable` or `store_corrupt`. */
  find(id: RecordId, runId: string): Promise<Found | null> {
    return this.#calls.run("find", runId, id, () => this.#store.find(id));
  }

  #wait(request: BeginRequest, untilMs: number): Promise<Woken> {
    const { id, labels, rules } = request;
    this.#emit({ type: "waiting", runId: labels.runId, recordId: id });
    return this.#rooms.wait(id, untilMs, rules.onInterrupted !== "hold");
  }

  /** Carries a decision out; null where somebody else changed the record meanwhile, so that it must be looked at anew. */
  async #act(
    decision: Exclude<Decision, { do: "wait" }>,
    record: StoredRecord,
    request: BeginRequest,
  ): Promise<Begun | null> {
    switch (decision.do) {
      case "replay":
        return { kind: "replay", record };
      case "refuse":
        return { kind: "refused", code: decision.code, record };
      case "answer-unknown":
        return { kind: "unknown", status: record.status ?? OWNER_DIED, record };
      case "hold":
        return this.#hold(record, request);
      case "take-over":
        return this.#takeOver(record, request, "rerun");
      case "ask":
        return this.#recover(record, request);
    }
  }

  async #claim(request: BeginRequest): Promise<Begun | Found> {
    const { id, labels, fingerprint, retention, leaseMs, refusal } = request;
    if (refusal !== null) {
      const found = await this.find(id, labels.runId);
      return found ?? { kind: "refused", code: refusal, record: null };
    }
    const fence = newFence();
    const { value: result, own } = await this.#claims.ask(id, () => {
      const ageMs = Math.max(0, Math.round(this.#clock.monotonic() - request.arrivedAtMonotonicMs));
      const claim = { id, fence, fingerprint, ageMs, retention, leaseMs, labels };
      return this.#calls.run("claim", labels.runId, id, () => this.#store.claim(claim), {
        tookEffect: (late) => late.outcome === "claimed",
        undo: () => this.#store.release(id, fence),
        giveUpAfterMs: leaseMs,
      });
    });
    if (result.outcome === "full") return { kind: "refused", code: "too_many_keys", record: null };
    // Whose claim it was got the key, and to the others it is found.
    return own && result.outcome === "claimed" ? this.#own(request, fence, null) : result;
  }

  #own(request: BeginRequest, fence: Fence, tookOver: "rerun" | "recover" | null): Begun {
    const { id, leaseMs, labels, rules } = request;
    const claim = new OwnedClaim(this.#context, {
      id,
      fence,
      leaseMs,
      runId: labels.runId,
      tookOver,
      held: rules.onInterrupted === "hold",
    });
    return { kind: "owned", claim };
  }

  async #hold(record: StoredRecord, request: BeginRequest): Promise<Begun | null> {
    const { runId } = request.labels;
    const { value: became, own } = await this.#interruptions.ask(record.fence, () =>
      this.#calls.run("interrupt", runId, record.id, () =>
        this.#store.interrupt(record.id, record.fence, OWNER_DIED, "finder"),
      ),
    );
    if (!became) return null;
    if (own) this.#emit({ type: "interrupted", runId, recordId: record.id, of: record.runId, status: OWNER_DIED });
    this.#rooms.changed(record.id);
    return { kind: "unknown", status: record.status ?? OWNER_DIED, record };
  }

  async #takeOver(record: StoredRecord, request: BeginRequest, why: "rerun" | "recover"): Promise<Begun | null> {
    const fence = newFence();
    const { id, leaseMs, labels } = request;
    const next = { fence, leaseMs, runId: labels.runId };
    const { value: took, own } = await this.#takeOvers.ask(record.fence, () =>
      this.#calls.run("take-over", labels.runId, id, () => this.#store.takeOver(id, record.fence, next), {
        tookEffect: (late) => late,
        // The interrupted run may have taken effect, so the record must stay: unknown, and free to be taken over again.
        undo: () => this.#store.interrupt(id, fence, OWNER_DIED, "owner"),
        giveUpAfterMs: leaseMs,
      }),
    );
    // Where somebody else of this node took it, it is looked at anew.
    if (!took || !own) return null;
    if (record.state === "running")
      this.#emit({ type: "interrupted", runId: labels.runId, recordId: id, of: record.runId, status: OWNER_DIED });
    this.#emit({ type: "taken-over", runId: labels.runId, recordId: id, from: record.runId });
    return this.#own(request, fence, why);
  }

  async #recover(record: StoredRecord, request: BeginRequest): Promise<Begun | null> {
    const verdict = await this.#askOnce(record, request);
    if (verdict.outcome === "never-happened") return this.#takeOver(record, request, "recover");
    if (verdict.outcome === "unknown") {
      return record.state === "running"
        ? this.#hold(record, request)
        : { kind: "unknown", status: record.status ?? OWNER_DIED, record };
    }
    // Whoever settled it: the one recorded answer is what everybody gets, so it is read back.
    return null;
  }

  /** However many duplicates arrive, one of them asks, and settles what somebody knows the answer of. */
  #askOnce(record: StoredRecord, request: BeginRequest): Promise<Verdict> {
    const { ask } = request;
    if (ask === null) return Promise.resolve({ outcome: "unknown" });
    const underWay = this.#asking.get(record.fence);
    if (underWay !== undefined) return underWay;
    const asked = this.#askInTime(() => ask(record))
      .catch((error: unknown): Verdict => {
        this.#emit({ type: "ask-failed", runId: request.labels.runId, recordId: record.id, error });
        return { outcome: "unknown" };
      })
      .then((verdict) => this.#settle(verdict, record, request))
      .finally(() => this.#asking.delete(record.fence));
    this.#asking.set(record.fence, asked);
    return asked;
  }

  async #settle(verdict: Verdict, record: StoredRecord, request: BeginRequest): Promise<Verdict> {
    if (verdict.outcome !== "done") return verdict;
    const { answer } = verdict;
    const { runId } = request.labels;
    const next = { fence: newFence(), answer };
    const settled = await this.#calls.run("settle", runId, record.id, () =>
      this.#store.settle(record.id, record.fence, next),
    );
    if (settled) {
      this.#emit({ type: "recovered", runId, recordId: record.id, of: record.runId, status: answer.status });
      this.#rooms.changed(record.id);
    }
    return verdict;
  }

  /** P5: who asks is not left hanging by an asker that never answers. */
  #askInTime(ask: () => Promise<Verdict>): Promise<Verdict> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(ASK_TIMEOUT_MS, () =>
        reject(new Error(`no verdict within ${ASK_TIMEOUT_MS} ms`)),
      );
      // Through a promise, so that one who throws at once fails alike.
      Promise.resolve().then(ask).then(resolve, reject).finally(cancel);
    });
  }

  #tell(request: BeginRequest, begun: Begun): Begun {
    const { runId } = request.labels;
    const recordId = request.id;
    if (begun.kind === "owned" && !begun.claim.tookOver) this.#emit({ type: "claimed", runId, recordId });
    else if (begun.kind === "replay") this.#emit({ type: "replayed", runId, recordId, of: begun.record.runId });
    else if (begun.kind === "refused") this.#emit({ type: "refused", runId, recordId, code: begun.code });
    else if (begun.kind === "unknown") this.#emit({ type: "refused", runId, recordId, code: "outcome_unknown" });
    return begun;
  }
}

function withoutHmac(): never {
  throw new IdempotencyError("claim_misused", "This engine was made without `hmac`, which steps need.");
}

/** Listeners watch. One that throws must neither wedge a key that was just claimed nor end the process from a timer. */
function quiet(listener: ((event: EngineEvent) => void) | undefined): (event: EngineEvent) => void {
  if (listener === undefined) return () => {};
  return (event) => {
    try {
      listener(event);
    } catch (error) {
      console.error(`onceward: a listener of events threw at "${event.type}":`, error);
    }
  };
}
