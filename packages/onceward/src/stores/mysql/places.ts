// Where records stand in their table, as far as this process knows: by it they are reached without the index of ids.

import type { Fence, RecordId } from "../../core/record.js";
import { Recent } from "./recent.js";
import { BY_ID } from "./record-rows.js";
import { hex, integer } from "./statements.js";

/** A record, and the claim by which it is known. */
export interface Held {
  readonly id: RecordId;
  readonly fence: Fence;
}

/** How rows are reached: the index, and the condition. */
export interface Reach {
  readonly index: string;
  readonly which: string;
}

/**
 * Rows stand in the order of when they were made, which never changes while their fence is the same. Whoever writes a row
 * that it reached by the index of ids also locks the gap before it there (unless it reads committed rows only), into
 * which others may be about to insert; one reached by its place is locked alone.
 */
export class Places {
  readonly #madeAt = new Recent<number>();

  /** `madeAtUs` is when the record was made, in microseconds of the server's clock. */
  remember(fence: Fence, madeAtUs: number): void {
    this.#madeAt.set(fence, madeAtUs);
  }

  /** The record of one fence is that of another from now on. */
  follow(fence: Fence, next: Fence): void {
    const madeAt = this.#madeAt.get(fence);
    if (madeAt !== undefined) this.#madeAt.set(next, madeAt);
  }

  of({ fence }: Held): number | undefined {
    return this.#madeAt.get(fence);
  }

  /** By their places where all are known, else by their ids. */
  reach(all: readonly Held[]): Reach {
    const places = all.map((held) => [this.of(held), hex(held.id)] as const);
    const ids = places.map(([, id]) => id);
    if (places.some(([madeAt]) => madeAt === undefined)) return { index: BY_ID, which: `id IN (${ids.join(", ")})` };
    const [first] = places;
    const which =
      places.length === 1 && first !== undefined
        ? `made_at = ${integer(first[0] ?? 0)} AND id = ${first[1]}`
        : `(made_at, id) IN (${places.map(([madeAt, id]) => `(${integer(madeAt ?? 0)}, ${id})`).join(", ")})`;
    return { index: BY_PLACE, which };
  }
}

export const BY_PLACE: string = "FORCE INDEX (PRIMARY)";
