// Opening the MySQL store: what is made, what is refused and left as it was, what is warned of, each with its remedy.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { freePort, startMariadb } from "@onceward/services";
import { isIdempotencyError } from "onceward";
import { type MysqlPoolLike, type MysqlStoreOptions, mysqlSchema, mysqlStore } from "onceward/stores/mysql";
import { describe, expect, it } from "vitest";
import { inspect } from "../../src/stores/mysql/server.js";
import { claimOf } from "../../src/testing/store-suite/suite-case.js";
import { type ClientKind, faultBench, missing, poolOf } from "./mysql-kit.js";

const CHILD = fileURLToPath(new URL("./children/mysql-opener.js", import.meta.url));
const KINDS: readonly ClientKind[] = ["mysql2", "mysql2 with callbacks", "mariadb"];
const TABLES = ["audit", "records", "runs", "schema", "shared"];

describe.skipIf(missing !== null)(missing ?? "MySQL", () => {
  const bench = faultBench();

  /** A pool of a user's, by default of one who may do all. */
  function poolAs(
    user: string,
    database = "test",
    kind: ClientKind = "mysql2",
    port = bench.server.port,
  ): MysqlPoolLike {
    const url = `mysql://${user}@127.0.0.1:${port}/${database}`;
    const own = poolOf(kind, url, { acquireTimeout: 1_500 });
    bench.after(() => own.end().catch(() => {}));
    return own.pool;
  }

  /** The error of an opening that is to fail: one line, with its code and a remedy. */
  async function refused(
    options: Partial<MysqlStoreOptions>,
    code: string,
    ...says: readonly RegExp[]
  ): Promise<string> {
    const store = mysqlStore({ onWarning: () => {}, prefix: bench.prefix, pool: poolAs("root"), ...options });
    const error = await store.open().then(
      () => null,
      (reason: unknown) => reason,
    );
    await store.close();
    if (!isIdempotencyError(error)) throw new Error(`opened, or failed otherwise: ${error}`);
    expect(error.code, error.message).toBe(code);
    expect(error.message).not.toContain("\n");
    for (const words of says) expect(error.message).toMatch(words);
    return error.message;
  }

  /** Opens a store, and answers what it warned of. */
  async function opened(
    options: Partial<MysqlStoreOptions> = {},
  ): Promise<{ readonly said: string[]; readonly durability: string }> {
    const said: string[] = [];
    const onWarning = (message: string) => said.push(message);
    const store = mysqlStore({ prefix: bench.prefix, pool: poolAs("root"), ...options, onWarning });
    await store.open();
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
    await store.close();
    return { said, durability: store.info.durability };
  }

  async function tables(): Promise<readonly string[]> {
    const rows = await bench.query(
      "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'test' AND LEFT(TABLE_NAME, ?) = ?",
      [bench.prefix.length, bench.prefix],
    );
    return (rows as { name: string }[]).map(({ name }) => name.slice(bench.prefix.length)).sort();
  }

  async function paste(statements: string): Promise<void> {
    for (const statement of statements.split(";\n").filter((text) => text.trim() !== "")) await bench.query(statement);
  }

  const pasteSchema = () => paste(mysqlSchema({ prefix: bench.prefix }));

  describe("refuses, each with its remedy,", () => {
    it.each(KINDS)("%s: a wrong password, and never says it", async (kind) => {
      const pool = poolAs("onceward:hush", "test", kind);
      const message = await refused({ pool }, "store_inaccessible", /the user or the password is wrong/);
      expect(message).not.toContain("hush");
    });

    it.each(KINDS)("%s: a server that is not there", async (kind) => {
      const pool = poolAs("root", "test", kind, await freePort());
      await refused({ pool }, "store_inaccessible", /nothing listens at the pool's host and port/);
    });

    it.each(KINDS)("%s: a database that is not there", async (kind) => {
      await refused({ pool: poolAs("root", "absent", kind) }, "store_inaccessible", /create it, or correct/);
    });

    it("a pool without a database", async () => {
      await refused({ pool: poolAs("root", "") }, "store_inaccessible", /names no database.*option `database`/);
    });

    it("missing tables where it may not make them, naming the statements", async () => {
      await refused({ migrate: false }, "store_inaccessible", /Run the statements of mysqlSchema\(\)/);
      await bench.query("CREATE USER IF NOT EXISTS app@'127.0.0.1'");
      await bench.query("GRANT SELECT ON test.* TO app@'127.0.0.1'");
      await refused({ pool: poolAs("app") }, "store_inaccessible", /lacks a privilege.*mysqlSchema\(\).*CREATE/);
      expect(await tables()).toEqual([]);
    });

    it("tables that its user may not write, naming the privileges", async () => {
      await pasteSchema();
      await bench.query("CREATE USER IF NOT EXISTS reader@'127.0.0.1'");
      await bench.query(`GRANT SELECT, INSERT, UPDATE ON test.* TO reader@'127.0.0.1'`);
      await refused({ pool: poolAs("reader") }, "store_inaccessible", /grant SELECT, INSERT, UPDATE, DELETE.*DELETE/);
    });

    it("tables of a newer version, which it leaves as they are", async () => {
      await pasteSchema();
      await bench.query(`UPDATE ${bench.prefix}schema SET version = 99`);
      await refused({}, "store_schema_newer", /schema 99; this one knows up to 1/);
      expect(await bench.query(`SELECT version FROM ${bench.prefix}schema`)).toEqual([{ version: 99 }]);
    });

    it("somebody else's tables of the same names, which it leaves as they are", async () => {
      await bench.query(`CREATE TABLE ${bench.prefix}records (mine INT)`);
      await refused({}, "store_foreign", new RegExp(`${bench.prefix}records.*another \`prefix\``));
      expect(await tables()).toEqual(["records"]);
      await bench.query(`DROP TABLE ${bench.prefix}records`);
      await pasteSchema();
      await bench.query(`ALTER TABLE ${bench.prefix}records DROP COLUMN steps`);
      await refused({}, "store_foreign", /another `prefix`/);
    });

    it("tables some of which are gone", async () => {
      await pasteSchema();
      await bench.query(`DROP TABLE ${bench.prefix}records`);
      await refused({}, "store_corrupt", /records.* is gone/, /Restore them/);
      expect(await tables()).not.toContain("records");
    });

    it("tables of an engine that forgets", async () => {
      await pasteSchema();
      await bench.query(`ALTER TABLE ${bench.prefix}shared ENGINE=MyISAM`);
      await refused({}, "store_unsuitable", /MyISAM.*loses data.*ALTER TABLE .*shared.* ENGINE=InnoDB/);
    });

    it("a replica, or what looks like one", async () => {
      await bench.query("SET GLOBAL read_only = ON");
      bench.after(() => bench.query("SET GLOBAL read_only = OFF"));
      await refused({}, "store_unsuitable", /read_only is on.*replica.*primary/);
    });

    it("sessions that commit nothing, or read what is not committed", async () => {
      for (const [initSql, words] of [
        ["SET autocommit = 0", /autocommit is off/],
        ["SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", /uncommitted.*READ-COMMITTED/],
      ] as const) {
        await refused({ pool: bench.pool("mysql2", { initSql }) }, "store_unsuitable", words);
      }
    });

    it.each([
      ["10.6.18-MariaDB", false],
      ["10.11.2-MariaDB-log", true],
      ["11.8.2-MariaDB", true],
      ["5.7.44-log", false],
      ["8.0.36", true],
      ["9.1.0-commercial", true],
    ])("an older server than it can work on: %s", async (version, works) => {
      const settings = [
        ["version", version],
        ["autocommit", "ON"],
        ["transaction_isolation", "REPEATABLE-READ"],
        ["innodb_flush_log_at_trx_commit", "1"],
        ["innodb_doublewrite", "ON"],
        ["max_allowed_packet", "67108864"],
      ];
      const query = async (sql: string) => {
        return { rows: sql.includes("DATABASE()") ? [["test"]] : settings, affected: 0, lastId: 0 };
      };
      const server = inspect(query);
      if (works) expect(await server).toMatchObject({ durability: "power-loss", warnings: [] });
      else await expect(server).rejects.toThrow(/MariaDB 10\.11 or MySQL 8\.0, or later/);
    });

    it("what is no pool at all, before it opens anything", () => {
      for (const pool of [{}, { query() {} }, { promise: 1 }]) {
        expect(() => mysqlStore({ pool: pool as never })).toThrow(/needs a `pool`: what createPool\(\)/);
      }
      expect(() => mysqlStore({} as never)).toThrow(expect.objectContaining({ code: "config_invalid" }));
    });

    it("options that cannot work", () => {
      const bad: readonly Partial<MysqlStoreOptions>[] = [
        { prefix: "" },
        { prefix: "Mixed" },
        { prefix: "a`b" },
        { prefix: "a".repeat(49) },
        { maxWaitMs: 0 },
        { limits: { maxRecords: -1 } },
        { gathering: { maxBatch: 0 } },
        { gathering: { maxBatch: 501 } },
      ];
      for (const options of bad) {
        const make = () => mysqlStore({ pool: poolAs("root"), ...options });
        expect(make, JSON.stringify(options)).toThrow(expect.objectContaining({ code: "config_invalid" }));
      }
    });
  });

  describe("the tables", () => {
    it("can be made by pasting, for a user who may only use them", async () => {
      await pasteSchema();
      await bench.query("CREATE USER IF NOT EXISTS user@'127.0.0.1'");
      for (const table of TABLES) {
        await bench.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON test.${bench.prefix}${table} TO user@'127.0.0.1'`);
      }
      for (const migrate of [true, false]) await opened({ pool: poolAs("user"), migrate });
      expect(await tables()).toEqual(TABLES);
    });

    it("of two prefixes are two stores", async () => {
      const [one, two] = [await bench.node(), await bench.node({ prefix: `${bench.prefix}2_` })];
      const request = claimOf();
      expect((await one.claim(request)).outcome).toBe("claimed");
      expect((await two.claim(claimOf({ id: request.id }))).outcome).toBe("claimed");
    });

    it.each([
      ["that are not there", 0],
      ["of which a crash left some", 2],
    ])("%s are made once by 4 processes that start at once", async (_, left) => {
      // As statements that were run before a crash leave them, which is before the version is noted.
      const statements = mysqlSchema({ prefix: bench.prefix }).split(";\n");
      await paste(statements.slice(0, left).join(";\n"));
      const argument = JSON.stringify({ url: bench.server.url, prefix: bench.prefix });
      const children = Array.from({ length: 4 }, () =>
        spawn(process.execPath, [CHILD, argument], { stdio: ["ignore", "pipe", "inherit"] }),
      );
      const ends = await Promise.all(children.map((child) => once(child, "exit")));
      expect(ends).toEqual(children.map(() => [0, null]));
      expect(await tables()).toEqual(TABLES);
      expect(await bench.query(`SELECT version FROM ${bench.prefix}schema`)).toEqual([{ version: 1 }]);
      expect(await bench.query(`SELECT COUNT(*) AS n FROM ${bench.prefix}records`)).toEqual([{ n: 4 }]);
    });

    it("are made where there are no locks by name, as on some clusters", async () => {
      const pool = bench.pool();
      const refusing: MysqlPoolLike = {
        async getConnection() {
          const connection = await (pool as { getConnection(): Promise<never> }).getConnection();
          const { query } = connection as { query(statement: { sql: string }): Promise<unknown> };
          const withoutLocks = async (statement: { sql: string }) => {
            const sql = statement.sql.includes("GET_LOCK") ? "SELECT NO_SUCH_FUNCTION()" : statement.sql;
            return query.call(connection, { ...statement, sql });
          };
          return Object.assign(connection, { query: withoutLocks });
        },
      };
      await opened({ pool: refusing });
      expect(await tables()).toEqual(TABLES);
    });
  });

  describe("what the server promises", () => {
    it("is declared as it is: power-loss by its defaults, of which nothing is said", async () => {
      expect(await opened()).toEqual({ said: [], durability: "power-loss" });
      expect((await bench.node()).info).toMatchObject({ name: "mysql", shared: true, maxClockSkewMs: 0 });
    });

    it("is weaker where its log is written later, which is said once", async () => {
      for (const [value, durability, words] of [
        ["2", "crash", /log_at_trx_commit is 2, so that a loss of power loses a second of records; set it to 1/],
        [
          "0",
          "process",
          /log_at_trx_commit is 0, so that a crash of the server loses a second of records; set it to 1/,
        ],
      ] as const) {
        await bench.query(`SET GLOBAL innodb_flush_log_at_trx_commit = ${value}`);
        bench.after(() => bench.query("SET GLOBAL innodb_flush_log_at_trx_commit = 1"));
        expect(await opened()).toEqual({ said: [expect.stringMatching(words)], durability });
      }
    });

    it("is weaker where its binary log is written later, and not where that is synced", async () => {
      const logged = await startMariadb({ settings: { "log-bin": "binlog", "max-allowed-packet": "1M" } });
      bench.after(() => logged.remove());
      const pool = () => poolAs("root", "test", "mysql2", logged.port);
      const { said, durability } = await opened({ pool: pool() });
      expect(durability).toBe("crash");
      expect(said).toEqual([
        expect.stringMatching(/sync_binlog is 0, so that a loss of power loses records; set it to 1/),
        expect.stringMatching(/max_allowed_packet is 1048576, so that no answer beyond 512 KiB.*16M/),
      ]);
    });

    it("warns by console.warn where nobody else is told", async () => {
      const warn = console.warn;
      const said: unknown[] = [];
      console.warn = (message) => said.push(message);
      bench.after(() => {
        console.warn = warn;
      });
      await bench.query("SET GLOBAL innodb_flush_log_at_trx_commit = 2");
      bench.after(() => bench.query("SET GLOBAL innodb_flush_log_at_trx_commit = 1"));
      const store = mysqlStore({ pool: bench.pool(), prefix: bench.prefix });
      await store.open();
      await store.close();
      expect(said).toEqual([expect.stringMatching(/^onceward: MySQL: innodb_flush_log_at_trx_commit is 2/)]);
    });
  });
});
