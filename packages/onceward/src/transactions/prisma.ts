// Transactions of Prisma.

import type { SqlDialect, Transactions } from "../core/transactions.js";
import { runManaged } from "./managed.js";

/** What Prisma gives the function of an interactive transaction. */
export interface PrismaTransactionLike {
  $executeRawUnsafe(query: string, ...values: never[]): PromiseLike<number>;
}

/** A Prisma client. */
export interface PrismaLike<Tx extends PrismaTransactionLike> {
  $transaction<T>(run: (transaction: Tx) => Promise<T>, options?: { timeout?: number; maxWait?: number }): Promise<T>;
}

export interface PrismaTransactionsOptions {
  readonly dialect: Exclude<SqlDialect, "sqlite">;
  /** Longest that a transaction may take, in milliseconds. Default Prisma's 5,000. */
  readonly timeoutMs?: number;
}

/** Interactive transactions of Prisma, over PostgreSQL or MySQL/MariaDB (SPEC §7.1). */
export function prismaTransactions<Tx extends PrismaTransactionLike>(
  prisma: PrismaLike<Tx>,
  { dialect, timeoutMs }: PrismaTransactionsOptions,
): Transactions<Tx> {
  const options = timeoutMs === undefined ? {} : { timeout: timeoutMs };
  return {
    dialect,
    synchronous: false,
    run(work, last) {
      return runManaged(
        {
          begin: (run: (transaction: Tx) => Promise<void>) => prisma.$transaction(run, options),
          execute: async (transaction, { text, values }) =>
            transaction.$executeRawUnsafe(text, ...(values as readonly never[])),
        },
        work,
        last,
      );
    },
  };
}
