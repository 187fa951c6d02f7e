// The three databases behind one shape: a store, transactions, and the ledger of an operation.
import { DatabaseSync } from "@photostructure/sqlite";
import mysql from "mysql2/promise";
import { mysqlStore } from "onceward/stores/mysql";
import { postgresStore } from "onceward/stores/postgres";
import { sqliteStore } from "onceward/stores/sqlite";
import { mysqlTransactions, pgTransactions, sqliteTransactions } from "onceward/transactions";
import pg from "pg";

const quiet = { onWarning() {} };

/** `lay` puts the fuse into what runs statements. Each writes two rows of an effect: twice, they would differ or collide. */
export const DATABASES = {
  postgres(url, lay) {
    const pool = new pg.Pool({ connectionString: url, max: 8 });
    pool.on("error", () => {});
    pool.on("connect", (client) => lay(client, ["query"]));
    return {
      store: postgresStore({ client: pool, ...quiet }),
      transactions: pgTransactions(pool),
      async write(client, key, effect) {
        await client.query("INSERT INTO ledger (k, effect) VALUES ($1, $2)", [key, effect]);
        await client.query("UPDATE total SET amount = amount + 1");
      },
      query: async (sql) => (await pool.query(sql)).rows,
      end: () => pool.end(),
    };
  },
  mysql(url, lay) {
    const pool = mysql.createPool({ uri: url, connectionLimit: 8 });
    const laid = new WeakSet();
    const getConnection = pool.getConnection.bind(pool);
    pool.getConnection = async () => {
      const connection = await getConnection();
      const inner = connection.connection ?? connection;
      if (laid.has(inner)) return connection;
      laid.add(inner);
      lay(inner, ["query"]);
      return connection;
    };
    return {
      store: mysqlStore({ pool, ...quiet }),
      transactions: mysqlTransactions(pool),
      async write(connection, key, effect) {
        await connection.query("INSERT INTO ledger (k, effect) VALUES (?, ?)", [key, effect]);
        await connection.query("UPDATE total SET amount = amount + 1");
      },
      query: async (sql) => (await pool.query(sql))[0],
      end: () => pool.end(),
    };
  },
  sqlite(path, lay) {
    const db = new DatabaseSync(path);
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000");
    const prepare = db.prepare.bind(db);
    Object.defineProperty(db, "prepare", { value: (sql) => lay(prepare(sql), ["run", "get", "all"]) });
    lay(db, ["exec"]);
    return {
      store: sqliteStore({ database: db }),
      transactions: sqliteTransactions(db),
      write(database, key, effect) {
        database.prepare("INSERT INTO ledger (k, effect) VALUES (?, ?)").run(key, effect);
        database.prepare("UPDATE total SET amount = amount + 1").run();
      },
      query: async (sql) => db.prepare(sql).all(),
      end: async () => db.close(),
    };
  },
};

/** Rows of the ledger are not unique on purpose: a second effect is to be seen, not to be refused. */
export const LEDGER = [
  "CREATE TABLE ledger (k VARCHAR(200) NOT NULL, effect VARCHAR(200) NOT NULL)",
  "CREATE TABLE total (amount INTEGER NOT NULL)",
  "INSERT INTO total VALUES (0)",
];
