// Transactions of Kysely.

import type { SqlDialect, Transactions } from "../core/transactions.js";
import { changedRows } from "./changed-rows.js";
import { runManaged } from "./managed.js";

/** A transaction of Kysely, which runs what has been compiled. */
export interface KyselyTransactionLike {
  executeQuery(query: never): Promise<unknown>;
}

/** An instance of Kysely. */
export interface KyselyLike<Tx extends KyselyTransactionLike> {
  transaction(): { execute<T>(run: (transaction: Tx) => Promise<T>): Promise<T> };
}

/** Transactions of Kysely, over PostgreSQL or MySQL/MariaDB (SPEC §7.1). The function gets Kysely's transaction. */
export function kyselyTransactions<Tx extends KyselyTransactionLike>(
  kysely: KyselyLike<Tx>,
  { dialect }: { readonly dialect: Exclude<SqlDialect, "sqlite"> },
): Transactions<Tx> {
  return {
    dialect,
    synchronous: false,
    run(work, last) {
      return runManaged(
        {
          begin: (run: (transaction: Tx) => Promise<void>) => kysely.transaction().execute(run),
          execute: async (transaction, { text, values }) =>
            changedRows(await transaction.executeQuery(compiled(text, values) as never)),
        },
        work,
        last,
      );
    },
  };
}

/** As `CompiledQuery.raw` of Kysely makes it. */
function compiled(sql: string, parameters: readonly unknown[]): object {
  const query = { kind: "RawNode", sqlFragments: [sql], parameters: [] };
  return { sql, parameters, query, queryId: { queryId: crypto.randomUUID() } };
}
