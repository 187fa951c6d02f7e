// Requests to DynamoDB: in parallel but bounded, throttled ones sent again, none without an end.

import { IdempotencyError } from "../../core/errors.js";
import { isPassing } from "./faults.js";

export interface RequestBounds {
  /** Requests under way at once. */
  readonly maxParallel: number;
  /** Requests that may wait for one of them to end. */
  readonly maxQueued: number;
  /** Longest that a request takes, its waiting and repeating included, in milliseconds. */
  readonly maxWaitMs: number;
}

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;

/**
 * DynamoDB has no conditional batch whose members fail alone, so concurrent operations are concurrent requests. One that
 * is throttled keeps its place while it pauses: what is throttled is to get less, and not the same from another caller.
 */
export class Requests {
  readonly #bounds: RequestBounds;
  readonly #waiting = new Set<() => void>();
  #underWay = 0;

  constructor(bounds: RequestBounds) {
    this.#bounds = bounds;
  }

  /**
   * `send` is called again where DynamoDB refused it in passing, so it is to make its request anew. Rejects with the last
   * error, or with `store_unavailable` where it took too long: then whether it took effect is not known.
   */
  run<T>(send: (options: { readonly abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
    const { maxParallel, maxQueued, maxWaitMs } = this.#bounds;
    if (this.#waiting.size >= maxQueued) {
      const message = `${maxQueued} requests wait for DynamoDB already.`;
      return Promise.reject(new IdempotencyError("store_unavailable", message));
    }
    return new Promise((resolve, reject) => {
      const abort = new AbortController();
      let throttled: unknown = null;
      const timer = setTimeout(() => {
        this.#waiting.delete(start);
        const message = `DynamoDB has not answered within ${maxWaitMs} ms.`;
        reject(throttled ?? new IdempotencyError("store_unavailable", message));
        abort.abort();
      }, maxWaitMs);
      const start = (): void => {
        this.#underWay++;
        const sending = sendUntil(send, abort.signal, (error) => {
          throttled = error;
        });
        sending.then(resolve, reject).finally(() => {
          clearTimeout(timer);
          this.#next();
        });
      };
      if (this.#underWay < maxParallel) start();
      else this.#waiting.add(start);
    });
  }

  #next(): void {
    this.#underWay--;
    const [start] = this.#waiting;
    if (start === undefined) return;
    this.#waiting.delete(start);
    start();
  }
}

async function sendUntil<T>(
  send: (options: { readonly abortSignal: AbortSignal }) => Promise<T>,
  abortSignal: AbortSignal,
  onThrottled: (error: unknown) => void,
): Promise<T> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await send({ abortSignal });
    } catch (error) {
      if (!isPassing(error) || abortSignal.aborted) throw error;
      onThrottled(error);
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
