// Looks at a database before it is used: makes the tables where they are missing, and refuses what cannot work.

import { IdempotencyError, isIdempotencyError } from "../../core/errors.js";
import type { Durability } from "../../core/store.js";
import { foreignTable, schemaNewer, tablesMissing } from "../sql/refusals.js";
import type { Session } from "./database.js";
import { sqlState, withoutPasswords } from "./faults.js";
import type { Queries } from "./queries.js";
import { migrations, type Names, namesOf, SCHEMA_VERSION } from "./schema.js";

export interface OpenOptions {
  readonly schema: string | null;
  readonly prefix: string;
  readonly migrate: boolean;
  readonly warn: (message: string) => void;
}

/** What was found. */
export interface Opened {
  readonly names: Names;
  readonly durability: Durability;
}

/** PostgreSQL 12: the first with CTEs that are told to be materialized, and joins by place. */
const LEAST_VERSION = 120_000;

interface Server {
  readonly version: number;
  readonly readOnly: boolean;
  readonly isolation: string;
  readonly settings: Readonly<Record<"synchronous_commit" | "fsync" | "full_page_writes", string>>;
  readonly database: string;
  readonly role: string;
  /** Where the tables are, or would be made. */
  readonly schema: string | null;
}

/** Opens the tables. Rejects with an error that names the place and the remedy. */
export async function openDatabase(queries: Queries, options: OpenOptions): Promise<Opened> {
  const server = await lookAt(queries, options).catch((error) => {
    throw unreachable(error);
  });
  assertSuitable(server);
  if (server.isolation !== "read committed") {
    queries.explicit = true;
    options.warn(
      `the role's default_transaction_isolation is "${server.isolation}", so each operation takes three round trips ` +
        `instead of one. Give it the usual one: ALTER ROLE "${server.role}" SET default_transaction_isolation = 'read committed'.`,
    );
  }
  const names = namesOf(server.schema, options.prefix);
  const place = `schema ${server.schema} of database ${server.database}`;
  try {
    await assertTables(queries, names, place, options.migrate);
    await assertOurs(queries, names, place);
    await assertPrivileges(queries, names, server.role);
  } catch (error) {
    throw isIdempotencyError(error) ? error : unreachable(error);
  }
  return { names, durability: queries.database.embedded ?? durabilityOf(server, options.warn) };
}

async function lookAt(queries: Queries, { schema, prefix }: OpenOptions): Promise<Server> {
  // Where no schema is named, that of the tables which are there already, else the one in which tables are made.
  const sql = `SELECT current_setting('server_version_num'),
  (pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on')::text,
  current_setting('default_transaction_isolation'), current_setting('synchronous_commit'), current_setting('fsync'),
  current_setting('full_page_writes'), current_database()::text, current_user::text,
  coalesce($1::text, (SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass($2::text)), current_schema()::text)`;
  const [row] = await queries.once(sql, [schema, namesOf(null, prefix).version]);
  const [version, readOnly, isolation, commit, fsync, pages, database, role, found] = row ?? [];
  return {
    version: Number(version),
    readOnly: readOnly === "true",
    isolation: isolation ?? "",
    settings: { synchronous_commit: commit ?? "", fsync: fsync ?? "", full_page_writes: pages ?? "" },
    database: database ?? "",
    role: role ?? "",
    schema: found ?? null,
  };
}

function assertSuitable({ version, readOnly, schema, database, role }: Server): void {
  if (!(version >= LEAST_VERSION)) {
    const found = Math.floor(version / 10_000) || "unknown";
    throw new IdempotencyError(
      "store_unsuitable",
      `The server of database ${database} is PostgreSQL ${found}; the store needs 12 or later. Upgrade it.`,
    );
  }
  if (readOnly) {
    throw new IdempotencyError(
      "store_unsuitable",
      `Database ${database} can only be read: it is a replica, or default_transaction_read_only is on. Connect to the ` +
        "primary: what a replica has not yet heard of would run twice.",
    );
  }
  if (schema === null) {
    throw new IdempotencyError(
      "store_inaccessible",
      `No schema of the search_path of role ${role} exists in database ${database}. Name one by \`schema\`.`,
    );
  }
}

async function assertTables(queries: Queries, names: Names, place: string, migrate: boolean): Promise<void> {
  const found = await foundVersion(queries, names, place);
  if (found === SCHEMA_VERSION) return;
  if (!migrate) throw tablesMissing(place, statementsFor(names, found));
  try {
    await queries.database.transaction((session) => bringUpToDate(session, names, place));
  } catch (error) {
    if (isIdempotencyError(error)) throw error;
    if (sqlState(error) === "42501") throw tablesMissing(place, statementsFor(names, found), error);
    // Somebody else's table, index or sequence of the same name.
    if (sqlState(error) === "42P07") throw foreignTable(place, `${names.prefix}…`, error);
    throw error;
  }
}

/** The call that gives the statements. */
function statementsFor({ schema, prefix }: Names, from: number): string {
  const version = from === 0 ? "" : `, from: ${from}`;
  return `postgresSchema({ schema: "${schema}", prefix: "${prefix}"${version} })`;
}

