// Shared values, run history and audit trail, each operation as it runs inside a transaction.

import type { AuditEntry, Run, RunQuery } from "../../core/history.js";
import type { Slice } from "../sql/slices.js";
import type { SqlValue } from "./driver.js";
import { SLICE_ROWS } from "./listing.js";
import type { Operations } from "./protocol.js";
import { MAX_PURGED_ROWS } from "./records.js";
import type { Session } from "./session.js";
import { bindText, readText } from "./text.js";

// Drivers bind empty bytes as NULL; coalesce makes them empty bytes again.
const BYTES = "coalesce(?, zeroblob(0))";

const PUT_RUN = `INSERT INTO onceward_runs (id, at, record_id, account, key, route, outcome, flags, run)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at, record_id = excluded.record_id,
  account = excluded.account, key = excluded.key, route = excluded.route, outcome = excluded.outcome,
  flags = excluded.flags, run = excluded.run`;

const TRIM_RUNS = `DELETE FROM onceward_runs WHERE seq IN (
  SELECT seq FROM onceward_runs
  WHERE id <= (SELECT id FROM onceward_runs ORDER BY id DESC LIMIT 1 OFFSET ?) ORDER BY id LIMIT ?)`;

type Handlers<K extends keyof Operations> = {
  readonly [N in K]: (session: Session, ...args: Operations[N]["args"]) => Operations[N]["value"];
};

export const sharedHandlers: Handlers<"getShared" | "setShared"> = {
  getShared({ sql }, name) {
    const row = sql.get("SELECT value FROM onceward_shared WHERE name = ?", bindText(name));
    if (row === undefined) return null;
    return row["value"] instanceof Uint8Array ? row["value"] : new Uint8Array(0);
  },
  setShared({ sql }, name, value, expected) {
    const key = bindText(name);
    if (expected === null) {
      return sql.run(`INSERT INTO onceward_shared VALUES (?, ${BYTES}) ON CONFLICT DO NOTHING`, key, value) === 1;
    }
    const change = `UPDATE onceward_shared SET value = ${BYTES} WHERE name = ? AND value = ${BYTES}`;
    return sql.run(change, value, key, expected) === 1;
  },
};

export const historyHandlers: Handlers<
  "putRuns" | "listRuns" | "getRun" | "amendRun" | "trimRuns" | "putAudit" | "listAudit"
> = {
  putRuns(session, runs) {
    for (const run of runs) putRun(session, run);
    return null;
  },
  listRuns,
  getRun: readRun,
  amendRun(session, id, outcome, status) {
    const run = readRun(session, id);
    if (run !== null) putRun(session, { ...run, outcome, status });
    return null;
  },
  trimRuns({ sql }, keep, limit) {
    return sql.run(TRIM_RUNS, keep, Math.min(limit, MAX_PURGED_ROWS));
  },
  putAudit({ sql }, entry) {
    // An entry whose answer was lost is written again; it is the same one.
    const insert = "INSERT INTO onceward_audit (id, entry) VALUES (?, ?) ON CONFLICT (id) DO NOTHING";
    sql.run(insert, entry.id, JSON.stringify(entry));
    return null;
  },
  listAudit({ sql }, limit, cursor) {
    const before = cursor === null ? "" : "WHERE id < ?";
    const rows = sql.all(
      `SELECT entry FROM onceward_audit ${before} ORDER BY id DESC LIMIT ?`,
      ...(cursor === null ? [] : [cursor]),
      limit + 1,
    );
    const items = rows.slice(0, limit).map((row) => JSON.parse(readText(row["entry"])) as AuditEntry);
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null };
  },
};

function putRun({ sql }: Session, run: Run): void {
  sql.run(
    PUT_RUN,
    run.id,
    run.at,
    run.recordId === null ? null : bindText(run.recordId),
    bindText(run.account),
    bindText(run.key),
    bindText(run.route),
    run.outcome,
    // Between spaces, so that one flag is found whatever the others are.
    ` ${run.flags.join(" ")} `,
    JSON.stringify(run),
  );
}

function readRun({ sql }: Session, id: string): Run | null {
  const row = sql.get("SELECT run FROM onceward_runs WHERE id = ?", id);
  return row === undefined ? null : (JSON.parse(readText(row["run"])) as Run);
}

/** Looks at up to {@link SLICE_ROWS} runs before the cursor; `next` says where to go on, also where none matched. */
function listRuns({ sql }: Session, query: RunQuery): Slice<Run> {
  const before = query.cursor === undefined ? [] : [query.cursor];
  const older = before.length === 0 ? "" : "WHERE id < ?";
  const floor = sql.get(
    `SELECT id FROM onceward_runs ${older} ORDER BY id DESC LIMIT 1 OFFSET ?`,
    ...before,
    SLICE_ROWS - 1,
  )?.["id"];

  const conditions = before.length === 0 ? [] : ["id < ?"];
  const parameters: SqlValue[] = [...before];
  const filter = (condition: string, value: SqlValue | undefined) => {
    if (value === undefined) return;
    conditions.push(condition);
    parameters.push(value);
  };
  const text = (value: string | undefined) => (value === undefined ? undefined : bindText(value));
  filter("id >= ?", floor);
  filter("account = ?", text(query.account));
  filter("key = ?", text(query.key));
  filter("route = ?", text(query.route));
  filter("record_id = ?", text(query.recordId));
  filter("outcome = ?", query.outcome);
  filter("instr(flags, ?) > 0", query.flag === undefined ? undefined : ` ${query.flag} `);
  filter("at >= ?", query.from);
  filter("at < ?", query.to);
  const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
  const rows = sql.all(
    `SELECT run FROM onceward_runs ${where} ORDER BY id DESC LIMIT ?`,
    ...parameters,
    query.limit + 1,
  );
  const items = rows.slice(0, query.limit).map((row) => JSON.parse(readText(row["run"])) as Run);
  if (rows.length > query.limit) return { items, next: items.at(-1)?.id ?? null };
  return { items, next: typeof floor === "string" ? floor : null };
}
