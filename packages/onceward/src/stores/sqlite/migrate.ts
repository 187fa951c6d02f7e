// Brings a database to the schema of this version, or refuses one that it does not know.

import { IdempotencyError } from "../../core/errors.js";
import type { SqliteDatabaseLike, SqlRow } from "./driver.js";
import { APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION } from "./schema.js";
import { readNumber } from "./text.js";

/** How a database says what it is: a file of our own by its header, a user's database by our tables alone. */
export type Ownership = "file" | "tables";

/** Reads one value of one row. */
export function readValue(database: SqliteDatabaseLike, sql: string): number | string | null {
  const row = database.prepare(sql).get() as SqlRow | undefined;
  const value = row === undefined ? null : (Object.values(row)[0] ?? null);
  if (value instanceof Uint8Array) throw new TypeError(`"${sql}" answered bytes.`);
  return typeof value === "bigint" ? Number(value) : value;
}

/** The schema's version, 0 where there is none; refuses what is foreign, damaged or newer. Writes nothing. */
export function checkedVersion(database: SqliteDatabaseLike, ownership: Ownership, place: string): number {
  const tables = Number(
    readValue(database, "SELECT count(*) FROM sqlite_master WHERE name = 'onceward_schema' AND type = 'table'"),
  );
  if (ownership === "file") {
    const applicationId = Number(readValue(database, "PRAGMA application_id"));
    const objects = Number(readValue(database, "SELECT count(*) FROM sqlite_master"));
    if (applicationId === 0 && objects === 0) return 0;
    if (applicationId !== APPLICATION_ID) throw foreign(place);
  }
  const inFile = ownership === "file" ? Number(readValue(database, "PRAGMA user_version")) : null;
  if (tables === 0 && inFile === null) return 0;
  if (inFile !== null && inFile > SCHEMA_VERSION) throw newer(place, inFile);
  const version = tables === 0 ? 0 : Number(readValue(database, "SELECT version FROM onceward_schema"));
  if (version > SCHEMA_VERSION) throw newer(place, version);
  if (version < 1 || (inFile !== null && inFile !== version)) {
    throw new IdempotencyError(
      "store_corrupt",
      `${place} has Onceward's mark but not its tables, and was left as it is. Restore it from a backup, or move it ` +
        "away for the store to begin anew (keys that it held may then run again).",
    );
  }
  return version;
}

export function foreign(place: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "store_foreign",
    `${place} is the SQLite database of another program and was left as it is. ` +
      "Give the store a path of its own; it makes the file.",
    { cause },
  );
}

function newer(place: string, version: number): IdempotencyError {
  return new IdempotencyError(
    "store_schema_newer",
    `${place} was written by a newer version of Onceward (schema ${version}; this one knows up to ` +
      `${SCHEMA_VERSION}) and was left as it is. Use that version or a later one.`,
    { details: { found: version, known: SCHEMA_VERSION } },
  );
}

/** Runs the migrations that are missing, all in one transaction, and answers whether there were any. */
export function migrate(database: SqliteDatabaseLike, ownership: Ownership, place: string): boolean {
  if (checkedVersion(database, ownership, place) === SCHEMA_VERSION) return false;
  database.exec("BEGIN IMMEDIATE");
  try {
    // Read again, since another process may have migrated it while this one waited for the lock.
    const version = checkedVersion(database, ownership, place);
    for (const migration of MIGRATIONS.slice(version)) database.exec(migration);
    database.exec(`UPDATE onceward_schema SET version = ${SCHEMA_VERSION}`);
    if (ownership === "file") {
      database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    }
    database.exec("COMMIT");
    return version < SCHEMA_VERSION;
  } catch (error) {
    database.exec("ROLLBACK");
    throw error;
  }
}

/** Whether the columns that this version reads are there; a migration that was tampered with is told apart here. */
export function assertReadable(database: SqliteDatabaseLike): void {
  for (const table of ["accounts", "records", "shared", "runs", "audit"]) {
    readNumber(readValue(database, `SELECT count(*) FROM (SELECT 1 FROM onceward_${table} LIMIT 1)`));
  }
}
