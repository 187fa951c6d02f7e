// The run history and the audit trail: entries by their ids, which sort by time, the oldest of which make room.

import type { AuditEntry, HistoryStore, Run, RunQuery } from "../../core/history.js";
import type { Page } from "../../core/page.js";
import { pageLimit } from "../sql/checks.js";
import { collect, repeat, type Slice } from "../sql/slices.js";
import { type RedisArgument, type RedisReply, textOf, textsOf } from "./link.js";
import { LIST_ENTRIES, PUT_ENTRIES, REPLACE_ENTRY, TRIM_ENTRIES } from "./lua/history.js";
import { Script } from "./script.js";

const RUNS_AT_ONCE = 100;
const LOOKED_AT = 500;
const TRIMMED_AT_ONCE = 500;
const AMENDED_TRIES = 10;

const putEntries = new Script(PUT_ENTRIES);
const listEntries = new Script(LIST_ENTRIES);
const trimEntries = new Script(TRIM_ENTRIES);
const replaceEntry = new Script(REPLACE_ENTRY);

/** Runs a script on keys of one slot, or sends a command to it; rejects with `store_unavailable` or `store_closed`. */
export interface HistoryCalls {
  run(script: Script, keys: readonly string[], args: readonly RedisArgument[]): Promise<RedisReply>;
  send(key: string, ...command: RedisArgument[]): Promise<RedisReply>;
}

/** Two keys of one slot. A stream would not do: its entries are neither replaced nor put between others. */
interface Keys {
  readonly order: string;
  readonly entries: string;
}

export class RedisHistory implements HistoryStore {
  readonly #calls: HistoryCalls;
  readonly #runs: Keys;
  readonly #audit: Keys;
  readonly #maxRuns: number;

  constructor(calls: HistoryCalls, prefix: string, maxRuns: number) {
    const keys = (name: string): Keys => ({
      order: `${prefix}{${name}}:order`,
      entries: `${prefix}{${name}}:entries`,
    });
    this.#calls = calls;
    this.#runs = keys("runs");
    this.#audit = keys("audit");
    this.#maxRuns = maxRuns;
  }

  async putRuns(runs: readonly Run[]): Promise<void> {
    // Claims come in between, also where much history has gathered.
    for (let start = 0; start < runs.length; start += RUNS_AT_ONCE) {
      await this.#put(this.#runs, runs.slice(start, start + RUNS_AT_ONCE), this.#maxRuns);
    }
  }

  listRuns(query: RunQuery): Promise<Page<Run>> {
    return collect<Run>(pageLimit(query.limit), query.cursor, (limit, cursor) => this.#runSlice(query, limit, cursor));
  }

  async getRun(id: string): Promise<Run | null> {
    const text = await this.#entry(id);
    return text === null ? null : (JSON.parse(text) as Run);
  }

  async amendRun(id: string, change: Parameters<HistoryStore["amendRun"]>[1]): Promise<void> {
    for (let tries = 0; tries < AMENDED_TRIES; tries++) {
      const text = await this.#entry(id);
      if (text === null) return;
      const run: Run = { ...(JSON.parse(text) as Run), ...change };
      const args = [id, text, JSON.stringify(run)];
      if ((await this.#calls.run(replaceEntry, [this.#runs.entries], args)) === 1) return;
    }
  }

  trimRuns(keep: number, limit: number): Promise<number> {
    const { order, entries } = this.#runs;
    return repeat(limit, async (left) => {
      const args = [String(Math.max(0, keep)), String(Math.min(left, TRIMMED_AT_ONCE))];
      return Number(await this.#calls.run(trimEntries, [order, entries], args));
    });
  }

  async putAudit(entry: AuditEntry): Promise<void> {
    await this.#put(this.#audit, [entry], Number.MAX_SAFE_INTEGER);
  }

  async listAudit(query: { readonly limit: number; readonly cursor?: string }): Promise<Page<AuditEntry>> {
    const limit = pageLimit(query.limit);
    const items = await this.#list<AuditEntry>(this.#audit, query.cursor, limit + 1);
    const page = items.slice(0, limit);
    return { items: page, next: items.length > limit ? (page.at(-1)?.id ?? null) : null };
  }

  async #put(keys: Keys, entries: readonly (Run | AuditEntry)[], keep: number): Promise<void> {
    const args = entries.flatMap((entry) => [entry.id, JSON.stringify(entry)]);
    await this.#calls.run(putEntries, [keys.order, keys.entries], [String(keep), ...args]);
  }

  async #entry(id: string): Promise<string | null> {
    const reply = await this.#calls.send(this.#runs.entries, "hget", this.#runs.entries, id);
    return reply === null ? null : textOf(reply);
  }

  async #runSlice(query: RunQuery, limit: number, cursor: string | undefined): Promise<Slice<Run>> {
    const runs = await this.#list<Run>(this.#runs, cursor, LOOKED_AT);
    const matching = runs.filter((run) => matches(run, query));
    const items = matching.slice(0, limit);
    if (matching.length > limit) return { items, next: items.at(-1)?.id ?? null };
    return { items, next: runs.length < LOOKED_AT ? null : (runs.at(-1)?.id ?? null) };
  }

  async #list<T>(keys: Keys, cursor: string | undefined, most: number): Promise<readonly T[]> {
    const start = cursor === undefined ? "+" : `(${cursor}`;
    const texts = textsOf(await this.#calls.run(listEntries, [keys.order, keys.entries], [start, String(most)]));
    return texts.flatMap((text, index) => (index % 2 === 1 && text !== "" ? [JSON.parse(text) as T] : []));
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
