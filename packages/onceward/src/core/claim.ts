// The owner's side of a record: renewed while the operation runs, and ended in exactly one way.

import { type ClaimContext, type ClaimFacts, type ClaimOwner, lost, misused, tooLate } from "./claim-owner.js";
import { ClaimTransactions, COMMIT_UNKNOWN, type TransactionEnd } from "./claim-transaction.js";
import type { IdempotencyError } from "./errors.js";
import type { EngineEvent } from "./events.js";
import type { Answer, RecordId } from "./record.js";
import { type StepContext, Steps } from "./steps.js";
import type { Transactions } from "./transactions.js";

/** How the recording of an answer went. */
export type Recording =
  /** Durable: send it. */
  | "recorded"
  /** The store is out of reach, it is tried again; under `hold` the client may have its answer (SPEC §4.11). */
  | "deferred"
  /** The store is out of reach, and somebody who takes over may answer otherwise: the client must not have it. */
  | "unrecorded"
  /** Somebody else owns the record; the client must fetch the one true answer. */
  | "lost";

export class OwnedClaim {
  readonly id: RecordId;
  readonly runId: string;
  readonly tookOver: boolean;
  readonly #context: ClaimContext;
  readonly #facts: ClaimFacts;
  // Made when somebody asks for it: most operations never look, and a controller is not free.
  #abort: AbortController | null = null;
  #steps: Steps | null = null;
  #transactions: ClaimTransactions | null = null;
  #lost = false;
  /** Why the run was broken off: a step could not be recorded, so that its answer must not be either. */
  #broken: { readonly error: unknown } | null = null;
  #ended = false;
  #cancelRenewal: () => void;

  constructor(context: ClaimContext, facts: ClaimFacts) {
    this.id = facts.id;
    this.runId = facts.runId;
    this.tookOver = facts.tookOver !== null;
    this.#context = context;
    this.#facts = facts;
    this.#cancelRenewal = this.#renewLater();
  }

  /** Aborted when the claim is lost; what is done after it is not recorded. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#lost) this.#abort.abort();
    return this.#abort.signal;
  }

  /** Whether a step of the operation has begun, so that it has started. */
  get begun(): boolean {
    return this.#steps !== null;
  }

  /**
   * Runs a step once, or answers its recorded result (SPEC §7.2). Rejects with what `run` threw, and with
   * `claim_lost`, `claim_misused`, `store_unavailable` or `store_corrupt`.
   */
  step<T>(name: string, run: (step: StepContext) => T | Promise<T>): Promise<T> {
    this.#steps ??= new Steps(this.#asOwner());
    return this.#steps.run(name, run);
  }

  /**
   * Runs `work` in a transaction whose last statement records the answer that `answerOf` makes of its value (SPEC §7.1).
   * Rejects with what `work` or `answerOf` threw, with `claim_misused` and `store_unsuitable`, and with what {@link step}
   * rejects with where the claim can record nothing any more: then nothing took effect and the claim goes on.
   */
  transaction<Tx, T>(
    database: Transactions<Tx>,
    work: (tx: Tx) => T | Promise<T>,
    answerOf: (value: T) => Answer,
  ): Promise<TransactionEnd<T>> {
    this.#transactions ??= new ClaimTransactions(this.#asOwner());
    return this.#transactions.run(database, work, answerOf);
  }

