// A heap of things by the instant they fall due, so that expired ones are found without looking at the others.

interface Entry<T> {
  readonly dueAt: number;
  readonly item: T;
}

/** A binary min-heap. Things that have gone otherwise stay in it until they fall due, or until {@link rebuild}. */
export class ExpiryQueue<T> {
  readonly #heap: Entry<T>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  push(dueAt: number, item: T): void {
    const heap = this.#heap;
    let index = heap.length;
    const entry: Entry<T> = { dueAt, item };
    heap.push(entry);
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || parent.dueAt <= dueAt) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = entry;
  }

  /** Takes out the first that is due at `now`, or undefined where none is. */
  popDue(now: number): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.dueAt > now) return undefined;
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) this.#sink(last);
    return first.item;
  }

  /** Replaces all that is in it. */
  rebuild(entries: Iterable<readonly [dueAt: number, item: T]>): void {
    this.#heap.length = 0;
    for (const [dueAt, item] of entries) this.push(dueAt, item);
  }

  #sink(entry: Entry<T>): void {
    const heap = this.#heap;
    let index = 0;
    for (;;) {
      let childIndex = 2 * index + 1;
      let child = heap[childIndex];
      if (child === undefined) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && right.dueAt < child.dueAt) {
        child = right;
        childIndex += 1;
      }
      if (child.dueAt >= entry.dueAt) break;
      heap[index] = child;
      index = childIndex;
    }
    heap[index] = entry;
  }
}
