// The run history's writing side: runs gather in memory and go to the store in batches, off the critical path.

import type { Clock } from "../core/clock.js";
import type { EngineEvent } from "../core/events.js";
import type { HistoryStore, Run, RunFlag, RunOutcome, RunStep } from "../core/history.js";
import { newTimeId } from "../core/ids.js";

/** What is known of a run when it begins. */
export interface RunFacts {
  readonly key: string;
  readonly method: string;
  readonly path: string;
  readonly route: string;
}

/** How a run ended. */
export interface RunEnd {
  readonly outcome: RunOutcome;
  readonly status: number | null;
  readonly code?: string;
  readonly replayOf?: string;
}

/** SPEC §11: a run is visible within a second, so half of that is the longest it may gather. */
const FLUSH_MS = 250;
const MAX_BATCH = 1_000;
/** Runs that may wait to be written; beyond it the oldest are dropped, since the promise does not rest on them. */
const MAX_QUEUED = 20_000;

const RECORDING_ENDS: ReadonlySet<EngineEvent["type"]> = new Set(["recorded", "recording-abandoned", "claim-lost"]);

/** One run while it goes on; each change is written with the next batch. */
export class RunDraft {
  readonly id: string;
  account = "";
  recordId: string | null = null;
  readonly #log: RunLog;
  readonly #facts: RunFacts;
  readonly #at: number;
  readonly #startedMs: number;
  readonly #steps: RunStep[] = [];
  readonly #flags: RunFlag[] = [];
  #end: RunEnd | null = null;
  /** Its answer is not recorded yet, so something may still happen to it after its end. */
  #deferred = false;
  #durationMs: number | null = null;

