// A map that forgets what was not set for long.

/** How many are remembered at least; twice as many at most. */
const KEPT = 20_000;

export class Recent<Value> {
  #newer = new Map<string, Value>();
  #older = new Map<string, Value>();

  get(key: string): Value | undefined {
    return this.#newer.get(key) ?? this.#older.get(key);
  }

  set(key: string, value: Value): void {
    this.#newer.set(key, value);
    if (this.#newer.size < KEPT) return;
    this.#older = this.#newer;
    this.#newer = new Map();
  }

  delete(key: string): void {
    this.#newer.delete(key);
    this.#older.delete(key);
  }
}
