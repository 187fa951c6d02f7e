// Who waits for records that other nodes run: told by LISTEN and NOTIFY.

import type { RecordId } from "../../core/record.js";
import type { StoreWaiting } from "../../core/store.js";
import type { Database } from "./database.js";

/** Pauses between two tries to listen. */
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

export interface WaitingOptions {
  readonly database: Database;
  readonly channel: () => string;
  /**
   * Marks a record as waited for, so that what becomes of it is told; false where it does not run. A NOTIFY holds a lock
   * of the whole database until its commit, so nothing is told that nobody waits for.
   */
  readonly mark: (id: RecordId) => Promise<boolean>;
}

/**
 * Listens from the first watch on, until the store is closed. Nothing here is needed for an answer, only for a soon one:
 * what fails is left to the waiters' polling, which also finds records that came to be after a mark, and marks them.
 */
export class Waiting implements StoreWaiting {
  readonly #options: WaitingOptions;
  readonly #watchers = new Map<RecordId, Set<() => void>>();
  #state: "idle" | "starting" | "hearing" | "closed" = "idle";
  #unlisten: (() => Promise<void>) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  watch(id: RecordId, onChange: () => void): () => void {
    const watchers = this.#watchers.get(id) ?? new Set();
    // An own function for each watch, so that the same one can be given twice.
    const watcher = (): void => onChange();
    watchers.add(watcher);
    this.#watchers.set(id, watchers);
    if (this.#state === "hearing") void this.#mark(id);
    else this.#start();
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(id) === watchers) this.#watchers.delete(id);
    };
  }

  /** Tells that somebody of this process met a record that runs and whose change nobody would be told of. */
  unmarked(id: RecordId): void {
    if (this.#state === "hearing" && this.#watchers.has(id)) void this.#mark(id);
  }

  async close(): Promise<void> {
    this.#state = "closed";
    this.#watchers.clear();
    clearTimeout(this.#timer);
    await this.#unlisten?.().catch(() => {});
  }

  #start(): void {
    const { listen } = this.#options.database;
    if (listen === null || this.#state !== "idle" || this.#timer !== undefined) return;
    this.#state = "starting";
    const listener = {
      onMessage: (id: string) => this.#tell(id),
      onHearing: () => this.#hear(),
      onLost: () => this.#startLater(),
    };
    listen(this.#options.channel(), listener).then(
      (unlisten) => {
        if (this.#state === "closed") void unlisten().catch(() => {});
        else this.#unlisten = unlisten;
      },
      () => this.#startLater(),
    );
  }

  #startLater(): void {
    if (this.#state === "closed") return;
    this.#state = "idle";
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#watchers.size > 0) this.#start();
    }, this.#retryMs);
    this.#timer.unref();
    this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS);
  }

  /** What changed while nobody heard is unknown, so everybody looks. */
  #hear(): void {
    if (this.#state === "closed") return;
    this.#state = "hearing";
    this.#retryMs = FIRST_RETRY_MS;
    for (const id of this.#watchers.keys()) void this.#mark(id);
  }

  async #mark(id: RecordId): Promise<void> {
    // What does not run any more has changed before the mark.
    if (!(await this.#options.mark(id).catch(() => true))) this.#tell(id);
  }

  #tell(id: RecordId): void {
    for (const watcher of this.#watchers.get(id) ?? []) queueMicrotask(watcher);
  }
}
