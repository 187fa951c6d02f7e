// Work in the background: what expired is deleted in bounded batches (SPEC §4.10), what was interrupted is found (P5).

import { setImmediate } from "node:timers/promises";
import type { Store } from "onceward";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics.js";

const BATCH = 500;

export interface HousekeepingDeps {
  readonly store: Store;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Read at each round, since a reload may change them. */
  readonly settings: () => { readonly everyMs: number; readonly keepRuns: number; readonly longestLeaseMs: number };
  /** Makes what was interrupted unknown. */
  readonly sweep: (signal: AbortSignal) => Promise<number>;
}

/**
 * How often all records are looked at for interrupted ones, in milliseconds. The first time is when every lease of a
 * process that died before this one began has lapsed; later ones find what other gateways left.
 */
const SWEEP_MS = 3_600_000;

/** Rounds never overlap: the next one is set when one is over. */
export class Housekeeping {
  readonly #deps: HousekeepingDeps;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();
  readonly #stop = new AbortController();
  #sweepAt: number;

  constructor(deps: HousekeepingDeps) {
    this.#deps = deps;
    this.#sweepAt = performance.now() + deps.settings().longestLeaseMs;
    this.#schedule();
  }

  /** Resolves when the batch under way is over. */
  async stop(): Promise<void> {
    this.#stop.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#round;
  }

  #schedule(): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#round = this.#run().finally(() => this.#schedule());
    }, this.#deps.settings().everyMs);
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    const { store, metrics, log, settings, sweep } = this.#deps;
    const { history } = store;
    try {
      if (performance.now() >= this.#sweepAt) {
        await sweep(this.#stop.signal);
        this.#sweepAt = performance.now() + SWEEP_MS;
      }
      await this.#repeat(async () => {
        const count = await store.purge(BATCH);
        metrics.purged(count);
        return count;
      });
      if (history === undefined) return;
      await this.#repeat(async () => {
        const count = await history.trimRuns(settings().keepRuns, BATCH);
        metrics.trimmed(count);
        return count;
      });
    } catch (error) {
      log.warn({ err: error }, "the store could not be tidied up; it is tried again");
    }
  }

  /** Batch after batch, with requests in between, while they are full. */
  async #repeat(batch: () => Promise<number>): Promise<void> {
    while (!this.#stop.signal.aborted && (await batch()) >= BATCH) await setImmediate();
  }
}
