// A body that is held in memory: one piece as a rule, else joined from many, and counted against a budget.

import type { Budget } from "../budget.js";

const EMPTY = new Uint8Array(0);
const FIRST_BYTES = 1_024;

export class HeldBody {
  readonly #budget: Budget;
  #block: Uint8Array = EMPTY;
  #length = 0;
  #taken = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): Uint8Array {
    return this.#length === this.#block.length ? this.#block : this.#block.subarray(0, this.#length);
  }

  /**
   * Adds a piece: as it is where it is the first one and nobody else will write to its memory, else a copy. False where
   * the budget has no room for it: then nothing is added.
   */
  add(piece: Uint8Array, isOurs: boolean): boolean {
    if (piece.length === 0) return true;
    if (!this.#budget.tryTake(piece.length)) return false;
    this.#taken += piece.length;
    if (isOurs && this.#length === 0) this.#block = piece;
    else this.#room(piece.length).set(piece, this.#length);
    this.#length += piece.length;
    return true;
  }

  /** Gives the budget back what was taken of it. */
  release(): void {
    this.#budget.give(this.#taken);
    this.#taken = 0;
    this.#block = EMPTY;
    this.#length = 0;
  }

  /** Doubles: a body that comes in pieces of one byte each takes no more than twice its length. */
  #room(bytes: number): Uint8Array {
    const needed = this.#length + bytes;
    if (needed > this.#block.length) {
      const grown = new Uint8Array(Math.max(FIRST_BYTES, needed, this.#block.length * 2));
      grown.set(this.bytes);
      this.#block = grown;
    }
    return this.#block;
  }
}
