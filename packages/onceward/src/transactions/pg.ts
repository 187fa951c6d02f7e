// Transactions on a pool of node-postgres.

import type { Transactions } from "../core/transactions.js";
import { runManaged } from "./managed.js";
import { isPostgresError } from "./postgres-errors.js";

/** A connection that a pool lends: pg's `PoolClient`. */
export interface PgClientLike {
  query(text: string, values?: unknown[]): Promise<{ readonly rowCount: number | null }>;
  release(error?: Error | boolean): void;
  on(event: "error", listener: () => void): unknown;
  off(event: "error", listener: () => void): unknown;
}

/** pg's `Pool`. */
export interface PgPoolLike {
  connect(): Promise<PgClientLike>;
}

/** What the pool lends; the second signature stands for the one with a callback. */
type ClientOf<Pool> = Pool extends { connect: { (): Promise<infer Client>; (callback: never): unknown } }
  ? Client
  : PgClientLike;

export interface PgTransactionsOptions {
  /** Default `read committed`. Under the others a conflict fails the operation, which nobody repeats but its client. */
  readonly isolation?: "read committed" | "repeatable read" | "serializable";
}

/**
 * Transactions on a pool of pg, each on a connection of its own (SPEC §7.1). The function gets the connection, whose
 * `query` is within the transaction; `drizzle(client)` or Kysely on it work as well.
 */
export function pgTransactions<Pool extends PgPoolLike>(
  pool: Pool,
  { isolation = "read committed" }: PgTransactionsOptions = {},
): Transactions<ClientOf<Pool>> {
  return {
    dialect: "postgres",
    synchronous: false,
    run(work, last) {
      return runManaged(
        {
          begin: (run) => onConnection(pool, isolation, run as (client: PgClientLike) => Promise<void>),
          execute: async (client, { text, values }) =>
            (await (client as PgClientLike).query(text, [...values])).rowCount ?? 0,
          rolledBack: isPostgresError,
        },
        work,
        last,
      );
    },
  };
}

async function onConnection(
  pool: PgPoolLike,
  isolation: string,
  run: (client: PgClientLike) => Promise<void>,
): Promise<void> {
  const client = await pool.connect();
  // A connection that breaks says so twice: to the query under way, and as an event that would end the process.
  client.on("error", ignore);
  let broken = true;
  try {
    await client.query(`BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}`);
    try {
      await run(client);
    } catch (error) {
      // Where even that fails the connection is closed, and the server rolls back.
      await client.query("ROLLBACK").then(
        () => (broken = false),
        () => {},
      );
      throw error;
    }
    await client.query("COMMIT");
    broken = false;
  } finally {
    if (!broken) client.off("error", ignore);
    // A connection whose transaction may still be open is closed, which ends it.
    client.release(broken);
  }
}

function ignore(): void {}
