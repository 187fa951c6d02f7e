// Reading records, listing them, and clearing away what has expired.

import type { RecordId, StoredRecord } from "../../core/record.js";
import type { Found, RecordQuery } from "../../core/store.js";
import { sequenceOf } from "../sql/checks.js";
import { repeat, type Slice } from "../sql/slices.js";
import { DONE, stateNumber } from "../sql/states.js";
import type { Row } from "./database.js";
import type { Queries } from "./queries.js";
import { BYTES_BEFORE, bytesOf, MAX_FOUND_BYTES, RECORD_COLUMNS, readRecord, textOf } from "./rows.js";
import type { Names } from "./schema.js";
import { joinTexts, keptText, textsIn } from "./text.js";
import { clock, LIVE } from "./transitions.js";

/** Rows that one slice of a listing looks at. */
const SLICE_ROWS = 2_000;
/** Expired rows that one statement deletes at most. */
const PURGED_ROWS = 500;

/** A record that was found, and whether its change is told to whoever waits on other nodes. */
export interface FoundRow extends Found {
  readonly waited: boolean;
}

/** Statements that need no gathering but for `find`. */
export class Keeping {
  readonly #queries: Queries;
  readonly #now: () => string | null;
  readonly #records: string;
  readonly #findSql: string;

  constructor(queries: Queries, { records }: Names, now: () => string | null) {
    this.#queries = queries;
    this.#now = now;
    this.#records = records;
    this.#findSql = `WITH clock AS MATERIALIZED (SELECT ${clock("$1")} AS now)
SELECT r.ord::text, now::text, (r.before >= ${MAX_FOUND_BYTES})::text, r.waited::text, ${RECORD_COLUMNS},
  CASE WHEN r.before < ${MAX_FOUND_BYTES} THEN encode(r.payload, 'hex') END
FROM clock CROSS JOIN LATERAL (
  SELECT i.ord, ${BYTES_BEFORE} AS before, r.* FROM unnest(${textsIn("$2")}) WITH ORDINALITY AS i (id, ord)
  CROSS JOIN LATERAL (SELECT * FROM ${records} r WHERE r.id = decode(i.id, 'hex') AND ${LIVE} LIMIT 1) r
) r`;
  }

  /** The records of these ids, in their order; "busy" is to be asked for again. */
  async find(ids: readonly RecordId[]): Promise<readonly (FoundRow | "busy" | null)[]> {
    const rows = await this.#queries.kept(this.#findSql, [this.#now(), joinTexts(ids)]);
    const found = new Array<FoundRow | "busy" | null>(ids.length).fill(null);
    for (const row of rows) {
      const index = Number(row[0]) - 1;
      const record = readRecord(ids[index] ?? "", row.slice(4));
      found[index] = row[2] === "true" ? "busy" : { record, now: Number(row[1]), waited: row[3] === "true" };
    }
    return found;
  }

  /** The step log of a record with this fence, running or unknown, or null. */
  async readSteps(id: RecordId, fence: string): Promise<Uint8Array | null> {
    const sql = `WITH clock AS MATERIALIZED (SELECT ${clock("$1")} AS now)
SELECT coalesce(encode(r.steps, 'hex'), '') FROM clock CROSS JOIN ${this.#records} r
WHERE r.id = decode($2::text, 'hex') AND r.fence = decode($3::text, 'hex') AND r.state <> ${DONE} AND ${LIVE}`;
    const [row] = await this.#queries.once(sql, [this.#now(), id, fence]);
    return row === undefined ? null : bytesOf(textOf(row[0]));
  }

  /** Records before the cursor; `next` says where to go on, also where none matched. */
  async list({ state, account, key, cursor, limit }: RecordQuery): Promise<Slice<StoredRecord>> {
    const parameters = [this.#now(), String(sequenceOf(cursor)), String(limit + 1)];
    const conditions = ["r.seq < $2::text::bigint", "r.seq >= f.seq", LIVE];
    const filter = (condition: (parameter: string) => string, value: string | undefined): void => {
      if (value !== undefined) conditions.push(condition(`$${parameters.push(keptText(value))}::text`));
    };
    if (state !== undefined) conditions.push(state === "unknown" ? "r.unknown" : `r.state = ${stateNumber(state)}`);
    filter((it) => `r.account_hash = hashtextextended(${it}, 0) AND r.account = ${it}`, account);
    filter((it) => `r.key = ${it}`, key);
    // What has an index is found without looking at others; anything else in slices, so that no query takes long.
    const indexed = state === "unknown" || account !== undefined;
    const last = `SELECT seq FROM ${this.#records} WHERE seq < $2::text::bigint ORDER BY seq DESC LIMIT 1`;
    const floor = indexed ? "0" : `coalesce((${last} OFFSET ${SLICE_ROWS - 1}), 0)`;
    const sql = `WITH clock AS MATERIALIZED (SELECT ${clock("$1")} AS now),
floor AS MATERIALIZED (SELECT ${floor} AS seq)
SELECT f.seq::text, r.seq::text, encode(r.id, 'hex'), ${RECORD_COLUMNS}
FROM floor f LEFT JOIN LATERAL (
  SELECT r.* FROM clock CROSS JOIN ${this.#records} r WHERE ${conditions.join(" AND ")}
  ORDER BY r.seq DESC LIMIT $3::text::int
) r ON true ORDER BY r.seq DESC`;
    const rows = await this.#queries.once(sql, parameters);
    const found = rows.filter((row) => row[1] !== null);
    const items = found.slice(0, limit);
    const more = Number(found.length > limit ? items.at(-1)?.[1] : rows[0]?.[0]);
    return { items: items.map(listed), next: more > 0 ? String(more) : null };
  }

  /**
   * Deletes in batches, each in a transaction of its own and in its turn; rows that somebody holds are left for the next
   * time.
   */
  purge(limit: number, inTurn: (batch: () => Promise<number>) => Promise<number>): Promise<number> {
    const records = this.#records;
    const sql = `WITH clock AS MATERIALIZED (SELECT ${clock("$1")} AS now),
expired AS MATERIALIZED (
  SELECT r.ctid AS place, r.expires_at FROM ${records} r
  WHERE r.expires_at >= $2::text::bigint AND r.expires_at <= (SELECT now FROM clock)
    AND r.lease_until <= (SELECT now FROM clock)
  ORDER BY r.expires_at LIMIT $3::text::int FOR UPDATE SKIP LOCKED
),
purged AS (DELETE FROM ${records} r USING expired e WHERE r.ctid = e.place RETURNING e.expires_at)
SELECT count(*)::text, coalesce(max(expires_at), 0)::text FROM purged`;
    // Where the last batch ended: what it deleted is in the index until a vacuum, and would be walked over again.
    let from = "-9223372036854775808";
    const batch = async (left: number): Promise<number> => {
      const most = String(Math.min(left, PURGED_ROWS));
      const [row] = await this.#queries.once(sql, [this.#now(), from, most]);
      const purged = Number(row?.[0]);
      if (purged > 0) from = textOf(row?.[1]);
      return purged;
    };
    return repeat(limit, (left) => inTurn(() => batch(left)));
  }

  /** Counts records that have not expired, up to `limit` or a little beyond. */
  async count(account: string | null, limit: number): Promise<number> {
    const rows = (condition: string): string =>
      `SELECT count(*) AS n FROM (SELECT FROM ${this.#records} r WHERE ${condition} AND r.expires_at > now LIMIT $2::text::bigint) r`;
    const now = `WITH clock AS MATERIALIZED (SELECT ${clock("$1")} AS now)`;
    if (account === null) {
      const estimate = await this.#estimate();
      if (estimate < limit / 2) return estimate;
      const [row] = await this.#queries.once(`${now} SELECT (${rows("true")})::text FROM clock`, [
        this.#now(),
        String(limit),
      ]);
      return Number(row?.[0]);
    }
    // By the index alone, and only where that says that it is full by the accounts themselves, whose hashes may be alike.
    const alike = "r.account_hash = hashtextextended($3::text, 0)";
    const sql = `${now} SELECT (CASE WHEN n < $2::text::bigint THEN n ELSE (${rows(`${alike} AND r.account = $3::text`)}) END)::text
FROM clock CROSS JOIN LATERAL (${rows(alike)}) counted`;
    const [row] = await this.#queries.once(sql, [this.#now(), String(limit), keptText(account)]);
    return Number(row?.[0]);
  }

  /** About how many rows there are: exactly for small tables, by what the last vacuum saw for large ones. */
  async #estimate(): Promise<number> {
    const sql = `SELECT (CASE WHEN relpages > 0 THEN reltuples / relpages * pg_relation_size(oid) / current_setting('block_size')::int
  ELSE pg_relation_size(oid) / 100 END)::bigint::text FROM pg_class WHERE oid = to_regclass($1::text)`;
    const [row] = await this.#queries.once(sql, [this.#records]);
    return Math.max(0, Number(row?.[0]));
  }
}

function listed([, , id, ...row]: Row): StoredRecord {
  return readRecord(textOf(id), row);
}
