// Transactions on a connection of SQLite, within which nothing waits.

import type { SqlStatement, TransactionResult, Transactions } from "../core/transactions.js";

/** A database of better-sqlite3, node:sqlite or @photostructure/sqlite. */
export interface SqliteDatabaseLike {
  exec(sql: string): unknown;
  prepare(sql: string): { run(...values: never[]): { readonly changes: number | bigint } };
}

/**
 * Transactions on the connection that `sqliteStore({ database })` has too (SPEC §7.1). A connection has one transaction
 * at a time and other requests share it, so the function must not wait: it returns its answer, not a promise.
 */
export function sqliteTransactions<Database extends SqliteDatabaseLike>(database: Database): Transactions<Database> {
  return {
    dialect: "sqlite",
    synchronous: true,
    run: async (work, last) => runSynchronously(database, work, last),
  };
}

function runSynchronously<Database extends SqliteDatabaseLike, T>(
  database: Database,
  work: (database: Database) => T | Promise<T>,
  last: ((value: T) => SqlStatement) | null,
): TransactionResult<T> {
  try {
    database.exec("BEGIN IMMEDIATE");
  } catch (error) {
    return { outcome: "failed", error };
  }
  let value: T;
  try {
    value = waited(work(database));
    if (last !== null && changesOf(database, last(value)) !== 1) {
      database.exec("ROLLBACK");
      return { outcome: "lost" };
    }
  } catch (error) {
    rollBack(database);
    return { outcome: "failed", error };
  }
  try {
    database.exec("COMMIT");
  } catch (error) {
    // Still in its transaction, it took no effect; else SQLite has rolled back by itself, or has committed.
    return rollBack(database) ? { outcome: "failed", error } : { outcome: "unknown", error };
  }
  return { outcome: "committed", value };
}

function changesOf(database: SqliteDatabaseLike, { text, values }: SqlStatement): number {
  return Number(database.prepare(text).run(...(values as readonly never[])).changes);
}

/** Whether there was a transaction to roll back. */
function rollBack(database: SqliteDatabaseLike): boolean {
  try {
    database.exec("ROLLBACK");
    return true;
  } catch {
    return false;
  }
}

function waited<T>(value: T | Promise<T>): T {
  if (typeof (value as { then?: unknown } | null)?.then !== "function") return value as T;
  // Whatever it goes on to do is outside of the transaction, and what it ends with is nobody's.
  (value as Promise<T>).then(undefined, () => {});
  throw new TypeError(
    "The function of a transaction on SQLite returned a promise. It must not wait: do what waits before or after transaction(), and return the answer itself.",
  );
}
