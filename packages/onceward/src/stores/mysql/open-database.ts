// Opening: the tables are made, brought up to date, or found wanting.

import { createHash } from "node:crypto";
import { IdempotencyError } from "../../core/errors.js";
import { foreignTable, schemaNewer, tablesMissing } from "../sql/refusals.js";
import { RECORD_COLUMNS } from "./claims.js";
import { isRefusal } from "./faults.js";
import { RUN_COLUMNS } from "./history.js";
import { MARK, migrationsFrom, SCHEMA_VERSION, type Tables } from "./schema.js";
import { inspect, type Server } from "./server.js";
import type { Query } from "./sessions.js";
import { readInteger, readText } from "./statements.js";

export interface OpenOptions {
  readonly tables: Tables;
  readonly migrate: boolean;
}

/** How long to wait for another process that migrates, in seconds; each second is a statement of its own. */
const LOCK_SECONDS = 60;

/**
 * Looks at the server, and makes or migrates the tables where that is wanted. On one connection, since it locks by name.
 *
 * @throws IdempotencyError `store_unsuitable`, `store_inaccessible`, `store_foreign` or `store_schema_newer`.
 */
export async function openDatabase(query: Query, options: OpenOptions): Promise<Server> {
  const server = await inspect(query);
  const place = `the MySQL database ${server.database}`;
  if ((await versionOf(query, options.tables, place)) < SCHEMA_VERSION) {
    if (!options.migrate) throw tablesMissing(place, "mysqlSchema()");
    await migrate(query, options.tables, server.database, place);
  }
  await assertWhole(query, options.tables, place);
  await assertUsable(query, options.tables, place);
  return server;
}

async function migrate(query: Query, tables: Tables, database: string, place: string): Promise<void> {
  // A name of the whole server's, of 64 characters at most.
  const digest = createHash("sha256").update(`${database}.${tables.records}`).digest("hex").slice(0, 32);
  const lock = `'onceward-${digest}'`;
  const locked = await tryLock(query, lock);
  try {
    // Looked at again, since another process may have migrated it while this one waited. Where none of them could lock,
    // as on some clusters, they run the same statements at the same time, which can be run again and again.
    const version = await versionOf(query, tables, place);
    if (version >= SCHEMA_VERSION) return;
    for (const statement of migrationsFrom(version, tables)) await query(statement);
  } finally {
    if (locked) await query(`SELECT RELEASE_LOCK(${lock})`);
  }
}

/** Whether it got the lock; not where the server has no such locks. Waits for another process that has it. */
async function tryLock(query: Query, lock: string): Promise<boolean> {
  for (let waited = 0; waited < LOCK_SECONDS; waited++) {
    let answer: unknown;
    try {
      answer = (await query(`SELECT GET_LOCK(${lock}, 1)`)).rows[0]?.[0];
    } catch (error) {
      if (isRefusal(error)) return false;
      throw error;
    }
    if (Number(answer) === 1) return true;
  }
  throw new IdempotencyError(
    "store_inaccessible",
    `The MySQL store cannot be opened: another process has been migrating its tables for ${LOCK_SECONDS} s. ` +
      "Start again when it has ended.",
  );
}

interface Table {
  readonly name: string;
  readonly engine: string;
  readonly isOurs: boolean;
}

async function tablesThere(query: Query, tables: Tables): Promise<readonly Table[]> {
  const names = Object.values(tables).map((name: string) => name.replaceAll("`", "'"));
  const { rows } = await query(
    "SELECT TABLE_NAME, ENGINE, TABLE_COMMENT FROM information_schema.TABLES " +
      `WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (${names.join(", ")})`,
  );
  return rows.map(([name, engine, comment]) => {
    return { name: textOf(name), engine: textOf(engine), isOurs: textOf(comment).startsWith(MARK) };
  });
}

/** The schema's version, 0 where there is none. */
async function versionOf(query: Query, tables: Tables, place: string): Promise<number> {
  const there = await tablesThere(query, tables);
  const foreign = there.find(({ isOurs }) => !isOurs);
  if (foreign !== undefined) throw foreignTable(place, foreign.name);
  if (!there.some(({ name }) => tables.schema === `\`${name}\``)) return 0;
  const { rows } = await query(`SELECT version FROM ${tables.schema}`);
  const version = rows[0] === undefined ? 0 : readInteger(rows[0][0]);
  if (version > SCHEMA_VERSION) throw schemaNewer(place, version, SCHEMA_VERSION);
  return version;
}

/** That all tables are there, and of InnoDB: a server without it makes others in silence, which lose data in a crash. */
async function assertWhole(query: Query, tables: Tables, place: string): Promise<void> {
  const there = await tablesThere(query, tables);
  for (const table of Object.values(tables) as readonly string[]) {
    const found = there.find(({ name }) => table === `\`${name}\``);
    if (found === undefined) {
      throw new IdempotencyError(
        "store_corrupt",
        `The table ${table} in ${place} is gone, while others of Onceward's are there. Restore them from a backup, or ` +
          "drop them all for the store to begin anew (keys that it held may then run again).",
      );
    }
    if (found.engine.toUpperCase() === "INNODB") continue;
    throw new IdempotencyError(
      "store_unsuitable",
      `The table ${table} in ${place} is kept by ${found.engine}, which loses data in a crash: ` +
        `run ALTER TABLE ${table} ENGINE=InnoDB, on a server that has InnoDB.`,
    );
  }
}

const UNKNOWN_COLUMN = 1054;

/** That the columns are there which this version reads, and that the user may do with the tables what the store does. */
async function assertUsable(query: Query, tables: Tables, place: string): Promise<void> {
  const { records, shared, runs, audit } = tables;
  const columns = { [records]: RECORD_COLUMNS, [shared]: "name, value", [runs]: RUN_COLUMNS, [audit]: "id, entry" };
  for (const [table, names] of Object.entries(columns)) {
    const [first = ""] = names.split(",", 1);
    try {
      await query(`INSERT INTO ${table} (${names}) SELECT ${names} FROM ${table} WHERE 1 = 0`);
      await query(`UPDATE ${table} SET ${first} = ${first} WHERE 1 = 0`);
      await query(`DELETE FROM ${table} WHERE 1 = 0`);
    } catch (error) {
      if ((error as { readonly errno?: unknown }).errno !== UNKNOWN_COLUMN) throw error;
      throw foreignTable(place, table, error);
    }
  }
}

function textOf(value: unknown): string {
  return value === null ? "" : typeof value === "string" ? value : readText(value);
}
