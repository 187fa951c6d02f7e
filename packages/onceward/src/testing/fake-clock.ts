// A clock that stands still until a test moves it.

import type { Clock } from "../core/clock.js";

/** A {@link Clock} under a test's control. */
export interface FakeClock extends Clock {
  /**
   * Moves both clocks on by `ms`, running the timers that fall due in their order, each at its own instant. Promise
   * callbacks do not run in between; use {@link FakeClock.run} where timers start others through promises.
   */
  advance(ms: number): void;
  /** As {@link FakeClock.advance}, but lets promise callbacks and I/O run before, between and after the timers. */
  run(ms: number): Promise<void>;
  /** Steps the wall clock by `ms`, which may be negative, as NTP or an operator would. No timer moves. */
  step(ms: number): void;
  /** How many timers wait. */
  readonly timers: number;
  /** Milliseconds until the next timer, or null where none waits. */
  nextTimerMs(): number | null;
}

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly fn: () => void;
}

/** A clock that starts at `startAt` (epoch milliseconds; the default is a fixed instant in 2026) and stands still. */
export function fakeClock(startAt: number = Date.UTC(2026, 0, 1)): FakeClock {
  let elapsedMs = 0;
  let wallOffset = startAt;
  let order = 0;
  const timers = new Set<Timer>();

  const next = (): Timer | undefined => {
    let first: Timer | undefined;
    for (const timer of timers) {
      if (
        first === undefined ||
        timer.dueMs < first.dueMs ||
        (timer.dueMs === first.dueMs && timer.order < first.order)
      ) {
        first = timer;
      }
    }
    return first;
  };
  const fireNextBefore = (untilMs: number): boolean => {
    const timer = next();
    if (timer === undefined || timer.dueMs > untilMs) return false;
    elapsedMs = Math.max(elapsedMs, timer.dueMs);
    timers.delete(timer);
    timer.fn();
    return true;
  };

  return {
    now: () => wallOffset + elapsedMs,
    monotonic: () => elapsedMs,
    after(ms, fn) {
      const timer: Timer = { dueMs: elapsedMs + Math.max(0, ms), order: order++, fn };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance(ms) {
      const untilMs = elapsedMs + ms;
      while (fireNextBefore(untilMs));
      elapsedMs = untilMs;
    },
    async run(ms) {
      const untilMs = elapsedMs + ms;
      await settle();
      while (fireNextBefore(untilMs)) await settle();
      elapsedMs = Math.max(elapsedMs, untilMs);
      await settle();
    },
    step(ms) {
      wallOffset += ms;
    },
    get timers() {
      return timers.size;
    },
    nextTimerMs() {
      const timer = next();
      return timer === undefined ? null : timer.dueMs - elapsedMs;
    },
  };
}

// An immediate runs when every promise callback that was ready has run, including those that they made ready.
function settle(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
