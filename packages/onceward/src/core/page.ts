// A page of a listing that is read with a cursor.

export interface Page<T> {
  readonly items: readonly T[];
  /** Give it back as `cursor` for the next page; null on the last one. */
  readonly next: string | null;
}
