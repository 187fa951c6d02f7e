// Calls of the store that may fail, hang or take effect too late: bounded in time, undone or repeated behind the scenes.

import { type Clock, sleep } from "./clock.js";
import { IdempotencyError, isIdempotencyError } from "./errors.js";
import type { EngineEvent } from "./events.js";
import type { RecordId } from "./record.js";

/** How a call that its caller gave up on is undone (SPEC §4.12). */
export interface LateEffect<T> {
  /** Whether an answer that came too late says that the call took effect. */
  tookEffect(answer: T): boolean;
  /** Undoes it by its fence; harmless where it took no effect. */
  undo(): Promise<boolean>;
  /** After so long without any answer it is undone on suspicion, in milliseconds. */
  readonly giveUpAfterMs: number;
}

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;
/** Repeating goes on for so long at most; what is left by then the lease settles. */
const PERSIST_MS = 3_600_000;
/** Endings of claims repeated at once, and as many undone claims, so that an outage of the store cannot fill the memory. */
const MAX_UNSETTLED = 10_000;
/** And what the answers among them hold. One answer may be larger. */
const MAX_UNSETTLED_BYTES = 64 * 1024 * 1024;
/** Undoing is last tried after a wait of this many leases. */
const LONGEST_UNDO = 8;

export class StoreCalls {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #emit: (event: EngineEvent) => void;
  readonly #drained = new Set<() => void>();
  #unsettled = 0;
  #persisting = 0;
  #persistingBytes = 0;
  #undoing = 0;

  constructor(clock: Clock, timeoutMs: number, emit: (event: EngineEvent) => void) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#emit = emit;
  }

  /** How long one call may take. */
  get timeoutMs(): number {
    return this.#timeoutMs;
  }

  /** Calls that are still being repeated. */
  get unsettled(): number {
    return this.#unsettled;
  }

  /**
   * Calls the store once. Rejects with `store_unavailable` where it fails or takes longer than `timeoutMs`, and with
   * `store_corrupt` where it says so: then it is in reach, and what it holds is not to be taken for nothing.
   */
  run<T>(
    operation: string,
    runId: string,
    recordId: RecordId,
    call: () => Promise<T>,
    late?: LateEffect<T>,
    longestMs: number = this.#timeoutMs,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const answer = started(call);
      const fail = (error: unknown): void => {
        this.#emit({ type: "store-failed", runId, recordId, operation, error });
        if (late !== undefined) this.#undo(runId, recordId, answer, late);
        reject(
          isIdempotencyError(error, "store_unavailable") || isIdempotencyError(error, "store_corrupt")
            ? error
            : new IdempotencyError("store_unavailable", `The store could not ${operation}.`, { cause: error }),
        );
      };
      let gaveUp = false;
      // Who learns of a claim when half its lease is over may not be its owner any more when the operation starts.
      const timeoutMs = late === undefined ? longestMs : Math.min(longestMs, late.giveUpAfterMs / 2);
      const cancel = this.#clock.after(timeoutMs, () => {
        gaveUp = true;
        fail(new Error(`no answer within ${timeoutMs} ms`));
      });
      answer.then(
        (value) => {
          cancel();
          if (!gaveUp) resolve(value);
        },
        (error: unknown) => {
          cancel();
          if (!gaveUp) fail(error);
        },
      );
    });
  }

  /**
   * Repeats a call, which holds so many bytes, until the store answers it, in the background. `then` is told the answer,
   * or null where it was given up: after an hour, or at once where too much is being repeated already.
   */
  persist(
    operation: string,
    runId: string,
    recordId: RecordId,
    call: () => Promise<boolean>,
    then: (held: boolean | null) => void,
    bytes = 0,
  ): void {
    const full = this.#persistingBytes > 0 && this.#persistingBytes + bytes > MAX_UNSETTLED_BYTES;
    if (full || this.#persisting >= MAX_UNSETTLED) {
      then(null);
      return;
    }
    this.#persisting++;
    this.#persistingBytes += bytes;
    void this.#repeat(operation, runId, recordId, call).then((held) => {
      this.#persisting--;
      this.#persistingBytes -= bytes;
      then(held);
    });
  }

  /** Resolves when nothing is being repeated, or after `timeoutMs`. */
  drain(timeoutMs: number): Promise<void> {
    if (this.#unsettled === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#drained.delete(done);
        cancel();
        resolve();
      };
      const cancel = this.#clock.after(timeoutMs, done);
      this.#drained.add(done);
    });
  }

  async #repeat(
    operation: string,
    runId: string,
    recordId: RecordId,
    call: () => Promise<boolean>,
  ): Promise<boolean | null> {
    this.#unsettled++;
    try {
      return await this.insist(operation, runId, recordId, call, PERSIST_MS);
    } catch {
      return null;
    } finally {
      this.#unsettled--;
      if (this.#unsettled === 0) for (const resolve of this.#drained) resolve();
    }
  }

  /** Repeats a call for `forMs` at most, ever more rarely, and rejects as {@link run} does. */
  async insist<T>(
    operation: string,
    runId: string,
    recordId: RecordId,
    call: () => Promise<T>,
    forMs: number,
  ): Promise<T> {
    const untilMs = this.#clock.monotonic() + forMs;
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_RETRY_MS)) {
      try {
        return await this.run(operation, runId, recordId, call);
      } catch (error) {
        const closed = isIdempotencyError((error as IdempotencyError).cause, "store_closed");
        if (closed || this.#clock.monotonic() + pauseMs >= untilMs) throw error;
        await sleep(this.#clock, pauseMs);
      }
    }
  }

  /**
   * A call whose caller gave up may have taken effect, or still will: find out, and undo it. An error says nothing of a
   * call that is still on its way to the store, so undoing is tried again, ever more rarely, until it once met something.
   */
  #undo<T>(runId: string, recordId: RecordId, answer: Promise<T>, late: LateEffect<T>): void {
    if (this.#undoing >= MAX_UNSETTLED) return;
    this.#undoing++;
    let over = false;
    let undoing = false;
    let last = false;
    let cancel = (): void => {};
    const end = (): void => {
      if (!over) this.#undoing--;
      over = true;
      cancel();
    };
    const undo = (): void => {
      if (undoing || over) return;
      undoing = true;
      void this.#repeat("undo a late claim", runId, recordId, () => late.undo()).then((met) => {
        undoing = false;
        if (met === true && !over) this.#emit({ type: "late-claim-released", runId, recordId });
        if (met === true || last) end();
      });
    };
    const undoAgain = (waitMs: number): void => {
      if (over) return;
      cancel = this.#clock.after(waitMs, () => {
        undo();
        if (waitMs < late.giveUpAfterMs * LONGEST_UNDO) undoAgain(waitMs * 2);
        else last = true;
      });
    };
    undoAgain(late.giveUpAfterMs / 2);
    answer.then((value) => (late.tookEffect(value) ? undo() : end()), undo);
  }
}

/** A store that throws at once fails as one that rejects. */
function started<T>(call: () => Promise<T>): Promise<T> {
  try {
    return call();
  } catch (error) {
    return Promise.reject(error);
  }
}
