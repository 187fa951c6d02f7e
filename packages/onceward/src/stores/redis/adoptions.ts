// Records that were written without their indexes, while slots were moved: put into them once that is over.

import type { RecordId } from "../../core/record.js";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** More are left to be found by their keys alone. */
const MOST = 10_000;
const AT_ONCE = 256;

export class Adoptions {
  readonly #adopt: (id: RecordId) => Promise<boolean>;
  readonly #orphans = new Set<RecordId>();
  #pauseMs = FIRST_PAUSE_MS;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param adopt Tries it, and answers whether that is done with. */
  constructor(adopt: (id: RecordId) => Promise<boolean>) {
    this.#adopt = adopt;
  }

  add(id: RecordId): void {
    if (this.#closed || this.#orphans.size >= MOST) return;
    this.#orphans.add(id);
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#orphans.clear();
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined || this.#orphans.size === 0) return;
    this.#timer = setTimeout(() => void this.#run(), this.#pauseMs);
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    const before = this.#orphans.size;
    const some = [...this.#orphans].slice(0, AT_ONCE);
    await Promise.all(
      some.map(async (id) => {
        const done = await this.#adopt(id).catch(() => false);
        this.#orphans.delete(id);
        // Those that could not be adopted go behind the others.
        if (!done && !this.#closed) this.#orphans.add(id);
      }),
    );
    const progress = this.#orphans.size < before;
    this.#pauseMs = progress ? FIRST_PAUSE_MS : Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    this.#timer = undefined;
    this.#schedule();
  }
}
