// Compiled, not run: each client gives its own transaction to the function, without a cast (issue 4, types).

import { sql } from "drizzle-orm";
import type { MySql2Database } from "drizzle-orm/mysql2";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import type { Kysely } from "kysely";
import type * as mariadb from "mariadb";
import type mysql from "mysql2/promise";
import type pg from "pg";
import type { Sql } from "postgres";
import type { Transactions } from "../../src/core/transactions.js";
import {
  drizzleTransactions,
  kyselyTransactions,
  mysqlTransactions,
  pgTransactions,
  postgresJsTransactions,
  sqliteTransactions,
} from "../../src/transactions/index.js";
import type { DatabaseSync } from "../stores/database.js";

interface Tables {
  ledger: { account: string; amount: number };
}

type GivenTo<T> = T extends Transactions<infer Tx> ? Tx : never;

/** Compiles only where the two types are the same. */
function same<A, B>(..._proof: [A] extends [B] ? ([B] extends [A] ? [] : [never]) : [never]): void {}

export function typesOfClients(clients: {
  pool: pg.Pool;
  postgres: Sql;
  drizzlePg: NodePgDatabase;
  drizzleMysql: MySql2Database;
  kysely: Kysely<Tables>;
  mysql2: mysql.Pool;
  mariadb: mariadb.Pool;
  sqlite: InstanceType<typeof DatabaseSync>;
}): void {
  const onPg = pgTransactions(clients.pool);
  same<GivenTo<typeof onPg>, pg.PoolClient>();
  void onPg.run(async (client) => (await client.query<{ amount: number }>("SELECT 1 AS amount")).rows[0]?.amount, null);

  const onPostgresJs = postgresJsTransactions(clients.postgres);
  void onPostgresJs.run(
    async (transaction) => (await transaction<{ amount: number }[]>`SELECT 1 AS amount`)[0]?.amount,
    null,
  );

  const onDrizzle = drizzleTransactions(clients.drizzlePg, { sql, dialect: "postgres" });
  void onDrizzle.run(async (tx) => tx.execute(sql`SELECT 1`), null);
  const onDrizzleMysql = drizzleTransactions(clients.drizzleMysql, { sql, dialect: "mysql" });
  void onDrizzleMysql.run(async (tx) => tx.execute(sql`SELECT 1`), null);

  const onKysely = kyselyTransactions(clients.kysely, { dialect: "postgres" });
  void onKysely.run(async (tx) => tx.selectFrom("ledger").select("amount").executeTakeFirst(), null);

  const onMysql2 = mysqlTransactions(clients.mysql2);
  same<GivenTo<typeof onMysql2>, mysql.PoolConnection>();
  const onMariadb = mysqlTransactions(clients.mariadb);
  same<GivenTo<typeof onMariadb>, mariadb.PoolConnection>();

  const onSqlite = sqliteTransactions(clients.sqlite);
  void onSqlite.run((database) => database.prepare("SELECT 1").get(), null);
}
