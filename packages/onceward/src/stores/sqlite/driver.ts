// The SQLite that a store runs on: Node's own where it has one, else the package with the same interface.

import { IdempotencyError } from "../../core/errors.js";

/** A value that is bound or read. */
export type SqlValue = string | number | bigint | null | Uint8Array;

/** One row by column name. */
export type SqlRow = Readonly<Record<string, SqlValue>>;

/** A prepared statement of `node:sqlite`, `@photostructure/sqlite`, better-sqlite3 or libsql. */
export interface SqliteStatementLike {
  run(...parameters: SqlValue[]): { readonly changes: number | bigint };
  get(...parameters: SqlValue[]): unknown;
  all(...parameters: SqlValue[]): unknown[];
}

/** A database of `node:sqlite`, `@photostructure/sqlite`, better-sqlite3 or libsql. */
export interface SqliteDatabaseLike {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatementLike;
}

/** A database that we opened ourselves and close again. */
export interface OwnedDatabase extends SqliteDatabaseLike {
  close(): void;
}

/** Opens a file. */
export type OpenFile = (path: string, options: { readonly readOnly: boolean }) => OwnedDatabase;

interface DriverModule {
  readonly DatabaseSync: new (path: string, options: { readonly readOnly: boolean }) => OwnedDatabase;
}

/** Node's own SQLite, or the package that stands in for it. */
export async function loadDriver(): Promise<OpenFile> {
  const { DatabaseSync } = builtinDriver() ?? (await packagedDriver());
  return (path, options) => new DatabaseSync(path, options);
}

function builtinDriver(): DriverModule | undefined {
  const load = process.getBuiltinModule as ((id: string) => unknown) | undefined;
  const emitWarning = process.emitWarning;
  // Node 22 to 24 warn that this module is experimental. What is used of it here has not changed since it appeared, and
  // a warning that an operator can do nothing about hides others. Only this one is left out, and only in our thread.
  process.emitWarning = ((warning: string | Error, ...rest: unknown[]) => {
    if (String(warning).startsWith("SQLite is an experimental feature")) return;
    Reflect.apply(emitWarning, process, [warning, ...rest]);
  }) as typeof process.emitWarning;
  try {
    return load?.("node:sqlite") as DriverModule | undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}

async function packagedDriver(): Promise<DriverModule> {
  try {
    return (await import("@photostructure/sqlite")) as unknown as DriverModule;
  } catch (cause) {
    throw new IdempotencyError(
      "store_unsuitable",
      `Node ${process.version} has no SQLite of its own, and the package that stands in for it cannot be loaded ` +
        "(use Node 22.13 or later, or: npm install @photostructure/sqlite).",
      { cause },
    );
  }
}

/** The name of SQLite's result code, without the detail of extended codes, such as `BUSY`; null where it is none. */
export function sqliteCode(error: unknown): SqliteCode | null {
  if (typeof error !== "object" || error === null) return null;
  const { errcode, code } = error as { readonly errcode?: unknown; readonly code?: unknown };
  if (typeof errcode === "number") return CODES[errcode & 0xff] ?? "ERROR";
  // better-sqlite3 and libsql give names, such as SQLITE_BUSY_SNAPSHOT.
  const name = typeof code === "string" ? /^SQLITE_([A-Z]+)/.exec(code)?.[1] : undefined;
  if (name === undefined) return null;
  return Object.values(CODES).find((known) => known === name) ?? "ERROR";
}

type SqliteCode =
  | "ERROR"
  | "BUSY"
  | "LOCKED"
  | "NOMEM"
  | "READONLY"
  | "IOERR"
  | "CORRUPT"
  | "FULL"
  | "CANTOPEN"
  | "TOOBIG"
  | "CONSTRAINT"
  | "NOTADB";

/** https://sqlite.org/rescode.html */
const CODES: Readonly<Record<number, SqliteCode>> = {
  5: "BUSY",
  6: "LOCKED",
  7: "NOMEM",
  8: "READONLY",
  10: "IOERR",
  11: "CORRUPT",
  13: "FULL",
  14: "CANTOPEN",
  18: "TOOBIG",
  19: "CONSTRAINT",
  26: "NOTADB",
};
