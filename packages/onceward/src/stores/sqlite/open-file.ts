// Opens the file of a store: looks before it touches, and says what is wrong and how to mend it.

import { accessSync, chmodSync, closeSync, constants, openSync, readSync, type Stats, statSync } from "node:fs";
import { dirname } from "node:path";
import { type ErrorCode, IdempotencyError, isIdempotencyError } from "../../core/errors.js";
import { type OpenFile, type OwnedDatabase, sqliteCode } from "./driver.js";
import { assertReadable, checkedVersion, foreign, migrate, readValue } from "./migrate.js";
import { APPLICATION_ID } from "./schema.js";

export interface OpenOptions {
  readonly path: string;
  readonly busyTimeoutMs: number;
  /** Bytes of pages kept in memory. */
  readonly cacheBytes: number;
  /** Pages of the write-ahead log after which it is written back. */
  readonly checkpointPages: number;
  /** Whether the file is made where it is missing; not when a store comes back after a fault. */
  readonly create: boolean;
  /** The largest size of the database in pages, for tests of a full disk; null for SQLite's own. */
  readonly maxPages: number | null;
}

/** Files up to this size are looked through at the start, since that takes no time anybody notices. */
const CHECKED_BYTES = 32 * 1024 * 1024;

/** Opens `path`, making, checking and migrating it. Rejects with an error that names the path and the remedy. */
export async function openFile(open: OpenFile, options: OpenOptions): Promise<OwnedDatabase> {
  const { path } = options;
  const place = `The file ${path}`;
  const exists = assertAccessible(path, options.create);
  try {
    if (exists && !hasUnfinishedCreation(path)) inspectOrRecover(open, path, place);
    const isNew = statOrNull(path) === null;
    return await retryWhileBusy(options.busyTimeoutMs, () => connect(open, options, place, isNew));
  } catch (error) {
    throw explained(error, path);
  }
}

