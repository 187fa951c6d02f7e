// The run history in memory: the latest runs and audit entries, and no more of them than a bound.

import { IdempotencyError } from "../../core/errors.js";
import type { AuditEntry, HistoryStore, Run, RunOutcome, RunQuery } from "../../core/history.js";
import type { Page } from "../../core/page.js";

const MAX_PAGE = 1_000;

/** Runs and audit entries, sorted by id, which sorts by time; the oldest make room for new ones. */
export class MemoryHistory implements HistoryStore {
  readonly #runs = new SortedRing<Run>();
  readonly #audit = new SortedRing<AuditEntry>();
  readonly #maxRuns: number;
  readonly #assertOpen: () => void;

  constructor(maxRuns: number, assertOpen: () => void) {
    this.#maxRuns = maxRuns;
    this.#assertOpen = assertOpen;
  }

  async putRuns(runs: readonly Run[]): Promise<void> {
    this.#assertOpen();
    for (const run of runs) this.#runs.put(structuredClone(run));
    this.#runs.trim(this.#maxRuns, Number.POSITIVE_INFINITY);
  }

  async listRuns(query: RunQuery): Promise<Page<Run>> {
    this.#assertOpen();
    return this.#runs.page(query, (run) => matches(run, query));
  }

  async getRun(id: string): Promise<Run | null> {
    this.#assertOpen();
    const run = this.#runs.get(id);
    return run === undefined ? null : structuredClone(run);
  }

  async amendRun(id: string, change: { readonly outcome: RunOutcome; readonly status: number | null }): Promise<void> {
    this.#assertOpen();
    const run = this.#runs.get(id);
    if (run !== undefined) this.#runs.put({ ...run, outcome: change.outcome, status: change.status });
  }

  async trimRuns(keep: number, limit: number): Promise<number> {
    this.#assertOpen();
    return this.#runs.trim(keep, limit);
  }

  async putAudit(entry: AuditEntry): Promise<void> {
    this.#assertOpen();
    this.#audit.put({ ...entry });
    this.#audit.trim(this.#maxRuns, Number.POSITIVE_INFINITY);
  }

  async listAudit(query: { readonly limit: number; readonly cursor?: string }): Promise<Page<AuditEntry>> {
    this.#assertOpen();
    return this.#audit.page(query, () => true);
  }
}

function matches(run: Run, query: RunQuery): boolean {
  return (
    (query.account === undefined || run.account === query.account) &&
    (query.key === undefined || run.key === query.key) &&
    (query.route === undefined || run.route === query.route) &&
    (query.outcome === undefined || run.outcome === query.outcome) &&
    (query.flag === undefined || run.flags.includes(query.flag)) &&
    (query.recordId === undefined || run.recordId === query.recordId) &&
    (query.from === undefined || run.at >= query.from) &&
    (query.to === undefined || run.at < query.to)
  );
}

/** Items sorted by id. New ones nearly always come last, so that an array with a binary search is cheapest. */
class SortedRing<T extends { readonly id: string }> {
  readonly #items: T[] = [];
  /** How many at the front have been trimmed; they are cut off together, since cutting off each one moves all others. */
  #start = 0;

  get(id: string): T | undefined {
    const item = this.#items[this.#indexOf(id)];
    return item?.id === id ? item : undefined;
  }

  put(item: T): void {
    const last = this.#items.at(-1);
    if (last === undefined || last.id < item.id) {
      this.#items.push(item);
      return;
    }
    const index = this.#indexOf(item.id);
    this.#items.splice(index, this.#items[index]?.id === item.id ? 1 : 0, item);
  }

  trim(keep: number, limit: number): number {
    const held = this.#items.length - this.#start;
    const trimmed = Math.max(0, Math.min(held - Math.max(0, keep), limit));
    this.#start += trimmed;
    if (this.#start > this.#items.length / 2) {
      this.#items.splice(0, this.#start);
      this.#start = 0;
    }
    return trimmed;
  }

  page(query: { readonly limit: number; readonly cursor?: string }, accepts: (item: T) => boolean): Page<T> {
    const limit = pageLimit(query.limit);
    const items: T[] = [];
    let index = (query.cursor === undefined ? this.#items.length : this.#indexOf(query.cursor)) - 1;
    for (; index >= this.#start; index--) {
      const item = this.#items[index];
      if (item === undefined || !accepts(item)) continue;
      if (items.length === limit) return { items, next: items.at(-1)?.id ?? null };
      items.push(structuredClone(item));
    }
    return { items, next: null };
  }

  /** The index of the first item at or after `id`, among those that have not been trimmed. */
  #indexOf(id: string): number {
    let low = this.#start;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#items[middle]?.id ?? "") < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** How many items a page may have: at least 1, at most 1000. */
export function pageLimit(limit: number): number {
  if (Number.isNaN(limit)) throw new IdempotencyError("request_invalid", "The limit of a listing is not a number.");
  return Math.min(MAX_PAGE, Math.max(1, Math.floor(limit)));
}
