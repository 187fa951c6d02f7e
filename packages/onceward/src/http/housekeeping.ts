// Work in the background: what expired is deleted in bounded batches (SPEC §4.10), what was interrupted is found (P5).

import { type Clock, systemClock } from "../core/clock.js";
import type { Store } from "../core/store.js";

const BATCH = 500;

export interface HousekeepingSettings {
  /** How often expired records are deleted and the history is trimmed, in milliseconds. */
  readonly purgeEveryMs: number;
  /** How often all records are looked at for interrupted ones, in milliseconds. */
  readonly sweepEveryMs: number;
  /** When that is done first: when every lease of a process that died before this one began has lapsed. */
  readonly firstSweepMs: number;
  /** Runs that the history keeps. */
  readonly keepRuns: number;
}

export interface HousekeepingDeps {
  readonly store: Store;
  readonly clock?: Clock;
  /** Read at each round, since they may change. */
  readonly settings: () => HousekeepingSettings;
  /** Makes what was interrupted unknown. */
  readonly sweep: (signal: AbortSignal) => Promise<unknown>;
  /** Told when the store could not be tidied up; it is tried again. */
  readonly onFailure: (error: unknown) => void;
  readonly onPurged?: (records: number) => void;
  readonly onTrimmed?: (runs: number) => void;
}

/** Rounds never overlap: the next one is set when one is over. None keeps the process alive. */
export class Housekeeping {
  readonly #deps: HousekeepingDeps;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #cancel: () => void = () => {};
  #round: Promise<void> = Promise.resolve();
  #sweepAtMs: number;

  constructor(deps: HousekeepingDeps) {
    this.#deps = deps;
    this.#clock = deps.clock ?? systemClock;
    this.#sweepAtMs = this.#clock.monotonic() + deps.settings().firstSweepMs;
    this.#schedule();
  }

  /** Resolves when the batch under way is over. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#cancel();
    await this.#round;
  }

  #schedule(): void {
    if (this.#stop.signal.aborted) return;
    this.#cancel = this.#clock.after(this.#deps.settings().purgeEveryMs, () => {
      this.#round = this.#run().finally(() => this.#schedule());
    });
  }

  async #run(): Promise<void> {
    const { store, settings, sweep, onPurged, onTrimmed, onFailure } = this.#deps;
    const { history } = store;
    try {
      if (this.#clock.monotonic() >= this.#sweepAtMs) {
        await sweep(this.#stop.signal);
        this.#sweepAtMs = this.#clock.monotonic() + settings().sweepEveryMs;
      }
      await this.#repeat(async () => {
        const records = await store.purge(BATCH);
        onPurged?.(records);
        return records;
      });
      if (history === undefined) return;
      await this.#repeat(async () => {
        const runs = await history.trimRuns(settings().keepRuns, BATCH);
        onTrimmed?.(runs);
        return runs;
      });
    } catch (error) {
      onFailure(error);
    }
  }

  /** Batch after batch, with requests in between, while they are full. */
  async #repeat(batch: () => Promise<number>): Promise<void> {
    // Not by the clock, whose timers let a process end that waits for {@link stop}.
    while (!this.#stop.signal.aborted && (await batch()) >= BATCH) await new Promise((next) => setTimeout(next, 0));
  }
}