function connect(open: OpenFile, options: OpenOptions, place: string, isNew: boolean): OwnedDatabase {
  const database = open(options.path, { readOnly: false });
  try {
    // Recorded answers are nobody else's to read. SQLite gives its log the mode of the database.
    if (isNew) chmodSync(options.path, 0o600);
    database.exec("PRAGMA busy_timeout = 100");
    database.exec("PRAGMA synchronous = FULL");
    // On macOS only this makes fsync reach the disk; elsewhere it changes nothing.
    database.exec("PRAGMA fullfsync = ON");
    database.exec(`PRAGMA cache_size = ${-Math.ceil(options.cacheBytes / 1024)}`);
    if (options.maxPages !== null) database.exec(`PRAGMA max_page_count = ${options.maxPages}`);
    // Before the first migration still without a log, so that the file's header tells whose it is from then on.
    const migrated = migrate(database, "file", place);
    const mode = readValue(database, "PRAGMA journal_mode = WAL");
    if (mode !== "wal") {
      throw new IdempotencyError(
        "store_inaccessible",
        `${place} is on a file system on which SQLite has no write-ahead log (it stays in mode "${mode}"). ` +
          "Use a local disk.",
      );
    }
    database.exec(`PRAGMA wal_autocheckpoint = ${options.checkpointPages}`);
    database.exec(`PRAGMA journal_size_limit = ${64 * 1024 * 1024}`);
    assertReadable(database);
    // So that the header's version is the schema's also for whoever looks at the file without its log.
    if (migrated) database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    // BEGIN is tried again by us (see batch.ts), in smaller steps than SQLite's.
    database.exec("PRAGMA busy_timeout = 0");
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Inspects a file, unless its process died in the middle of a transaction that a rollback journal would undo: such a file
 * cannot be read without writing. Where it bears our mark, connecting rolls it back.
 */
function inspectOrRecover(open: OpenFile, path: string, place: string): void {
  try {
    inspect(open, path, place);
  } catch (error) {
    if (sqliteCode(error) !== "READONLY" || statOrNull(`${path}-journal`) === null) throw error;
    if (markOf(path) !== APPLICATION_ID) throw foreign(place, error);
  }
}

/** The application id in a file's header (https://sqlite.org/fileformat.html#the_database_header). */
function markOf(path: string): number {
  const header = new Uint8Array(100);
  // Unlike in `inspect` no lock can get lost: while a journal waits to be rolled back nobody has the file open.
  const descriptor = openSync(path, "r");
  try {
    readSync(descriptor, header, 0, header.length, 0);
  } finally {
    closeSync(descriptor);
  }
  return new DataView(header.buffer).getUint32(68);
}

/** Looks at a file through a connection that cannot write, and refuses what is not ours or is damaged. */
function inspect(open: OpenFile, path: string, place: string): void {
  // Never with node:fs: closing any descriptor of a file drops all locks that this process has on it, including those
  // of its other SQLite connections (https://sqlite.org/howtocorrupt.html, 2.2). SQLite itself minds that.
  const database = open(path, { readOnly: true });
  try {
    database.exec("PRAGMA busy_timeout = 1000");
    const version = checkedVersion(database, "file", place);
    if (version === 0 || statSync(path).size > CHECKED_BYTES) return;
    const verdict = readValue(database, "PRAGMA quick_check(1)");
    if (verdict !== "ok") throw damaged(place, String(verdict));
  } finally {
    database.close();
  }
}

/**
 * Whether the file was being made when its process died: its rollback journal says that it was empty before. Such a
 * file cannot be inspected without writing, and there is nothing in it to lose.
 */
function hasUnfinishedCreation(path: string): boolean {
  const journal = `${path}-journal`;
  if (statOrNull(journal) === null) return false;
  const header = new Uint8Array(20);
  const descriptor = openSync(journal, "r");
  try {
    if (readSync(descriptor, header, 0, header.length, 0) < header.length) return statSync(path).size === 0;
  } finally {
    closeSync(descriptor);
  }
  // https://sqlite.org/fileformat.html#the_rollback_journal: the database's size in pages before the transaction.
  return new DataView(header.buffer).getUint32(16) === 0;
}

/** Refuses paths that cannot work, and answers whether the file is there. */
function assertAccessible(path: string, create: boolean): boolean {
  const inaccessible = (message: string) => new IdempotencyError("store_inaccessible", message, { details: { path } });
  const directory = dirname(path);
  const stats = statOrNull(directory);
  if (stats === null) {
    throw inaccessible(
      `The directory ${directory} for the store's file does not exist. Make it, or name another path.`,
    );
  }
  if (!stats.isDirectory()) throw inaccessible(`${directory} is not a directory, so ${path} cannot be made in it.`);
  const file = statOrNull(path);
  if (file?.isDirectory())
    throw inaccessible(`${path} is a directory. Name a file in it, such as ${path}/onceward.db.`);
  if (file !== null && !file.isFile()) throw inaccessible(`${path} is not a regular file. Name another path.`);
  if (file === null && !create) {
    throw inaccessible(`The file ${path} has gone while the store was open. Put it back, or start again.`);
  }
  for (const [target, what] of [
    [directory, "The directory"],
    [path, "The file"],
  ] as const) {
    if (target === path && file === null) continue;
    try {
      // Write-ahead log and shared memory are files beside the database, so the directory must be writable too.
      accessSync(target, constants.R_OK | constants.W_OK);
    } catch (cause) {
      throw new IdempotencyError(
        "store_inaccessible",
        `${what} ${target} cannot be read and written by this process's user. Change its owner or mode.`,
        { cause, details: { path } },
      );
    }
  }
  return file !== null && file.size > 0;
}

function statOrNull(path: string): Stats | null {
  try {
    return statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw explained(error, path);
  }
}

async function retryWhileBusy<T>(timeoutMs: number, attempt: () => T): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      if (sqliteCode(error) !== "BUSY" || performance.now() >= deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 20));
  }
}

function damaged(place: string, what: string, cause?: unknown): IdempotencyError {
  const message =
    `${place} is damaged (${what}) and was left as it is. Restore it from a backup; ` +
    "`sqlite3 FILE .recover` may rescue what is in it.";
  return new IdempotencyError("store_corrupt", message, { cause });
}

function explained(error: unknown, path: string): IdempotencyError {
  if (isIdempotencyError(error)) return error;
  const place = `The file ${path}`;
  const message = error instanceof Error ? error.message : String(error);
  const fail = (code: ErrorCode, text: string) => new IdempotencyError(code, text, { cause: error, details: { path } });
  switch (sqliteCode(error)) {
    case "NOTADB":
      return fail(
        "store_foreign",
        `${place} is not an SQLite database and was left as it is. Give the store a path of its own; it makes the file.`,
      );
    case "CORRUPT":
    case "ERROR":
      return damaged(place, message, error);
    case "BUSY":
    case "LOCKED":
      return fail("store_inaccessible", `${place} is locked by another program (${message}). End it and start again.`);
    case "FULL":
      return fail("store_inaccessible", `There is no room to make ${path} (${message}). Free some and start again.`);
    default:
      return fail("store_inaccessible", `${place} cannot be opened as the store (${message}).`);
  }
}