  /** Records the answer durably, before the client gets any of it (SPEC §4.4). */
  async complete(answer: Answer): Promise<Recording> {
    if (this.#broken !== null && !this.#lost) {
      await this.interrupt(COMMIT_UNKNOWN);
      return "unrecorded";
    }
    this.#end();
    // Its refusal was told already, and a store that is out of reach must not make another's answer of it.
    if (this.#lost) return "lost";
    const { id, fence, runId, held } = this.#facts;
    const { store, calls, emit, changed } = this.#context;
    const record = (): Promise<boolean> => store.complete(id, fence, answer);
    try {
      const recorded = await calls.run("record an answer", runId, id, record);
      emit(
        recorded ? { type: "recorded", runId, recordId: id, late: false } : { type: "claim-lost", runId, recordId: id },
      );
      changed(id);
      return recorded ? "recorded" : "lost";
    } catch {
      emit({ type: "recording-deferred", runId, recordId: id });
      const told = (recorded: boolean | null): void => {
        if (recorded === null) emit({ type: "recording-abandoned", runId, recordId: id });
        else if (recorded) emit({ type: "recorded", runId, recordId: id, late: true });
        else emit({ type: "claim-lost", runId, recordId: id });
        changed(id);
      };
      calls.persist("record an answer", runId, id, record, told, answer.payload.length);
      return held ? "deferred" : "unrecorded";
    }
  }

  /**
   * Gives the key back: the operation demonstrably did not start (SPEC §4.5). Where an interrupted run came before, that
   * one may have started, so the record stays as it was found: unknown.
   */
  async release(): Promise<void> {
    if (this.#facts.tookOver === "rerun") return this.interrupt(500);
    if (this.#broken !== null) return this.interrupt(COMMIT_UNKNOWN);
    const { id, fence } = this.#facts;
    await this.#finish("release a key", () => this.#context.store.release(id, fence), {
      type: "released",
      runId: this.runId,
      recordId: id,
    });
  }

  /** Nobody knows whether the operation took effect (SPEC §4.9); duplicates are answered with `status` under `hold`. */
  async interrupt(status: number): Promise<void> {
    const { id, fence, runId } = this.#facts;
    const event = { type: "interrupted", runId, recordId: id, of: runId, status } as const;
    await this.#finish(
      "mark an outcome unknown",
      () => this.#context.store.interrupt(id, fence, status, "owner"),
      event,
    );
  }

  async #finish(operation: string, call: () => Promise<boolean>, event: EngineEvent): Promise<void> {
    this.#end();
    const { id, runId } = this.#facts;
    const { calls, emit, changed } = this.#context;
    const told = (held: boolean | null): void => {
      if (held !== null) emit(held ? event : { type: "claim-lost", runId, recordId: id });
      changed(id);
    };
    try {
      told(await calls.run(operation, runId, id, call));
    } catch {
      calls.persist(operation, runId, id, call, told);
    }
  }

  #asOwner(): ClaimOwner {
    const claim = this;
    return {
      ...{ facts: this.#facts, context: this.#context },
      get signal() {
        return claim.signal;
      },
      assertUsable: (what) => this.#assertUsable(what),
      refused: (what) => this.#refused(what),
      breakOff: (error) => {
        this.#broken ??= { error };
      },
      end: () => this.#end(),
      lose: () => this.#lose(),
      renew: () => void this.#renew(),
    };
  }

  #assertUsable(what: string): void {
    if (this.#ended || this.#transactions?.completing) throw tooLate(what);
    if (this.#lost) throw lost(what);
    if (this.#broken !== null) throw this.#broken.error;
  }

  #refused(what: string): IdempotencyError {
    // What the operation did not wait for meets a record that is done.
    if (this.#ended || this.#transactions?.completing) return tooLate(what);
    this.#lose();
    return lost(what);
  }

  #lose(): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#abort?.abort();
    this.#cancelRenewal();
    const { id, runId } = this.#facts;
    this.#context.emit({ type: "claim-lost", runId, recordId: id });
    this.#context.changed(id);
  }

  #end(): void {
    if (this.#ended) throw misused("This claim has been ended already.");
    if (this.#transactions?.underWay) throw misused("A transaction of this claim is under way; wait for it.");
    this.#ended = true;
    this.#cancelRenewal();
  }

  #renewLater(failed = false): () => void {
    // SPEC §4.3. One that failed is repeated sooner, so that several may fail before anybody may believe the owner dead.
    const { leaseMs } = this.#facts;
    return this.#context.clock.after(failed ? leaseMs / 12 : leaseMs / 3, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const { id, fence, leaseMs, runId } = this.#facts;
    const { calls, store } = this.#context;
    // The transaction has the row, and whoever wants it waits (SPEC §7.1).
    if (this.#transactions?.completing) {
      this.#cancelRenewal = this.#renewLater(true);
      return;
    }
    let failed = false;
    try {
      // Given up early: a renewal that hangs must leave time for another, and takes effect late without harm.
      const held = await calls.run(
        "renew a lease",
        runId,
        id,
        () => store.renew(id, fence, leaseMs),
        undefined,
        Math.min(calls.timeoutMs, leaseMs / 6),
      );
      if (!held && !this.#ended) {
        // The transaction may have made it done before the renewal came; its end tells.
        if (this.#transactions?.completing) this.#transactions.renewalRefused();
        else this.#lose();
        return;
      }
    } catch {
      // The store is out of reach: the next renewal may reach it, and completing tells whether the claim still holds.
      failed = true;
    }
    if (!this.#ended && !this.#lost) this.#cancelRenewal = this.#renewLater(failed);
  }
}
