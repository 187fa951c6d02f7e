// Ids of records that were there when this process last looked.

/** How many are remembered at least; twice as many at most. */
const KEPT = 10_000;

/** A set that forgets what was not added for long. */
export class RecentIds {
  #newer = new Set<string>();
  #older = new Set<string>();

  has(id: string): boolean {
    return this.#newer.has(id) || this.#older.has(id);
  }

  add(id: string): void {
    this.#newer.add(id);
    if (this.#newer.size < KEPT) return;
    this.#older = this.#newer;
    this.#newer = new Set();
  }

  delete(id: string): void {
    this.#newer.delete(id);
    this.#older.delete(id);
  }
}
