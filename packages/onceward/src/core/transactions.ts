// The writes of an operation and its recorded answer in one database transaction: what a store and a database offer for it.

import type { Answer, Fence, RecordId } from "./record.js";

/** How a database writes its SQL, its placeholders included. */
export type SqlDialect = "postgres" | "mysql" | "sqlite";

/** One statement and its bound values. Placeholders are $1 … $n (`postgres`) or ? (`mysql`, `sqlite`). */
export interface SqlStatement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** A store whose records live in a database in which an operation can have a transaction of its own (SPEC §7.1). */
export interface StoreTransactions {
  readonly dialect: SqlDialect;
  /**
   * The one statement that records `answer`, run as the last of a transaction of the caller's: running or unknown →
   * done. It changes exactly one row, or none where the fence no longer holds or the record is done already: then the
   * caller rolls back. It is judged by the database's clock, and every statement is for one run.
   */
  completion(id: RecordId, fence: Fence, answer: Answer): SqlStatement;
}

/** A database that can run a function in a transaction of its own. `Tx` is what the function is given. */
export interface Transactions<Tx> {
  readonly dialect: SqlDialect;
  /** Whether the function must return without waiting, as on SQLite, whose connection has one transaction at a time. */
  readonly synchronous: boolean;
  /**
   * Begins, runs `work`, runs the statement that `last` makes of its value, and commits if that changed exactly one row
   * (or if `last` is null: a request without a key). Does not reject: the result tells what is certain.
   */
  run<T>(work: (tx: Tx) => T | Promise<T>, last: ((value: T) => SqlStatement) | null): Promise<TransactionResult<T>>;
}

/** What is certain of a transaction. */
export type TransactionResult<T> =
  | { readonly outcome: "committed"; readonly value: T }
  /** The last statement changed no row: rolled back. */
  | { readonly outcome: "lost" }
  /** Could not begin, or the work or the last statement threw: rolled back, nothing took effect. */
  | { readonly outcome: "failed"; readonly error: unknown }
  /** The word on the COMMIT was lost: it may or may not have taken effect. */
  | { readonly outcome: "unknown"; readonly error: unknown };

/**
 * Why operations cannot have transactions with this store, as a sentence with the fix; null where they can (SPEC §7.1).
 * Where the user said that they are to, the store is refused at start.
 */
export function lacksTransactions({
  info,
  transactions,
}: {
  readonly info: { readonly name: string };
  readonly transactions?: StoreTransactions;
}): string | null {
  if (transactions !== undefined) return null;
  const fix =
    info.name === "sqlite"
      ? "give sqliteStore the `database` that your operations write to, instead of a `path`"
      : "keep the records in the PostgreSQL, MySQL or SQLite database that your operations write to";
  return `the ${info.name} store's records are in no database in which an operation could have a transaction: ${fix}`;
}
