// Transactions of pg, postgres.js, Drizzle and Kysely on a real PostgreSQL (SPEC §7.1).

import { type FaultProxy, faultProxy, lookUp, POSTGRES, type PrivateServer, startPostgres } from "@onceward/services";
import { sql as drizzleSql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import postgres, { type Sql } from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  drizzleTransactions,
  kyselyTransactions,
  pgTransactions,
  postgresJsTransactions,
} from "../../src/transactions/index.js";
import { last, TABLES, type TransactionPlace, transactionCases } from "./kit.js";

interface Tables {
  ledger: { k: string };
}

const source = lookUp(POSTGRES, { ...process.env, [POSTGRES.variable]: "" });
if (source.kind === "missing") console.error(source.reason);

describe.skipIf(source.kind === "missing")("transactions on PostgreSQL", () => {
  let server: PrivateServer;
  let proxy: FaultProxy;
  let pool: pg.Pool;
  let throughProxy: pg.Pool;
  let client: Sql;

  beforeAll(async () => {
    server = await startPostgres();
    proxy = await faultProxy(server);
    pool = new pg.Pool({ connectionString: server.url, max: 5 });
    throughProxy = new pg.Pool({ connectionString: proxy.through(server.url), max: 1 });
    throughProxy.on("error", () => {});
    client = postgres(server.url, { max: 5, onnotice() {} });
    for (const statement of TABLES) await pool.query(statement);
    await pool.query("CREATE TABLE later (k text UNIQUE DEFERRABLE INITIALLY DEFERRED)");
  }, 60_000);

  afterAll(async () => {
    await pool.end();
    await throughProxy.end();
    await client.end();
    await proxy.close();
    await server.remove();
  });

  const keys = async (): Promise<string[]> =>
    (await pool.query<{ k: string }>("SELECT k FROM ledger ORDER BY ctid")).rows.map(({ k }) => k);

  describe("of pg", () => {
    transactionCases(
      (): TransactionPlace<pg.PoolClient> => ({
        transactions: pgTransactions(pool),
        insert: (tx, key) => tx.query("INSERT INTO ledger VALUES ($1)", [key]),
        keys,
      }),
    );

    test("what the server itself refuses at the commit has failed for certain", async () => {
      const result = await pgTransactions(pool).run(
        async (tx) => void (await tx.query("INSERT INTO later VALUES ('a'), ('a')")),
        () => last("postgres", "mine"),
      );
      expect(result).toMatchObject({ outcome: "failed", error: { code: "23505" } });
    });

    test("where the word on the commit is lost it is unknown, whatever became of it", async () => {
      const before = await keys();
      const cut = await pgTransactions(cuttingAtCommit(throughProxy, proxy)).run(
        async (tx) => void (await tx.query("INSERT INTO ledger VALUES ('cut')")),
        () => last("postgres", "mine"),
      );
      expect(cut.outcome).toBe("unknown");
      expect((await keys()).slice(before.length)).toEqual(["cut"]);
    });

    test("a pool without a connection to give has failed, and nothing took effect", async () => {
      proxy.refuse();
      const result = await pgTransactions(throughProxy).run(
        () => "never",
        () => last("postgres", "mine"),
      );
      proxy.heal();
      expect(result.outcome).toBe("failed");
    });

    test("serializable: a conflict is told as failed", async () => {
      const strict = pgTransactions(pool, { isolation: "serializable" });
      const result = await strict.run(
        async (tx) =>
          (await tx.query<{ level: string }>("SELECT current_setting('transaction_isolation') AS level")).rows,
        null,
      );
      expect(result).toEqual({ outcome: "committed", value: [{ level: "serializable" }] });
    });
  });

  describe("of postgres.js", () => {
    transactionCases(() => ({
      transactions: postgresJsTransactions(client),
      insert: (tx, key) => tx`INSERT INTO ledger VALUES (${key})`,
      keys,
    }));
  });

  describe("of Drizzle", () => {
    transactionCases(() => ({
      transactions: drizzleTransactions(drizzle(pool), { sql: drizzleSql, dialect: "postgres" }),
      insert: (tx, key) => tx.execute(drizzleSql`INSERT INTO ledger VALUES (${key})`),
      keys,
    }));
  });

  describe("of Kysely", () => {
    transactionCases(() => ({
      transactions: kyselyTransactions(new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }), {
        dialect: "postgres",
      }),
      insert: (tx, key) => tx.insertInto("ledger").values({ k: key }).execute(),
      keys,
    }));
  });
});

/** The pool, whose connections are cut when the server answers their COMMIT. */
function cuttingAtCommit(pool: pg.Pool, proxy: FaultProxy): { connect(): Promise<pg.PoolClient> } {
  return {
    async connect() {
      const lent = await pool.connect();
      const query = lent.query.bind(lent) as (...args: unknown[]) => Promise<never>;
      lent.query = ((...args: unknown[]) => {
        if (args[0] === "COMMIT") proxy.cutAtNextAnswer();
        return query(...args);
      }) as typeof lent.query;
      return lent;
    },
  };
}