  constructor(log: RunLog, facts: RunFacts) {
    this.#log = log;
    this.#facts = facts;
    this.#at = log.clock.now();
    this.#startedMs = log.clock.monotonic();
    this.id = newTimeId(this.#at);
  }

  /** Its arrival on the monotonic clock. */
  get startedMs(): number {
    return this.#startedMs;
  }

  /** @param durationMs Of what has just ended. */
  step(name: string, durationMs?: number): void {
    const atMs = this.#elapsedMs();
    if (durationMs === undefined) this.#steps.push({ name, atMs });
    else this.#steps.push({ name, atMs: inMicroseconds(atMs - durationMs), durationMs: inMicroseconds(durationMs) });
    this.#log.changed(this);
  }

  flag(flag: RunFlag): void {
    if (this.#flags.includes(flag)) return;
    this.#flags.push(flag);
    this.#log.changed(this);
  }

  /** It is a duplicate (SPEC §11); a step of that name is what its source document shows. */
  duplicate(): void {
    this.flag("IDEMPOTENT_REQUEST");
    this.step("IDEMPOTENT_REQUEST");
  }

  end(end: RunEnd): void {
    this.#end = end;
    this.#durationMs = this.#elapsedMs();
    this.#log.ended(this);
    if (!this.#deferred) this.#log.close(this);
    if (end.outcome === "observed") this.#log.observed(this);
  }

  onEvent(event: EngineEvent): void {
    if (event.type === "step") this.step(stepName(event), event.durationMs);
    else this.step(event.type === "transaction" ? `transaction ${event.outcome}` : event.type);
    if (event.type === "taken-over") this.flag("TAKEN_OVER");
    else if (event.type === "recovered") this.flag("RECOVERED");
    else if (event.type === "waiting") this.flag("WAITED");
    else if (event.type === "claim-lost") this.flag("CLAIM_LOST");
    else if (event.type === "recording-deferred") this.#deferred = true;
    else if (event.type === "recorded" && event.late) this.#recordedLate();
    else if (event.type === "recording-abandoned" && this.#end !== null)
      this.#end = { ...this.#end, outcome: "unknown" };
    // What was put off has happened, or never will.
    if (this.#deferred && RECORDING_ENDS.has(event.type)) this.#log.close(this);
  }

  #recordedLate(): void {
    this.flag("RECORDED_LATE");
    // Its client was told that nobody knows; by now everybody can.
    if (this.#end?.outcome === "unknown") this.#end = { ...this.#end, outcome: "recorded" };
  }

  snapshot(): Run {
    const end = this.#end;
    return {
      id: this.id,
      at: this.#at,
      recordId: this.recordId,
      account: this.account,
      ...this.#facts,
      status: end?.status ?? null,
      durationMs: this.#durationMs,
      outcome: end?.outcome ?? "running",
      code: end?.code ?? null,
      steps: [...this.#steps],
      flags: [...this.#flags],
      replayOf: end?.replayOf ?? null,
    };
  }

  #elapsedMs(): number {
    return inMicroseconds(this.#log.clock.monotonic() - this.#startedMs);
  }
}

function inMicroseconds(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

function stepName({ name, outcome }: Extract<EngineEvent, { type: "step" }>): string {
  return outcome === "recorded" ? `step ${JSON.stringify(name)}` : `step ${JSON.stringify(name)} ${outcome}`;
}

export class RunLog {
  readonly clock: Clock;
  readonly #history: HistoryStore | null;
  readonly #changed = new Set<RunDraft>();
  /** Runs that something may still happen to, by id. */
  readonly #open = new Map<string, RunDraft>();
  /** What became of runs that ended otherwise than they were written, by id. */
  readonly #amended = new Map<string, { readonly outcome: RunOutcome; readonly status: number }>();
  #scheduled = false;
  #writing: Promise<void> = Promise.resolve();
  #dropped = 0;

  readonly #onObserved: ((run: Run) => void) | undefined;

  /**
   * @param history null keeps none.
   * @param onObserved Told of runs that were only watched.
   */
  constructor(history: HistoryStore | null, clock: Clock, onObserved?: (run: Run) => void) {
    this.#history = history;
    this.clock = clock;
    this.#onObserved = onObserved;
  }

  /** Runs that were not written because the store did not keep up. */
  get dropped(): number {
    return this.#dropped;
  }

  begin(facts: RunFacts): RunDraft {
    const draft = new RunDraft(this, facts);
    if (this.#history !== null) this.#open.set(draft.id, draft);
    return draft;
  }

  /** Nothing more will happen to the run. */
  close(draft: RunDraft): void {
    this.#open.delete(draft.id);
  }

  observed(draft: RunDraft): void {
    this.#onObserved?.(draft.snapshot());
  }

  onEvent(event: EngineEvent): void {
    this.#open.get(event.runId)?.onEvent(event);
    if (event.type === "interrupted" && event.of !== event.runId) this.#amend(event.of, "unknown", event.status);
    else if (event.type === "recovered") this.#amend(event.of, "recorded", event.status);
  }

  /** A run turned out otherwise than it was written: the one whose owner died, or whose outcome was found out. */
  #amend(runId: string, outcome: RunOutcome, status: number): void {
    if (this.#history === null) return;
    this.#amended.set(runId, { outcome, status });
    if (this.#amended.size > MAX_QUEUED) this.#dropOldest(this.#amended);
    this.#schedule();
  }

  changed(draft: RunDraft): void {
    if (this.#history === null) return;
    this.#changed.add(draft);
    if (this.#changed.size > MAX_QUEUED) this.#dropOldest(this.#changed);
    this.#schedule();
  }

  /** What a stalled run was answered in the end is newer than what its successor knew of it. */
  ended(draft: RunDraft): void {
    this.#amended.delete(draft.id);
    this.changed(draft);
  }

  #dropOldest(queue: { keys(): Iterator<unknown>; delete(key: never): boolean }): void {
    queue.delete(queue.keys().next().value as never);
    this.#dropped++;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.clock.after(FLUSH_MS, () => {
      this.#scheduled = false;
      void this.flush();
    });
  }

  /** Writes what has gathered. Never rejects. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    const history = this.#history;
    while (history !== null && this.#changed.size > 0) {
      const drafts = [...this.#changed].slice(0, MAX_BATCH);
      for (const draft of drafts) this.#changed.delete(draft);
      try {
        await history.putRuns(drafts.map((draft) => draft.snapshot()));
      } catch {
        // They go with the next batch; the queue's bound is what limits an outage.
        for (const draft of drafts) this.changed(draft);
        return;
      }
    }
    // After all older views of the runs, which would overwrite it.
    for (const [runId, change] of history === null ? [] : this.#amended) {
      this.#amended.delete(runId);
      try {
        await history?.amendRun(runId, change);
      } catch {
        this.#amend(runId, change.outcome, change.status);
        return;
      }
    }
  }
}
