// Opening the PostgreSQL store: what is made, what is refused and left as it was, what is warned of, each with its remedy.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PGlite } from "@electric-sql/pglite";
import { freePort, type PrivateServer, startPostgres } from "@onceward/services";
import { type ClaimRequest, isIdempotencyError } from "onceward";
import { type PostgresStoreOptions, postgresSchema, postgresStore } from "onceward/stores/postgres";
import pg from "pg";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { migrations, namesOf } from "../../src/stores/postgres/schema.js";
import { answerOf, claimOf } from "../../src/testing/store-suite/suite-case.js";
import { missing, newSchema, poolOf } from "./postgres-kit.js";

const CHILD = fileURLToPath(new URL("./children/postgres-opener.js", import.meta.url));

/** The error of an opening that is to fail: one line, with its code and a remedy. */
async function refused(options: PostgresStoreOptions, code: string, ...says: readonly RegExp[]): Promise<void> {
  const store = postgresStore({ onWarning: () => {}, ...options });
  const error = await store.open().then(
    () => null,
    (reason: unknown) => reason,
  );
  await store.close();
  if (!isIdempotencyError(error)) throw new Error(`opened, or failed otherwise: ${error}`);
  expect(error.code, error.message).toBe(code);
  expect(error.message).not.toContain("\n");
  for (const words of says) expect(error.message).toMatch(words);
}

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  let server: PrivateServer;
  let admin: pg.Pool;
  let schema: string;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    server = await startPostgres();
    admin = poolOf(server.url);
    await admin.query("CREATE ROLE password_role LOGIN PASSWORD 'right'; CREATE ROLE app LOGIN");
  }, 60_000);
  afterAll(async () => {
    await admin.end();
    await server.remove();
  });
  beforeEach(async () => {
    schema = newSchema();
    await admin.query(`CREATE SCHEMA ${schema}; GRANT USAGE ON SCHEMA ${schema} TO app`);
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await admin.query("ALTER ROLE app RESET ALL; ALTER ROLE postgres RESET ALL");
  });

  const urlOf = (user: string, more = "postgres") =>
    server.url.replace(/postgres@(.*)\/postgres$/, `${user}@$1/${more}`);

  function pool(url: string, options: pg.PoolConfig = {}): pg.Pool {
    const made = poolOf(url, { max: 2, ...options });
    closing.push(() => made.end());
    return made;
  }

  /** Opens a store, and answers what it warned of. */
  async function warnings(
    options: PostgresStoreOptions,
  ): Promise<{ readonly said: string[]; readonly durability: string }> {
    const said: string[] = [];
    const store = postgresStore({ ...options, onWarning: (message) => said.push(message) });
    await store.open();
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
    await store.close();
    return { said, durability: store.info.durability };
  }

  /** The tables that the statements of another version would find. */
  async function tables(): Promise<readonly string[]> {
    const { rows } = await admin.query("SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY 1", [schema]);
    return rows.map(({ tablename }) => tablename);
  }

  const ALL = ["audit", "records", "runs", "schema", "shared"].map((table) => `onceward_${table}`);

  describe("refuses, each with its remedy,", () => {
    it("a wrong password, and never says it", async () => {
      const client = pool(urlOf("password_role:wrong"));
      await refused({ client }, "store_inaccessible", /password authentication failed/, /set the right ones/);
    });

    it("a user whom the server does not know", async () => {
      await refused({ client: pool(urlOf("nobody_known")) }, "store_inaccessible", /nobody_known/, /pg_hba\.conf/);
    });

    it("a server that is not there", async () => {
      const url = `postgres://postgres@127.0.0.1:${await freePort()}/postgres`;
      await refused({ client: pool(url) }, "store_inaccessible", /ECONNREFUSED/, /Start the server/);
      const sql = postgres(url);
      closing.push(() => sql.end());
      await refused({ client: sql }, "store_inaccessible", /ECONNREFUSED/, /Start the server/);
    });

    it("a database that is not there", async () => {
      const client = pool(urlOf("postgres", "absent"));
      await refused({ client }, "store_inaccessible", /"absent" does not exist/, /Create the database/);
    });

    it("missing tables where it may not make them, naming the statements", async () => {
      const remedy = new RegExp(`postgresSchema\\(\\{ schema: "${schema}", prefix: "onceward_" \\}\\)`);
      await refused({ client: pool(server.url), schema, migrate: false }, "store_inaccessible", remedy);
      await refused({ client: pool(urlOf("app")), schema }, "store_inaccessible", remedy, /as a user who may create/);
      expect(await tables()).toEqual([]);
    });

    it("tables that its role may not use, naming the GRANT", async () => {
      await admin.query(postgresSchema({ schema }));
      await admin.query(`GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA ${schema} TO app`);
      const grant = new RegExp(`GRANT SELECT, INSERT, UPDATE, DELETE ON "${schema}".onceward_records.* TO "app"`);
      await refused({ client: pool(urlOf("app")), schema }, "store_inaccessible", grant);
    });

    it("tables of a newer version, which it leaves as they are", async () => {
      await admin.query(postgresSchema({ schema }));
      await admin.query(`UPDATE ${schema}.onceward_schema SET version = 99`);
      await refused({ client: pool(server.url), schema }, "store_schema_newer", /schema 99; this one knows up to 2/);
      expect((await admin.query(`SELECT version FROM ${schema}.onceward_schema`)).rows).toEqual([{ version: 99 }]);
    });

    it("somebody else's tables of the same names, which it leaves as they are", async () => {
      const client = pool(server.url);
      await admin.query(`CREATE TABLE ${schema}.onceward_records (mine text)`);
      await refused({ client, schema }, "store_foreign", /another `prefix`/);
      expect(await tables()).toEqual(["onceward_records"]);
      await admin.query(`CREATE TABLE ${schema}.onceward_schema (mine text)`);
      await refused({ client, schema }, "store_foreign", /onceward_schema/, /another `prefix`/);
      await admin.query(`DROP TABLE ${schema}.onceward_schema, ${schema}.onceward_records`);
      await admin.query(postgresSchema({ schema }));
      await admin.query(`ALTER TABLE ${schema}.onceward_records DROP COLUMN steps`);
      await refused({ client, schema }, "store_foreign", /another `prefix`/);
    });

    it("tables some of which are gone", async () => {
      await admin.query(postgresSchema({ schema }));
      await admin.query(`DROP TABLE ${schema}.onceward_records`);
      const client = pool(server.url);
      await refused({ client, schema }, "store_corrupt", /are gone/, /Restore them/);
      expect(await tables()).not.toContain("onceward_records");
    });

    it("a role under which nothing can be written", async () => {
      await admin.query("ALTER ROLE app SET default_transaction_read_only = on");
      await refused({ client: pool(urlOf("app")), schema }, "store_unsuitable", /only be read/, /primary/);
    });

    it("a search_path that leads nowhere", async () => {
      const client = pool(server.url, { options: "-c search_path=nowhere" });
      await refused({ client }, "store_inaccessible", /search_path/, /Name one by `schema`/);
    });

    it("an older server than it can work on", async () => {
      const query = async () => ({
        rows: [["110022", "false", "read committed", "on", "on", "on", "db", "role", "public"]],
      });
      const client = { query, on() {}, removeListener() {}, release() {} };
      const old = { totalCount: 0, query, connect: async () => client };
      await refused({ client: old }, "store_unsuitable", /PostgreSQL 11;/, /12 or later/);
    });

    it("a replica", async () => {
      const standby = await startPostgres();
      closing.push(() => standby.remove());
      await standby.stop();
      // A server of its own with nobody to follow is a replica all the same.
      writeFileSync(join(standby.folder, "data", "standby.signal"), "");
      await standby.start();
      await refused({ client: pool(standby.url) }, "store_unsuitable", /replica/, /primary/);
    });

    it("what is no pool at all, before it opens anything", () => {
      const clients = [undefined, {}, new pg.Client(), () => {}];
      for (const client of clients) {
        expect(() => postgresStore({ client: client as never })).toThrow(
          /needs a `client`: a Pool of pg \(not a Client\)/,
        );
      }
    });

    it("options that cannot work", () => {
      const client = pool(server.url);
      const bad: readonly Partial<PostgresStoreOptions>[] = [
        { prefix: "" },
        { prefix: "Mixed" },
        { prefix: "a".repeat(41) },
        { schema: 'a"b' },
        { maxWaitMs: 0 },
        { limits: { maxRecords: -1 } },
        { gathering: { maxBatch: 0 } },
      ];
      for (const options of bad) {
        const make = () => postgresStore({ client, ...options });
        expect(make, JSON.stringify(options)).toThrow(expect.objectContaining({ code: "config_invalid" }));
      }
    });
  });

  describe("the tables", () => {
    it("are made in the schema that is named, which is made too", async () => {
      await admin.query(`DROP SCHEMA ${schema}`);
      await warnings({ client: pool(server.url), schema });
      expect(await tables()).toEqual(ALL);
    });

    it("are made where search_path leads, and found elsewhere on it", async () => {
      const client = pool(server.url, { options: `-c search_path=${schema},public` });
      await warnings({ client });
      expect(await tables()).toEqual(ALL);
      const other = newSchema();
      await admin.query(`CREATE SCHEMA ${other}`);
      await warnings({ client: pool(server.url, { options: `-c search_path=${other},${schema}` }) });
      const { rows } = await admin.query("SELECT 1 FROM pg_tables WHERE schemaname = $1", [other]);
      expect(rows).toEqual([]);
      expect((await admin.query(`SELECT count(*)::int AS n FROM ${schema}.onceward_records`)).rows).toEqual([{ n: 2 }]);
    });

    it("can be made by pasting, for a role that may only use them", async () => {
      await admin.query(postgresSchema({ schema, prefix: "keys_" }));
      await admin.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO app`);
      for (const migrate of [true, false]) {
        await warnings({ client: pool(urlOf("app")), schema, prefix: "keys_", migrate });
      }
    });

    it("of two prefixes are two stores", async () => {
      const client = pool(server.url);
      const [one, two] = ["one_", "two_"].map((prefix) => postgresStore({ client, schema, prefix }));
      await Promise.all([one?.open(), two?.open()]);
      const request = claimOf();
      expect((await one?.claim(request))?.outcome).toBe("claimed");
      expect((await two?.claim(claimOf({ id: request.id })))?.outcome).toBe("claimed");
      await Promise.all([one?.close(), two?.close()]);
    });

    it.each([0, 1])("of version %i are brought up to date once by 4 processes that start at once", async (version) => {
      const kept = claimOf();
      if (version > 0) await makeVersion(version, kept);
      const children = Array.from({ length: 4 }, () =>
        spawn(process.execPath, [CHILD, JSON.stringify({ url: server.url, schema })], {
          stdio: ["ignore", "pipe", "inherit"],
        }),
      );
      const ends = await Promise.all(children.map((child) => once(child, "exit")));
      expect(ends).toEqual(children.map(() => [0, null]));
      expect(await tables()).toEqual(ALL);
      expect((await admin.query(`SELECT version FROM ${schema}.onceward_schema`)).rows).toEqual([{ version: 2 }]);
      const { rows } = await admin.query(`SELECT count(*)::int AS n FROM ${schema}.onceward_records`);
      expect(rows).toEqual([{ n: version === 0 ? 4 : 5 }]);
    });

    it("of version 1 are brought up to date, or by pasting, and what is in them is still read", async () => {
      const kept = claimOf();
      await makeVersion(1, kept);
      const client = pool(server.url);
      const paste = new RegExp(`postgresSchema\\(\\{ schema: "${schema}", prefix: "onceward_", from: 1 \\}\\)`);
      await refused({ client, schema, migrate: false }, "store_inaccessible", paste);
      await admin.query(postgresSchema({ schema, from: 1 }));
      const store = postgresStore({ client, schema, migrate: false });
      await store.open();
      expect((await store.find(kept.id))?.record).toMatchObject({ state: "running", ...kept.labels });
      expect(await store.complete(kept.id, kept.fence, answerOf("kept"))).toBe(true);
      expect((await store.history?.listRuns({ limit: 1 }))?.items).toEqual([]);
      await store.close();
    });
  });

  /** What an earlier version left: its tables, and a record that runs. */
  async function makeVersion(version: number, { id, fence, labels }: ClaimRequest): Promise<void> {
    await admin.query(migrations(namesOf(schema, "onceward_"), 0, version));
    const now = Date.now();
    await admin.query(
      `INSERT INTO ${schema}.onceward_records (created_at, expires_at, lease_until, state, id, fence, account, key, operation, run_id)
       VALUES ($1, $2, $2, 0, $3, $4, $5, $6, $7, $8)`,
      [now, now + 3_600_000, Buffer.from(id, "hex"), Buffer.from(fence, "hex"), ...Object.values(labels)],
    );
  }

  describe("what the server promises", () => {
    it("is declared as it is: power-loss by its defaults, of which nothing is said", async () => {
      expect(await warnings({ client: pool(server.url), schema })).toEqual({ said: [], durability: "power-loss" });
    });

    it("is weaker with synchronous_commit off, which is said once", async () => {
      await admin.query("ALTER ROLE postgres SET synchronous_commit = off");
      const { said, durability } = await warnings({ client: pool(server.url), schema });
      expect(durability).toBe("crash");
      expect(said).toEqual([
        expect.stringMatching(/^onceward: PostgreSQL: .*synchronous_commit = off.*its last commits/),
      ]);
    });

    it("is weaker with fsync or full_page_writes off, which is said once", async () => {
      const lossy = await startPostgres({ settings: { fsync: "off", full_page_writes: "off" } });
      closing.push(() => lossy.remove());
      const { said, durability } = await warnings({ client: pool(lossy.url) });
      expect(durability).toBe("crash");
      expect(said).toEqual([expect.stringMatching(/fsync = off, full_page_writes = off.*all that it holds/)]);
    });

    it("of PGlite in memory ends with the process, and it is nobody else's", async () => {
      const client = await PGlite.create();
      closing.push(() => client.close());
      const store = postgresStore({ client });
      await store.open();
      expect(store.info).toMatchObject({ name: "postgres", durability: "process", shared: false, maxClockSkewMs: 0 });
      await store.close();
    });

    it("does not depend on the role's isolation, of which is said what it costs", async () => {
      await admin.query("ALTER ROLE postgres SET default_transaction_isolation = 'serializable'");
      const { said } = await warnings({ client: pool(server.url), schema });
      expect(said).toEqual([
        expect.stringMatching(/three round trips.*ALTER ROLE "postgres" SET default_transaction_isolation/),
      ]);
    });
  });
});
