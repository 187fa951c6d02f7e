// Transactions of Drizzle.

import type { SqlDialect, Transactions } from "../core/transactions.js";
import { changedRows } from "./changed-rows.js";
import { runManaged } from "./managed.js";

/** A transaction of Drizzle. */
export interface DrizzleTransactionLike {
  execute(query: never): PromiseLike<unknown>;
}

/** A database of Drizzle. */
export interface DrizzleLike<Tx extends DrizzleTransactionLike> {
  transaction<T>(run: (transaction: Tx) => Promise<T>): Promise<T>;
}

/** `sql` of drizzle-orm, by which statements with values are made. */
export interface DrizzleSqlLike {
  raw(text: string): unknown;
  param(value: unknown): unknown;
  join(chunks: never[]): unknown;
}

/**
 * Transactions of Drizzle, over PostgreSQL or MySQL/MariaDB (SPEC §7.1). The function gets Drizzle's transaction.
 *
 * @param tools `sql` is drizzle-orm's own.
 */
export function drizzleTransactions<Tx extends DrizzleTransactionLike>(
  database: DrizzleLike<Tx>,
  { sql, dialect }: { readonly sql: DrizzleSqlLike; readonly dialect: Exclude<SqlDialect, "sqlite"> },
): Transactions<Tx> {
  const placeholder = dialect === "postgres" ? /\$(\d+)/ : /(\?)/;
  return {
    dialect,
    synchronous: false,
    run(work, last) {
      return runManaged(
        {
          begin: (run: (transaction: Tx) => Promise<void>) => database.transaction(run),
          execute: async (transaction, { text, values }) => {
            // Split at a pattern with a group, the odd pieces are what the group matched: a number of $n, or the mark.
            let next = 0;
            const chunks = text.split(placeholder).map((piece, index) => {
              if (index % 2 === 0) return sql.raw(piece);
              return sql.param(values[piece === "?" ? next++ : Number(piece) - 1]);
            });
            return changedRows(await transaction.execute(sql.join(chunks as never[]) as never));
          },
        },
        work,
        last,
      );
    },
  };
}
