// Shared values, run history and audit trail.

import { IdempotencyError } from "../../core/errors.js";
import type { AuditEntry, HistoryStore, Run, RunQuery } from "../../core/history.js";
import type { Page } from "../../core/page.js";
import { pageLimit } from "../sql/checks.js";
import { collect, repeat, type Slice } from "../sql/slices.js";
import type { Row } from "./client.js";
import type { Tables } from "./schema.js";
import type { Query } from "./sessions.js";
import { bytes, integer, readBytes, readIntegerOrNull, readText, statusCode, text } from "./statements.js";

/** Runs that one slice of a listing looks at. */
const SLICE_ROWS = 2_000;
const RUNS_AT_ONCE = 250;
const TRIMMED_ROWS = 500;
/** What the columns of names and ids hold. A longer one would not be kept as it is. */
const MAX_NAME_BYTES = 255;
const MAX_ID_BYTES = 64;

/** Runs a piece of work in its turn. */
export type Ask = <T>(work: (query: Query) => Promise<T>) => Promise<T>;

export function sharedValues(
  ask: <T>(work: (query: Query) => Promise<T>, repeatable: boolean) => Promise<T>,
  { shared }: Tables,
): {
  get(name: string): Promise<Uint8Array | null>;
  set(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean>;
} {
  const get = async (query: Query, key: string): Promise<Buffer | null> => {
    const { rows } = await query(`SELECT value FROM ${shared} WHERE name = ${key}`);
    return rows[0] === undefined ? null : readBytes(rows[0][0]);
  };
  return {
    async get(name) {
      const value = await ask((query) => get(query, named(name)), true);
      return value === null ? null : new Uint8Array(value);
    },
    async set(name, value, expected) {
      const [key, next] = [named(name), bytes(value)];
      if (expected === null) {
        const make = `INSERT IGNORE INTO ${shared} (name, value) VALUES (${key}, ${next})`;
        // The second time it would be there already.
        return ask(async (query) => (await query(make)).affected === 1, false);
      }
      const known = bytes(expected);
      // A server may count only rows that differ afterwards.
      if (known === next) return ask(async (query) => (await get(query, key))?.equals(expected) ?? false, true);
      const change = `UPDATE ${shared} SET value = ${next} WHERE name = ${key} AND value = ${known}`;
      return ask(async (query) => (await query(change)).affected === 1, false);
    },
  };
}

export class MysqlHistory implements HistoryStore {
  readonly #ask: Ask;
  readonly #runs: string;
  readonly #audit: string;

  constructor(ask: Ask, { runs, audit }: Tables) {
    this.#ask = ask;
    this.#runs = runs;
    this.#audit = audit;
  }

  async putRuns(runs: readonly Run[]): Promise<void> {
    // Claims come in between, also where much history has gathered; in the order of ids, so that writers do not deadlock.
    const latest = [...new Map(runs.map((run) => [run.id, run])).values()];
    latest.sort((one, other) => (one.id < other.id ? -1 : 1));
    for (let start = 0; start < latest.length; start += RUNS_AT_ONCE) {
      const rows = latest
        .slice(start, start + RUNS_AT_ONCE)
        .map(rowOf)
        .join(", ");
      await this.#ask((query) => query(`REPLACE INTO ${this.#runs} (${RUN_COLUMNS}) VALUES ${rows}`));
    }
  }

  listRuns(query: RunQuery): Promise<Page<Run>> {
    return collect(pageLimit(query.limit), query.cursor, (limit, cursor) =>
      this.#ask((ask) => this.#slice(ask, query, limit, cursor)),
    );
  }

  async getRun(id: string): Promise<Run | null> {
    const { rows } = await this.#ask((query) =>
      query(`SELECT id, run, outcome, status FROM ${this.#runs} WHERE id = ${text(id)}`),
    );
    return rows[0] === undefined ? null : runOf(rows[0]);
  }

  /** Of the row's own columns, which are what counts; so it takes one statement, and no version that was read before. */
  async amendRun(id: string, { outcome, status }: Parameters<HistoryStore["amendRun"]>[1]): Promise<void> {
    const set = `outcome = ${text(outcome)}, status = ${status === null ? "NULL" : statusCode(status)}`;
    await this.#ask((query) => query(`UPDATE ${this.#runs} SET ${set} WHERE id = ${text(id)}`));
  }

  trimRuns(keep: number, limit: number): Promise<number> {
    return repeat(limit, (left) => this.#ask((query) => this.#trim(query, Math.max(0, keep), left)));
  }

  async putAudit(entry: AuditEntry): Promise<void> {
    // An entry whose answer was lost is written again; it is the same one.
    const values = `(${idOf(entry.id)}, ${text(JSON.stringify(entry))})`;
    await this.#ask((query) => query(`INSERT IGNORE INTO ${this.#audit} (id, entry) VALUES ${values}`));
  }

  async listAudit(query: { readonly limit: number; readonly cursor?: string }): Promise<Page<AuditEntry>> {
    const limit = pageLimit(query.limit);
    const before = query.cursor === undefined ? "" : `WHERE id < ${text(query.cursor)}`;
    const { rows } = await this.#ask((ask) =>
      ask(`SELECT entry FROM ${this.#audit} ${before} ORDER BY id DESC LIMIT ${limit + 1}`),
    );
    const items = rows.slice(0, limit).map((row) => JSON.parse(readText(row[0])) as AuditEntry);
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null };
  }

  async #trim(query: Query, keep: number, limit: number): Promise<number> {
    const newest = `SELECT id FROM ${this.#runs} ORDER BY id DESC LIMIT 1 OFFSET ${integer(keep)}`;
    const { rows } = await query(newest);
    if (rows[0] === undefined) return 0;
    const most = Math.min(limit, TRIMMED_ROWS);
    const upTo = bytes(readBytes(rows[0][0]));
    const { affected } = await query(`DELETE FROM ${this.#runs} WHERE id <= ${upTo} ORDER BY id LIMIT ${most}`);
    return affected;
  }

  /** Looks at up to {@link SLICE_ROWS} runs before the cursor; `next` says where to go on, also where none matched. */
  async #slice(ask: Query, query: RunQuery, limit: number, cursor: string | undefined): Promise<Slice<Run>> {
    const order = "ORDER BY id DESC LIMIT";
    const before = cursor === undefined ? [] : [`id < ${text(cursor)}`];
    const { rows: ends } = await ask(
      `SELECT id FROM ${this.#runs} ${where(before)} ${order} 1 OFFSET ${SLICE_ROWS - 1}`,
    );
    const end = ends[0] === undefined ? null : readText(ends[0][0]);
    const filters = end === null ? before : [...before, `id >= ${text(end)}`];
    const filter = (condition: string, value: string | undefined): void => {
      if (value !== undefined) filters.push(condition.replace("?", value));
    };
    const label = (value: string | undefined): string | undefined => (value === undefined ? undefined : text(value));
    filter("account = ?", label(query.account));
    filter("`key` = ?", label(query.key));
    filter("route = ?", label(query.route));
    filter("record_id = ?", label(query.recordId));
    filter("outcome = ?", label(query.outcome));
    filter("INSTR(flags, ?) > 0", query.flag === undefined ? undefined : text(markOf(query.flag)));
    filter("at >= ?", query.from === undefined ? undefined : String(Math.ceil(query.from)));
    filter("at < ?", query.to === undefined ? undefined : String(Math.ceil(query.to)));
    const { rows } = await ask(
      `SELECT id, run, outcome, status FROM ${this.#runs} ${where(filters)} ${order} ${limit + 1}`,
    );
    const items = rows.slice(0, limit).map(runOf);
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : end };
  }
}

