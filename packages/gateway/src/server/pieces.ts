// Joins small pieces of a body, so that what is kept of it takes the memory that it counts for (SPEC §9.3).

/** Pieces from here on are passed on as they are. */
const LARGE_BYTES = 1_024;
const BLOCK_BYTES = 4_096;

/**
 * A client chooses how its body is cut. In pieces of one byte each would be an object of some 200 bytes, and a body of
 * 1 MiB would take 200 MiB that no budget knows of.
 */
export class Pieces {
  readonly #take: (piece: Buffer) => void;
  #block: Buffer | null = null;
  #filled = 0;
  #begun = false;

  /** `take` is given every byte in order, in pieces that do not change any more. */
  constructor(take: (piece: Buffer) => void) {
    this.#take = take;
  }

  add(chunk: Buffer): void {
    // Most bodies come in one piece, which is not worth a block.
    if (chunk.length >= LARGE_BYTES || !this.#begun) {
      this.#begun = true;
      this.flush();
      this.#take(chunk);
      return;
    }
    if (this.#filled + chunk.length > BLOCK_BYTES) this.flush();
    this.#block ??= Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#filled += chunk.copy(this.#block, this.#filled);
  }

  /** Passes on what is left; at the end, and before a piece that goes on as it is. */
  flush(): void {
    const block = this.#block;
    if (block === null) return;
    const filled = this.#filled;
    this.#block = null;
    this.#filled = 0;
    this.#take(block.subarray(0, filled));
  }
}
