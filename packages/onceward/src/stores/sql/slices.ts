// Long work in small parts, between which the store serves others.

import type { Page } from "../../core/page.js";

/** A part of a listing: what was found, and where to go on (also where nothing was); `next` is null at the end. */
export interface Slice<T> {
  readonly items: readonly T[];
  readonly next: string | null;
}

/** Asks for slices until a page is full or the listing ends. */
export async function collect<T>(
  limit: number,
  cursor: string | undefined,
  slice: (limit: number, cursor: string | undefined) => Promise<Slice<T>>,
): Promise<Page<T>> {
  const items: T[] = [];
  let next = cursor;
  for (;;) {
    const part = await slice(limit - items.length, next);
    items.push(...part.items);
    if (part.next === null || items.length >= limit) return { items, next: part.next };
    next = part.next;
  }
}

/** Removes in batches until one removed nothing or `limit` is reached, and answers how many there were. */
export async function repeat(limit: number, remove: (limit: number) => Promise<number>): Promise<number> {
  let removed = 0;
  while (removed < limit) {
    const some = await remove(limit - removed);
    if (some === 0) break;
    removed += some;
  }
  return removed;
}