export const RUN_COLUMNS = "id, at, record_id, account, `key`, route, outcome, status, flags, run";

function rowOf(run: Run): string {
  const values = [
    idOf(run.id),
    integer(Math.round(run.at)),
    run.recordId === null ? "NULL" : idOf(run.recordId),
    text(run.account),
    text(run.key),
    text(run.route),
    text(run.outcome),
    run.status === null ? "NULL" : statusCode(run.status),
    text(markOf(...run.flags)),
    text(JSON.stringify(run)),
  ];
  return `(${values.join(", ")})`;
}

function runOf([, run, outcome, status]: Row): Run {
  const written = JSON.parse(readText(run)) as Run;
  return { ...written, outcome: readText(outcome) as Run["outcome"], status: readIntegerOrNull(status) };
}

/** Between spaces, so that one flag is found whatever the others are. */
function markOf(...flags: readonly string[]): string {
  return ` ${flags.join(" ")} `;
}

function idOf(id: string): string {
  return bounded(id, MAX_ID_BYTES, "An id of the history");
}

function named(name: string): string {
  return bounded(name, MAX_NAME_BYTES, "The name of a shared value");
}

/** INSERT IGNORE, and servers without strict mode, would cut off what is too long. */
function bounded(value: string, most: number, what: string): string {
  const written = text(value);
  // X'…', two digits a byte.
  if (written.length <= 2 * most + 3) return written;
  throw new IdempotencyError("request_invalid", `${what} is longer than ${most} bytes.`);
}

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
}
