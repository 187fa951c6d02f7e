// Requests to DynamoDB: those that it refuses in passing are sent again, and none is without an end.

import { IdempotencyError } from "../../core/errors.js";
import { isPassing } from "./faults.js";

type Send<T> = (options: { readonly abortSignal: AbortSignal }) => Promise<T>;

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;

export class Requests {
  readonly #maxWaitMs: number;

  /** `maxWaitMs`: longest that a request takes, its repeating included. */
  constructor(maxWaitMs: number) {
    this.#maxWaitMs = maxWaitMs;
  }

  /**
   * Rejects with the SDK's error, or with `store_unavailable` where it took too long; whether that took effect is then
   * not known. What is sent again had none.
   */
  run<T>(send: Send<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const abort = new AbortController();
      let refused: unknown = null;
      const timer = setTimeout(() => {
        const message = `DynamoDB has not answered within ${this.#maxWaitMs} ms.`;
        reject(refused ?? new IdempotencyError("store_unavailable", message));
        abort.abort();
      }, this.#maxWaitMs);
      const onRefused = (error: unknown): void => {
        refused = error;
      };
      sendUntil(send, abort.signal, onRefused)
        .then(resolve, reject)
        .finally(() => clearTimeout(timer));
    });
  }
}

async function sendUntil<T>(send: Send<T>, abortSignal: AbortSignal, onRefused: (error: unknown) => void): Promise<T> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await send({ abortSignal });
    } catch (error) {
      if (!isPassing(error)) throw error;
      onRefused(error);
    }
    // Drawn from the whole range, so that those that were throttled together do not come back together.
    await pause(Math.random() * pauseMs, abortSignal);
    abortSignal.throwIfAborted();
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
