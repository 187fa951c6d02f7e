// The owner's side of a record: renewed while the operation runs, and ended in exactly one way.

import type { Clock } from "./clock.js";
import type { EngineEvent } from "./events.js";
import type { Answer, Fence, RecordId } from "./record.js";
import type { Store } from "./store.js";
import type { StoreCalls } from "./store-calls.js";

/** What all claims of an engine share. */
export interface ClaimContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly calls: StoreCalls;
  readonly emit: (event: EngineEvent) => void;
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
  #lost = false;
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

  /** Records the answer durably, before the client gets any of it (SPEC §4.4). */
  async complete(answer: Answer): Promise<Recording> {
    this.#end();
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

  #end(): void {
    if (this.#ended) throw new Error("this claim has been ended already");
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
    const { calls, store, emit } = this.#context;
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
        this.#lost = true;
        this.#abort?.abort();
        emit({ type: "claim-lost", runId, recordId: id });
        return;
      }
    } catch {
      // The store is out of reach: the next renewal may reach it, and completing tells whether the claim still holds.
      failed = true;
    }
    if (!this.#ended) this.#cancelRenewal = this.#renewLater(failed);
  }
}
