// Transactions on postgres.js.

import type { Transactions } from "../core/transactions.js";
import { changedRows } from "./changed-rows.js";
import { runManaged } from "./managed.js";
import { isPostgresError } from "./postgres-errors.js";

/** postgres.js' `sql` within a transaction. */
export interface PostgresJsTransactionLike {
  unsafe(query: string, parameters?: never[]): PromiseLike<unknown>;
}

/** postgres.js' `sql`. */
export interface PostgresJsLike<Tx extends PostgresJsTransactionLike> {
  begin(options: string, run: (sql: Tx) => unknown): Promise<unknown>;
}

/** Transactions of postgres.js (SPEC §7.1). The function gets `sql` of the transaction. */
export function postgresJsTransactions<Tx extends PostgresJsTransactionLike>(
  sql: PostgresJsLike<Tx>,
  { isolation = "read committed" }: { readonly isolation?: "read committed" | "repeatable read" | "serializable" } = {},
): Transactions<Tx> {
  return {
    dialect: "postgres",
    synchronous: false,
    run(work, last) {
      return runManaged(
        {
          begin: (run: (transaction: Tx) => Promise<void>) => sql.begin(`isolation level ${isolation}`, run),
          execute: async (transaction, { text, values }) =>
            changedRows(await transaction.unsafe(text, [...values] as never[])),
          rolledBack: isPostgresError,
        },
        work,
        last,
      );
    },
  };
}
