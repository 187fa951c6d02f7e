// Time as the core sees it: a clock that tests can replace.

/** A node's clock and timers. Only durations are taken from it; instants of records are the store's (SPEC §4.3). */
export interface Clock {
  /** Epoch milliseconds; may step. */
  now(): number;
  /** Milliseconds since some fixed moment; never steps back. */
  monotonic(): number;
  /** Calls `fn` once after `ms`; the returned function cancels it. A waiting timer does not keep a process alive. */
  after(ms: number, fn: () => void): () => void;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    // Node's timers are objects that can be told not to keep the process alive; browsers' are numbers.
    if (typeof timer === "object") (timer as { unref?: () => void }).unref?.();
    return () => clearTimeout(timer);
  },
};

/** Waits for `ms` on `clock`. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}
