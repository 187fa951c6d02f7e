// A bound on bytes that all requests share: memory for bodies, or disk for spooled ones (SPEC §5.4, §5.5).

export class Budget {
  #limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** A new bound, as a reload sets it; what is taken stays taken. */
  set limitBytes(bytes: number) {
    this.#limitBytes = bytes;
  }

  /** Takes so many bytes, or answers false and takes none. */
  tryTake(bytes: number): boolean {
    if (this.#usedBytes + bytes > this.#limitBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  /** Takes them over the bound too: for what is in memory already. */
  take(bytes: number): void {
    this.#usedBytes += bytes;
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
  }
}
