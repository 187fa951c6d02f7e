// A store in this process: opened once however many middlewares use it, tidied up behind them, closed by the last one.

import { type Clock, systemClock } from "../core/clock.js";
import { IdempotencyError, isIdempotencyError } from "../core/errors.js";
import type { Store } from "../core/store.js";
import { Housekeeping, type HousekeepingSettings } from "./housekeeping.js";

/** What one middleware brings. */
export interface StoreUser {
  readonly clock?: Clock;
  /** false: it is opened when it is first needed. */
  readonly opensNow: boolean;
  /** false: the application tidies up. */
  readonly housekeeping: HousekeepingSettings | false;
  /** Makes what was interrupted unknown. */
  readonly sweep: (signal: AbortSignal) => Promise<number>;
  /** Told when the store cannot be opened or tidied up. */
  readonly onFailure: (operation: string, error: unknown) => void;
}

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

/** By the store itself, so that whoever is given the same one shares it. */
const inUse = new WeakMap<Store, StoreInUse>();

/** Joins the users of a store, which is opened once for all of them. */
export function useStore(store: Store, user: StoreUser): StoreInUse {
  const known = inUse.get(store);
  const used = known ?? new StoreInUse(store, user);
  inUse.set(store, used);
  used.join(user);
  return used;
}

export class StoreInUse {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #users = new Set<StoreUser>();
  #open = false;
  /** Whether it was open already when it came here; then it is closed where it was opened. */
  #foreign = false;
  #opening: Promise<void> | null = null;
  #failure: unknown = null;
  #pauseMs = 0;
  #retryAtMs = 0;
  #housekeeping: Housekeeping | null = null;
  /** Whether nothing about tidying up is left to be begun. */
  #settled = false;

  constructor(store: Store, user: StoreUser) {
    this.#store = store;
    this.#clock = user.clock ?? systemClock;
  }

  /** Whether it can be used at once. */
  get isOpen(): boolean {
    return this.#open && this.#settled;
  }

  join(user: StoreUser): void {
    this.#users.add(user);
    if (user.opensNow || this.#open) this.open().catch(() => {});
  }

  /** The last one to leave stops the tidying, and closes the store where it was opened here. */
  async leave(user: StoreUser): Promise<void> {
    if (!this.#users.delete(user) || this.#users.size > 0) return;
    inUse.delete(this.#store);
    await this.#housekeeping?.stop();
    await this.#opening?.catch(() => {});
    if (this.#open && !this.#foreign) await this.#store.close();
  }

  /**
   * Resolves when it is open. One that could not be opened is tried again when it is next needed, after a pause that
   * grows. Rejects with what kept it from opening.
   */
  open(): Promise<void> {
    if (this.#open) {
      this.#tidy();
      return Promise.resolve();
    }
    if (this.#opening !== null) return this.#opening;
    if (this.#clock.monotonic() < this.#retryAtMs) return Promise.reject(this.#failure);
    this.#opening = this.#tryToOpen().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  /** {@link open} for a request: waits for so long at most, and rejects with `store_unavailable`. */
  openWithin(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown): void =>
        reject(new IdempotencyError("store_unavailable", "The store could not be opened.", { cause }));
      const cancel = this.#clock.after(ms, () => fail(new Error(`not open within ${ms} ms`)));
      this.open().then(resolve, fail).finally(cancel);
    });
  }

  async #tryToOpen(): Promise<void> {
    try {
      await this.#store.open();
    } catch (error) {
      // Somebody else opened it; where it was closed instead, its operations say so.
      if (!isIdempotencyError(error, "store_closed")) {
        this.#failure = error;
        this.#pauseMs = Math.min(Math.max(FIRST_RETRY_MS, this.#pauseMs * 2), LONGEST_RETRY_MS);
        this.#retryAtMs = this.#clock.monotonic() + this.#pauseMs;
        for (const { onFailure } of this.#users) onFailure("open the store", error);
        throw error;
      }
      this.#foreign = true;
    }
    this.#open = true;
    this.#tidy();
  }

  /** Begins to tidy up, as the first user that wants it does. */
  #tidy(): void {
    this.#settled = true;
    if (this.#housekeeping !== null) return;
    for (const { housekeeping, clock, sweep, onFailure } of this.#users) {
      if (housekeeping === false) continue;
      try {
        this.#housekeeping = new Housekeeping({
          store: this.#store,
          settings: () => housekeeping,
          sweep,
          onFailure: (error) => onFailure("tidy the store up", error),
          ...(clock === undefined ? {} : { clock }),
        });
      } catch {
        // Workers have no timers before their first request: it is begun then.
        this.#settled = false;
      }
      return;
    }
  }
}
