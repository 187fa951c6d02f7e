// Requests over a connection that may be lost: none waits for an answer that cannot come any more.

import { setTimeout as sleep } from "node:timers/promises";
import type { NatsConnectionLike } from "./client.js";
import { isUnheard } from "./faults.js";

/** How long a request waits for a connection, or for a leader, before it is given up. */
const PATIENCE_MS = 2_000;
const PAUSE_MS = 100;

/**
 * The client drops what is asked of it while it is not connected, and leaves what it has asked to time out when it loses
 * the connection. So requests wait here until it is back, for a while, and fail at once when it goes: what became of
 * them is not known. What nobody has heard, since a stream just has no leader, is asked again.
 */
export class Link {
  readonly #connection: NatsConnectionLike;
  /** Fail the requests under way. */
  readonly #underWay = new Set<(error: Error) => void>();
  /** Wake those who wait for the connection. */
  readonly #waiting = new Set<() => void>();
  #connected = true;
  #stop: (() => void) | null = null;

  constructor(connection: NatsConnectionLike) {
    this.#connection = connection;
  }

  /** Follows the connection's state from here on. */
  open(): void {
    if (this.#stop !== null) return;
    const statuses = this.#connection.status();
    this.#stop = () => statuses.stop?.();
    // One that ends with an error has nothing more to tell.
    this.#follow(statuses).catch(() => {});
  }

  close(): void {
    this.#stop?.();
  }

  /** Sends a request, that may be sent again where nobody heard it. Rejects as it does. */
  async request<T>(send: () => Promise<T>): Promise<T> {
    const giveUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      if (!this.#connected) await this.#back(giveUpAt - performance.now());
      try {
        return await this.#guarded(send);
      } catch (error) {
        // Before it is opened there may be no JetStream at all.
        if (this.#stop === null || !isUnheard(error) || performance.now() >= giveUpAt) throw error;
        await sleep(PAUSE_MS);
      }
    }
  }

  #guarded<T>(send: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#underWay.add(reject);
      const end = (settle: () => void): void => {
        this.#underWay.delete(reject);
        settle();
      };
      send().then(
        (value) => end(() => resolve(value)),
        (error: unknown) => end(() => reject(error)),
      );
    });
  }

  /** Waits until the client is connected again. */
  #back(forMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        if (this.#connected) resolve();
        else reject(new Error("the connection is lost"));
      };
      const timer = setTimeout(end, Math.max(0, forMs));
      this.#waiting.add(end);
    });
  }

  async #follow(statuses: AsyncIterable<{ readonly type: string }>): Promise<void> {
    for await (const { type } of statuses) {
      if (type === "disconnect") {
        this.#connected = false;
        const lost = new Error("the connection was lost before the answer came");
        for (const fail of [...this.#underWay]) fail(lost);
        this.#underWay.clear();
      } else if (type === "reconnect" || type === "close") {
        // A closed one refuses requests by itself.
        this.#connected = true;
        for (const wake of [...this.#waiting]) wake();
      }
    }
  }
}
