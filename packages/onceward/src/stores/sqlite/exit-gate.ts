// Lets a batch that is under way end before its process exits.
//
// When a process exits, Node stops its threads wherever they are. The packaged driver (`@photostructure/sqlite` 1.2)
// then aborts the whole process if it is inside SQLite, so that an exit code of 0 or 1 becomes 134. Nothing would be
// lost by that, but whoever started the process would be told of a crash. So the thread says when it is inside, and the
// process's last act is to wait for it, shortly.

const OUTSIDE = 0;
const INSIDE = 1;

/** Longest that an exit is held up, in milliseconds. */
const LONGEST_WAIT_MS = 5_000;

/** What both sides share: whether the thread is inside SQLite, and whether the process is exiting. */
export type ExitGateMemory = SharedArrayBuffer;

const INSIDE_INDEX = 0;
const EXITING_INDEX = 1;

/** The thread's side. */
export class ExitGate {
  readonly #cells: Int32Array;

  constructor(memory: ExitGateMemory) {
    this.#cells = new Int32Array(memory);
  }

  /** To be called before SQLite is: false where the process is exiting and nothing is to be begun any more. */
  enter(): boolean {
    Atomics.store(this.#cells, INSIDE_INDEX, INSIDE);
    if (Atomics.load(this.#cells, EXITING_INDEX) === 0) return true;
    this.leave();
    return false;
  }

  leave(): void {
    Atomics.store(this.#cells, INSIDE_INDEX, OUTSIDE);
    Atomics.notify(this.#cells, INSIDE_INDEX);
  }
}

const guarded = new Set<Int32Array>();

/** The main side: memory for a thread that starts, and how to forget it when it has ended. */
export function guardExit(): { readonly memory: ExitGateMemory; readonly forget: () => void } {
  if (guarded.size === 0) process.on("exit", waitForAll);
  const memory = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
  const cells = new Int32Array(memory);
  guarded.add(cells);
  return {
    memory,
    forget() {
      guarded.delete(cells);
      if (guarded.size === 0) process.off("exit", waitForAll);
    },
  };
}

function waitForAll(): void {
  const deadline = performance.now() + LONGEST_WAIT_MS;
  for (const cells of guarded) Atomics.store(cells, EXITING_INDEX, 1);
  for (const cells of guarded) {
    while (Atomics.load(cells, INSIDE_INDEX) === INSIDE && performance.now() < deadline) {
      Atomics.wait(cells, INSIDE_INDEX, INSIDE, deadline - performance.now());
    }
  }
}
