// Shared values, run history and audit trail.

import type { AuditEntry, HistoryStore, Run, RunQuery } from "../../core/history.js";
import type { Page } from "../../core/page.js";
import { pageLimit } from "../sql/checks.js";
import { collect, repeat, type Slice } from "../sql/slices.js";
import type { Row, Value } from "./database.js";
import { bytesOf, textOf } from "./rows.js";
import type { Names } from "./schema.js";
import { asciiJson, joinNumbers, joinTexts, keptText, textsIn } from "./text.js";

/** Runs that one slice of a listing looks at. */
const SLICE_ROWS = 2_000;
const RUNS_AT_ONCE = 250;
const TRIMMED_ROWS = 500;

/** Runs a statement in its turn. */
export type Ask = (sql: string, values: readonly Value[]) => Promise<readonly Row[]>;

export function sharedValues(
  ask: Ask,
  names: () => Names,
): {
  get(name: string): Promise<Uint8Array | null>;
  set(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean>;
} {
  return {
    async get(name) {
      const [row] = await ask(`SELECT encode(value, 'hex') FROM ${names().shared} WHERE name = $1::text`, [
        keptText(name),
      ]);
      return row === undefined ? null : bytesOf(textOf(row[0]));
    },
    async set(name, value, expected) {
      const { shared } = names();
      const make = `INSERT INTO ${shared} VALUES ($1::text, $2::bytea) ON CONFLICT (name) DO NOTHING RETURNING ''`;
      const change = `UPDATE ${shared} SET value = $2::bytea WHERE name = $1::text AND value = $3::bytea RETURNING ''`;
      const values = [keptText(name), Buffer.from(value)];
      const rows = expected === null ? ask(make, values) : ask(change, [...values, Buffer.from(expected)]);
      return (await rows).length === 1;
    },
  };
}

export class PostgresHistory implements HistoryStore {
  readonly #ask: Ask;
  readonly #names: () => Names;

  constructor(ask: Ask, names: () => Names) {
    this.#ask = ask;
    this.#names = names;
  }

  async putRuns(runs: readonly Run[]): Promise<void> {
    // One statement cannot write a row twice; of two versions of a run the later one is right.
    const latest = [...new Map(runs.map((run) => [run.id, run])).values()];
    for (let start = 0; start < latest.length; start += RUNS_AT_ONCE) {
      await this.#put(latest.slice(start, start + RUNS_AT_ONCE));
    }
  }

  listRuns(query: RunQuery): Promise<Page<Run>> {
    return collect(pageLimit(query.limit), query.cursor, (limit, cursor) => this.#slice(query, limit, cursor));
  }

  async getRun(id: string): Promise<Run | null> {
    const [row] = await this.#ask(`SELECT run FROM ${this.#names().runs} WHERE id = $1::text`, [id]);
    return row === undefined ? null : runOf(row[0]);
  }

  async amendRun(id: string, { outcome, status }: Parameters<HistoryStore["amendRun"]>[1]): Promise<void> {
    const run = await this.getRun(id);
    if (run !== null) await this.#put([{ ...run, outcome, status }]);
  }

  trimRuns(keep: number, limit: number): Promise<number> {
    const { runs } = this.#names();
    const sql = `WITH trimmed AS (DELETE FROM ${runs} WHERE id IN (
  SELECT id FROM ${runs} WHERE id <= (SELECT id FROM ${runs} ORDER BY id DESC LIMIT 1 OFFSET $1::text::bigint)
  ORDER BY id LIMIT $2::text::int) RETURNING 1)
SELECT count(*)::text FROM trimmed`;
    return repeat(limit, async (left) => {
      const [row] = await this.#ask(sql, [String(Math.max(0, keep)), String(Math.min(left, TRIMMED_ROWS))]);
      return Number(row?.[0]);
    });
  }

  async putAudit(entry: AuditEntry): Promise<void> {
    // An entry whose answer was lost is written again; it is the same one.
    const sql = `INSERT INTO ${this.#names().audit} VALUES ($1::text, $2::text) ON CONFLICT (id) DO NOTHING`;
    await this.#ask(sql, [entry.id, asciiJson(entry)]);
  }

  async listAudit(query: { readonly limit: number; readonly cursor?: string }): Promise<Page<AuditEntry>> {
    const limit = pageLimit(query.limit);
    const sql = `SELECT entry FROM ${this.#names().audit} WHERE $1::text IS NULL OR id < $1::text
ORDER BY id DESC LIMIT $2::text::int`;
    const rows = await this.#ask(sql, [query.cursor ?? null, String(limit + 1)]);
    const items = rows.slice(0, limit).map(([entry]) => JSON.parse(textOf(entry)) as AuditEntry);
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null };
  }

  async #put(runs: readonly Run[]): Promise<void> {
    const texts = (of: (run: Run) => string | null): string => joinTexts(runs.map(of));
    const sql = `INSERT INTO ${this.#names().runs} AS r (id, at, record_id, account, key, route, outcome, flags, run)
SELECT id, at, record_id, account, key, route, outcome, flags, run
FROM unnest(${textsIn("$1")}, $2::text::bigint[], ${["$3", "$4", "$5", "$6", "$7", "$8", "$9"].map(textsIn).join(", ")})
  AS i (id, at, record_id, account, key, route, outcome, flags, run)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET at = excluded.at, record_id = excluded.record_id, account = excluded.account,
  key = excluded.key, route = excluded.route, outcome = excluded.outcome, flags = excluded.flags, run = excluded.run`;
    await this.#ask(sql, [
      texts(({ id }) => id),
      joinNumbers(runs.map(({ at }) => Math.round(at))),
      texts(({ recordId }) => (recordId === null ? null : keptText(recordId))),
      texts(({ account }) => keptText(account)),
      texts(({ key }) => keptText(key)),
      texts(({ route }) => keptText(route)),
      texts(({ outcome }) => outcome),
      texts(({ flags }) => markOf(...flags)),
      texts(asciiJson),
    ]);
  }

  /** Looks at up to {@link SLICE_ROWS} runs before the cursor; `next` says where to go on, also where none matched. */
  async #slice(query: RunQuery, limit: number, cursor: string | undefined): Promise<Slice<Run>> {
    const { runs } = this.#names();
    const values: (string | null)[] = [cursor ?? null, String(limit + 1)];
    const older = "($1::text IS NULL OR r.id < $1::text)";
    const conditions = [older, "(f.id IS NULL OR r.id >= f.id)"];
    const filter = (condition: string, value: string | number | undefined): void => {
      if (value !== undefined) conditions.push(condition.replace("?", `$${values.push(String(value))}::text`));
    };
    const label = (value: string | undefined): string | undefined =>
      value === undefined ? undefined : keptText(value);
    filter("r.account = ?", label(query.account));
    filter("r.key = ?", label(query.key));
    filter("r.route = ?", label(query.route));
    filter("r.record_id = ?", label(query.recordId));
    filter("r.outcome = ?", query.outcome);
    filter("strpos(r.flags, ?) > 0", query.flag === undefined ? undefined : markOf(query.flag));
    filter("r.at >= ?::numeric", query.from);
    filter("r.at < ?::numeric", query.to);
    const sql = `SELECT f.id, r.id, r.run FROM (
  SELECT (SELECT r.id FROM ${runs} r WHERE ${older} ORDER BY r.id DESC LIMIT 1 OFFSET ${SLICE_ROWS - 1}) AS id
) f LEFT JOIN LATERAL (
  SELECT r.id, r.run FROM ${runs} r WHERE ${conditions.join(" AND ")} ORDER BY r.id DESC LIMIT $2::text::int
) r ON true ORDER BY r.id DESC`;
    const rows = await this.#ask(sql, values);
    const found = rows.filter((row) => row[1] !== null);
    const items = found.slice(0, limit).map((row) => runOf(row[2]));
    return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : (rows[0]?.[0] ?? null) };
  }
}

function runOf(text: string | null | undefined): Run {
  return JSON.parse(textOf(text)) as Run;
}

/** Between spaces, so that one flag is found whatever the others are. */
function markOf(...flags: readonly string[]): string {
  return ` ${flags.join(" ")} `;
}