/** One process at a time; the others find nothing left to do. */
async function bringUpToDate(session: Session, names: Names, place: string): Promise<void> {
  await session.execute("SET LOCAL lock_timeout = 0");
  await session.execute("SET LOCAL statement_timeout = 0");
  const lock = `SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))::text`;
  await session.query({ text: lock, values: [`onceward ${names.schema} ${names.prefix}`] });
  const version = await foundVersion(session, names, place);
  if (version === SCHEMA_VERSION) return;
  const exists = "SELECT '' FROM pg_namespace WHERE nspname = $1::text";
  const schemas = await session.query({ text: exists, values: [names.schema] });
  if (schemas.length === 0) await session.execute(`CREATE SCHEMA "${names.schema}"`);
  await session.execute(migrations(names, version));
}

/** The version of the tables, 0 where there are none. */
async function foundVersion(asked: Queries | Session, names: Names, place: string): Promise<number> {
  const ask = async (text: string, values: readonly string[]) =>
    "once" in asked ? asked.once(text, values) : asked.query({ text, values });
  // Not by to_regclass, which may not have heard yet of a table that another process made while this one waited.
  const exists = `SELECT '' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1::text AND c.relname = $2::text`;
  if ((await ask(exists, [names.schema ?? "", `${names.prefix}schema`])).length === 0) return 0;
  let rows: Awaited<ReturnType<typeof ask>>;
  try {
    rows = await ask(`SELECT version::text FROM ${names.version}`, []);
  } catch (error) {
    if (sqlState(error) === "42703") throw foreignTable(place, names.version, error);
    throw error;
  }
  const version = Number(rows[0]?.[0]);
  if (rows.length !== 1 || !Number.isSafeInteger(version)) throw foreignTable(place, names.version);
  if (version > SCHEMA_VERSION) throw schemaNewer(place, version, SCHEMA_VERSION);
  return version;
}

/** Whether the tables have the columns that this version reads; one that is somebody else's is told apart here. */
async function assertOurs(queries: Queries, names: Names, place: string): Promise<void> {
  const sql = `SELECT r.seq, r.account_hash, r.unknown, r.waited, r.steps, r.payload, s.value, h.flags, h.run, a.entry
FROM ${names.records} r, ${names.shared} s, ${names.runs} h, ${names.audit} a WHERE false`;
  try {
    await queries.once(sql);
  } catch (error) {
    if (sqlState(error) === "42703") throw foreignTable(place, `${names.prefix}…`, error);
    if (sqlState(error) !== "42P01") throw error;
    throw new IdempotencyError(
      "store_corrupt",
      `Some of Onceward's tables are gone from ${place}. Restore them from a backup, or drop ${names.version} too for ` +
        "the store to begin anew (keys that it held may then run again).",
      { cause: error },
    );
  }
}

async function assertPrivileges(queries: Queries, names: Names, role: string): Promise<void> {
  const tables = [names.records, names.shared, names.runs, names.audit];
  const sql = `SELECT t FROM unnest(string_to_array($1::text, ',')) AS t
WHERE NOT (has_table_privilege(t, 'SELECT') AND has_table_privilege(t, 'INSERT') AND has_table_privilege(t, 'UPDATE')
  AND has_table_privilege(t, 'DELETE'))`;
  const lacking = (await queries.once(sql, [tables.join(",")])).map(([table]) => table);
  if (lacking.length === 0) return;
  throw new IdempotencyError(
    "store_inaccessible",
    `The role ${role} may not use ${lacking.join(", ")}. GRANT SELECT, INSERT, UPDATE, DELETE ON ${lacking.join(", ")} TO "${role}".`,
  );
}

/** What the server's settings promise (https://www.postgresql.org/docs/current/wal-reliability.html). */
function durabilityOf({ settings }: Server, warn: (message: string) => void): Durability {
  const lossy = Object.entries(settings).filter(([, value]) => value === "off");
  if (lossy.length === 0) return "power-loss";
  const what = lossy.map(([name]) => `${name} = off`).join(", ");
  const loss =
    settings.fsync === "off" || settings.full_page_writes === "off" ? "all that it holds" : "its last commits";
  warn(
    `the server runs with ${what}: where it crashes it may lose ${loss}, and what was lost may run twice. Set it to on.`,
  );
  return "crash";
}

const FIXES: Readonly<Record<string, string>> = {
  "28P01": "Its user or password is wrong: set the right ones in the pool's options",
  "28000": "It does not let this user in: look at its pg_hba.conf and at the pool's `ssl`",
  "3D000": "Create the database, or name another",
  "3F000": "Create the schema, or name another by `schema`",
  "42501": "Grant the role what it lacks, or run the statements of postgresSchema() as its owner",
  "53300": "Raise max_connections, or lower the pools' sizes",
  "57P03": "It is starting or stopping: try again soon",
  ECONNREFUSED: "Start the server, or set the right host and port",
  ENOTFOUND: "Set the right host",
};

function unreachable(error: unknown): IdempotencyError {
  const { code, errors } = error as { readonly code?: string; readonly errors?: readonly { readonly code?: string }[] };
  const fix = FIXES[code ?? errors?.[0]?.code ?? ""] ?? "See that the server runs and the pool's options are right";
  const message = error instanceof Error ? error.message || String(code) : String(error);
  return new IdempotencyError(
    "store_inaccessible",
    `The PostgreSQL database cannot be used (${withoutPasswords(message)}). ${fix}.`,
    { cause: error },
  );
}
