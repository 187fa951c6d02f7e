// A transaction whose commit a library does: it commits when its function resolves and rolls back when that rejects.

import type { SqlStatement, TransactionResult } from "../core/transactions.js";

export interface ManagedTransaction<Tx> {
  /** Runs the function in a transaction; rejects with what it rejected with, rolled back, or with what the commit did. */
  begin(run: (tx: Tx) => Promise<void>): Promise<unknown>;
  /** Runs a statement in the transaction and answers how many rows it changed. */
  execute(tx: Tx, statement: SqlStatement): Promise<number>;
  /** Whether an error of the commit is the server's own word that it rolled back. Default: never. */
  rolledBack?(error: unknown): boolean;
}

/** See {@link Transactions.run}. */
export async function runManaged<Tx, T>(
  transaction: ManagedTransaction<Tx>,
  work: (tx: Tx) => T | Promise<T>,
  last: ((value: T) => SqlStatement) | null,
): Promise<TransactionResult<T>> {
  // Set anew each time the function begins, since some libraries repeat it after a conflict.
  let outcome: { value: T; changed: number } | null = null;
  try {
    await transaction.begin(async (tx) => {
      outcome = null;
      const value = await work(tx);
      const changed = last === null ? 1 : await transaction.execute(tx, last(value));
      outcome = { value, changed };
      if (changed !== 1) throw new RolledBack();
    });
  } catch (error) {
    const reached = outcome as { value: T; changed: number } | null;
    if (reached === null) return { outcome: "failed", error };
    if (reached.changed !== 1) return { outcome: "lost" };
    // All was done but the commit, and its word is an error: only the server's own says that nothing took effect.
    return transaction.rolledBack?.(error) ? { outcome: "failed", error } : { outcome: "unknown", error };
  }
  const reached = outcome as { value: T; changed: number } | null;
  if (reached === null) {
    return { outcome: "failed", error: new Error("The transaction ended without running its function to the end.") };
  }
  return { outcome: "committed", value: reached.value };
}

/** Makes the library roll back; never seen outside. */
class RolledBack extends Error {
  constructor() {
    super("the claim was lost, so the transaction is rolled back");
  }
}
