// Wakes those who wait for a record that another node runs: each ending is told to whoever listens just then.

import type { RecordId } from "../../core/record.js";
import type { StoreWaiting } from "../../core/store.js";
import type { NatsConnectionLike } from "./client.js";

interface Watch {
  readonly watchers: Set<() => void>;
  readonly end: () => void;
}

/**
 * Plain NATS messages on `<bucket>.changed.<id>`, sent once the change is stored. A watcher of the KV bucket would need
 * a consumer on the server for each key or get every write of all nodes, and hears nothing of records that were purged;
 * a message that nobody waits for ends at the server. The client subscribes anew after a reconnect; what was told
 * meanwhile is found by polling (SPEC §4.13).
 */
export class NatsWaiting implements StoreWaiting {
  readonly #connection: NatsConnectionLike;
  readonly #prefix: string;
  readonly #watches = new Map<RecordId, Watch>();

  constructor(connection: NatsConnectionLike, bucket: string) {
    this.#connection = connection;
    this.#prefix = `${bucket}.changed.`;
  }

  watch(id: RecordId, onChange: () => void): () => void {
    const watch = this.#watches.get(id) ?? this.#begin(id);
    // An own function for each watch, so that the same one can be given twice.
    const watcher = () => onChange();
    watch.watchers.add(watcher);
    return () => {
      watch.watchers.delete(watcher);
      if (watch.watchers.size > 0 || this.#watches.get(id) !== watch) return;
      this.#watches.delete(id);
      watch.end();
    };
  }

  /** Says that the record changed; where nothing can be said the others poll. */
  changed(id: RecordId): void {
    quietly(() => this.#connection.publish(`${this.#prefix}${id}`));
  }

  close(): void {
    for (const { end } of this.#watches.values()) end();
    this.#watches.clear();
  }

  #begin(id: RecordId): Watch {
    const watchers = new Set<() => void>();
    const callback = (error: Error | null): void => {
      if (error === null) for (const watcher of [...watchers]) watcher();
    };
    let end = (): void => {};
    quietly(() => {
      const subscription = this.#connection.subscribe(`${this.#prefix}${id}`, { callback });
      end = () => quietly(() => subscription.unsubscribe());
    });
    const watch = { watchers, end: () => end() };
    this.#watches.set(id, watch);
    return watch;
  }
}

/** A connection that is closed throws; then there is nobody to tell, and polling finds what happened. */
function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // Said above.
  }
}
