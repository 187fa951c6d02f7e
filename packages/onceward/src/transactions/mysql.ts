// Transactions on pools of mysql2 and of MariaDB's connector.

import type { Transactions } from "../core/transactions.js";
import { changedRows } from "./changed-rows.js";
import { runManaged } from "./managed.js";

/** A connection of a pool of `mysql2/promise` or of `mariadb`. */
export interface MysqlConnectionLike {
  query(sql: string, values?: unknown): Promise<unknown>;
  beginTransaction(): Promise<unknown>;
  commit(): Promise<unknown>;
  rollback(): Promise<unknown>;
  release(): unknown;
  destroy(): unknown;
}

/** A pool of `mysql2/promise` or of `mariadb`. */
export interface MysqlPoolLike<Connection extends MysqlConnectionLike> {
  getConnection(): Promise<Connection>;
}

/**
 * Transactions on a pool of `mysql2/promise` or of `mariadb`, each on a connection of its own (SPEC §7.1). The function
 * gets the connection. Statements that commit by themselves (ALTER TABLE and other DDL) have no place in it.
 */
export function mysqlTransactions<Connection extends MysqlConnectionLike>(
  pool: MysqlPoolLike<Connection>,
): Transactions<Connection> {
  return {
    dialect: "mysql",
    synchronous: false,
    run(work, last) {
      return runManaged(
        {
          begin: (run: (connection: Connection) => Promise<void>) => onConnection(pool, run),
          execute: async (connection, { text, values }) => changedRows(await connection.query(text, [...values])),
          rolledBack: isDeadlock,
        },
        work,
        last,
      );
    },
  };
}

async function onConnection<Connection extends MysqlConnectionLike>(
  pool: MysqlPoolLike<Connection>,
  run: (connection: Connection) => Promise<void>,
): Promise<void> {
  const connection = await pool.getConnection();
  let broken = true;
  try {
    await connection.beginTransaction();
    try {
      await run(connection);
    } catch (error) {
      // Where even that fails the connection is closed, and the server rolls back.
      await connection.rollback().then(
        () => (broken = false),
        () => {},
      );
      throw error;
    }
    await connection.commit();
    broken = false;
  } finally {
    if (broken) connection.destroy();
    else connection.release();
  }
}

/** ER_LOCK_DEADLOCK, which Galera also answers a commit with that another node's beat: the server has rolled back. */
function isDeadlock(error: unknown): boolean {
  return (error as { readonly errno?: unknown } | null)?.errno === 1213;
}
