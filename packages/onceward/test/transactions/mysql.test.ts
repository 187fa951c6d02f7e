// Transactions of mysql2, mariadb, Drizzle and Kysely on a real MariaDB (SPEC §7.1).

import { lookUp, MARIADB, type PrivateServer, startMariadb } from "@onceward/services";
import { sql as drizzleSql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/mysql2";
import { Kysely, MysqlDialect } from "kysely";
import * as mariadb from "mariadb";
import { createPool } from "mysql2";
import mysql from "mysql2/promise";
import { afterAll, beforeAll, describe } from "vitest";
import { drizzleTransactions, kyselyTransactions, mysqlTransactions } from "../../src/transactions/index.js";
import { TABLES, transactionCases } from "./kit.js";

interface Tables {
  ledger: { k: string };
}

const source = lookUp(MARIADB, { ...process.env, [MARIADB.variable]: "" });
if (source.kind === "missing") console.error(source.reason);

describe.skipIf(source.kind === "missing")("transactions on MariaDB", () => {
  let server: PrivateServer;
  let pool: mysql.Pool;
  let other: mariadb.Pool;
  let kysely: Kysely<Tables>;

  beforeAll(async () => {
    server = await startMariadb();
    pool = mysql.createPool({ uri: server.url, connectionLimit: 5 });
    other = mariadb.createPool({ host: server.host, port: server.port, user: "root", database: "test" });
    kysely = new Kysely({ dialect: new MysqlDialect({ pool: createPool({ uri: server.url, connectionLimit: 5 }) }) });
    await pool.query("CREATE TABLE ledger (id INTEGER AUTO_INCREMENT PRIMARY KEY, k VARCHAR(100) NOT NULL)");
    for (const statement of TABLES.slice(1)) await pool.query(statement);
  }, 60_000);

  afterAll(async () => {
    await kysely.destroy();
    await pool.end();
    await other.end();
    await server.remove();
  });

  const keys = async (): Promise<string[]> => {
    const [rows] = await pool.query<mysql.RowDataPacket[]>("SELECT k FROM ledger ORDER BY id");
    return rows.map((row) => row["k"]);
  };

  describe("of mysql2", () => {
    transactionCases(() => ({
      transactions: mysqlTransactions(pool),
      insert: (tx, key) => tx.query("INSERT INTO ledger (k) VALUES (?)", [key]),
      keys,
    }));
  });

  describe("of mariadb", () => {
    transactionCases(() => ({
      transactions: mysqlTransactions(other),
      insert: (tx, key) => tx.query("INSERT INTO ledger (k) VALUES (?)", [key]),
      keys,
    }));
  });

  describe("of Drizzle", () => {
    transactionCases(() => ({
      transactions: drizzleTransactions(drizzle(pool), { sql: drizzleSql, dialect: "mysql" }),
      insert: (tx, key) => tx.execute(drizzleSql`INSERT INTO ledger (k) VALUES (${key})`),
      keys,
    }));
  });

  describe("of Kysely", () => {
    transactionCases(() => ({
      transactions: kyselyTransactions(kysely, { dialect: "mysql" }),
      insert: (tx, key) => tx.insertInto("ledger").values({ k: key }).execute(),
      keys,
    }));
  });
});
