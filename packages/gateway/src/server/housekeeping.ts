// Work in the background: expired records and old runs are deleted in bounded batches (SPEC §4.10).

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
  readonly settings: () => { readonly everyMs: number; readonly keepRuns: number };
}

/** Rounds never overlap: the next one is set when one is over. */
export class Housekeeping {
  readonly #deps: HousekeepingDeps;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(deps: HousekeepingDeps) {
    this.#deps = deps;
    this.#schedule();
  }

  /** Resolves when the batch under way is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#round;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#round = this.#run().finally(() => this.#schedule());
    }, this.#deps.settings().everyMs);
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    const { store, metrics, log, settings } = this.#deps;
    const { history } = store;
    try {
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
      log.warn({ err: error }, "expired records could not be purged; it is tried again");
    }
  }

  /** Batch after batch, with requests in between, while they are full. */
  async #repeat(batch: () => Promise<number>): Promise<void> {
    while (!this.#stopped && (await batch()) >= BATCH) await setImmediate();
  }
}
