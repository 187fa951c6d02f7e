// Waking whoever waits for a record that another node runs: one channel, and on it only what somebody waits for.

import type { RecordId } from "../../core/record.js";
import type { StoreWaiting } from "../../core/store.js";
import type { RedisLink, RedisListener } from "./link.js";

/** For so long a node is told of changes to a record after it said that it waits for it. */
export const WATCHED_MS = 60_000;
const SAID_AGAIN_MS = 20_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

export interface WaitingOptions {
  readonly link: RedisLink;
  readonly channel: string;
  /** Tells the server for {@link WATCHED_MS} that somebody waits for a record. */
  readonly announce: (id: RecordId) => Promise<unknown>;
}

/**
 * Listens on a connection of its own from the first waiter on. A script that changes a record publishes its id where it
 * finds that somebody waits for it, so that nobody who does not wait costs anything. What is missed while a connection is
 * lost, or a server that was told of waiters is replaced by another, is found by the waiters' polling.
 */
export class RedisWaiting implements StoreWaiting {
  readonly #options: WaitingOptions;
  readonly #watchers = new Map<RecordId, Set<() => void>>();
  #listener: Promise<RedisListener> | undefined;
  #current: RedisListener | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  watch(id: RecordId, onChange: () => void): () => void {
    if (this.#closed) return () => {};
    const watchers = this.#watchers.get(id) ?? new Set();
    // An own function for each watch, so that the same one can be given twice.
    const watcher = () => onChange();
    watchers.add(watcher);
    this.#watchers.set(id, watchers);
    void this.#wait(id);
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(id) === watchers) this.#watchers.delete(id);
    };
  }

  close(): void {
    this.#closed = true;
    this.#watchers.clear();
    clearTimeout(this.#timer);
    this.#current?.close();
  }

  /** First listens, then says so: what changes in between is not missed. */
  async #wait(id: RecordId): Promise<void> {
    try {
      await this.#listen();
      if (this.#watchers.has(id)) await this.#options.announce(id);
    } catch {
      // The store is out of reach; waiters poll meanwhile.
    }
  }

  #listen(): Promise<RedisListener> {
    if (this.#listener !== undefined) return this.#listener;
    const listening = this.#options.link.listen(this.#options.channel, (message) => this.#changed(message));
    this.#listener = listening;
    listening.then(
      (listener) => {
        this.#current = listener;
        this.#pauseMs = FIRST_PAUSE_MS;
        if (this.#closed) listener.close();
        else this.#sayAgain(SAID_AGAIN_MS);
      },
      () => {
        if (this.#closed) return;
        this.#sayAgain(this.#pauseMs);
        this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
      },
    );
    return listening;
  }

  /** In a while: of all who still wait, over a new connection where this one is lost for good. */
  #sayAgain(afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#current === undefined || this.#current.dead) {
        this.#listener = undefined;
        this.#current?.close();
        this.#current = undefined;
        if (this.#watchers.size === 0) return;
      } else this.#sayAgain(SAID_AGAIN_MS);
      for (const id of this.#watchers.keys()) void this.#wait(id);
    }, afterMs);
    this.#timer.unref();
  }

  #changed(message: string): void {
    for (const id of message.split(" ")) {
      for (const watcher of this.#watchers.get(id) ?? []) queueMicrotask(watcher);
    }
  }
}
