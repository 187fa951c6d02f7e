// Places in a PostgreSQL server for suites and tests of its store.

import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { PGlite } from "@electric-sql/pglite";
import {
  type FaultProxy,
  faultProxy,
  lookUp,
  POSTGRES,
  type PrivateServer,
  type ServiceSource,
  startPostgres,
} from "@onceward/services";
import type { SqlStatement, Store } from "onceward";
import { type PostgresClientLike, type PostgresStoreOptions, postgresStore } from "onceward/stores/postgres";
import { sealedStore } from "onceward/stores/sealed";
import { fakeClock, type StorePlace } from "onceward/testing";
import pg from "pg";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";

const source: ServiceSource = lookUp(POSTGRES);
/** Why suites are skipped, or null; said once for each file. */
export const missing: string | null = source.kind === "missing" ? source.reason : null;
if (missing !== null) process.stderr.write(`${missing}\n`);

export type ClientKind = "pg" | "postgres.js";

/** A server that the tests of one file share, and a pool of its own. */
export interface Server {
  readonly url: string;
  readonly pool: pg.Pool;
}

/** Makes a pool whose idle connections may be lost. */
export function poolOf(url: string, options: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, ...options });
  pool.on("error", () => {});
  return pool;
}

/** What suites are quick with; what a crash loses is not their matter. */
const QUICK = { fsync: "off", full_page_writes: "off" };

/** Starts a server before the tests of a file, or uses the one that the variable names. */
export function sharedServer(): Server {
  let server: Server | undefined;
  let remove = async (): Promise<void> => {};
  beforeAll(async () => {
    if (source.kind === "url") {
      server = { url: source.url, pool: poolOf(source.url) };
      return;
    }
    const started = await startPostgres({ settings: QUICK });
    server = { url: started.url, pool: poolOf(started.url) };
    remove = () => started.remove();
  }, 60_000);
  afterAll(async () => {
    await server?.pool.end();
    await remove();
  });
  const running = (): Server => {
    if (server === undefined) throw new Error("The server has not been started.");
    return server;
  };
  return {
    get url() {
      return running().url;
    },
    get pool() {
      return running().pool;
    },
  };
}

/** Says nothing of the settings above. */
function onWarning(): void {}

export function newSchema(): string {
  return `t_${randomBytes(6).toString("hex")}`;
}

export interface PostgresPlaceOptions {
  readonly kind?: ClientKind;
  /** Seals each store with this key, in hexadecimal. */
  readonly key?: string;
  readonly store?: Partial<PostgresStoreOptions>;
}

/** A schema of its own, under a clock of the test's own. */
export function postgresPlace(
  { url, pool }: Server,
  { kind = "pg", key, store: more = {} }: PostgresPlaceOptions = {},
): StorePlace {
  const schema = newSchema();
  // The other processes of a race have clocks of their own, which stand where this one stood when they were started.
  const clock = fakeClock(Date.now());
  const sql = kind === "postgres.js" ? postgres(url, { max: 5, onnotice: () => {} }) : undefined;
  const client: PostgresClientLike = sql ?? pool;
  return {
    create(change = {}) {
      const store = postgresStore({ onWarning, ...more, ...change, client, schema, now: () => clock.now() });
      if (key === undefined) return store;
      return sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
    },
    advance: (ms) => clock.advance(ms),
    execute: (statement) => execute(pool, statement),
    process: {
      module: fileURLToPath(new URL("./children/postgres-store.js", import.meta.url)),
      get argument() {
        return JSON.stringify({ url, schema, now: clock.now(), kind, key });
      },
    },
    async remove() {
      await sql?.end();
      await pool.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    },
  };
}

/**
 * A schema whose stores are judged by the server's own clock, as in production, and yet can be moved: a function of the
 * same name comes before the server's own.
 */
export function serverClockPlace({ url, pool }: Server): StorePlace {
  const schema = newSchema();
  const made = (async () => {
    await pool.query(`CREATE SCHEMA ${schema}; CREATE TABLE ${schema}.moved (ms bigint); INSERT INTO ${schema}.moved VALUES (0);
      CREATE FUNCTION ${schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        $$ SELECT pg_catalog.clock_timestamp() + ms * interval '1 millisecond' FROM ${schema}.moved $$`);
  })();
  const options = `-c search_path=${schema},pg_catalog`;
  const own = poolOf(url, { options });
  return {
    create(change = {}) {
      const store = postgresStore({ onWarning, ...change, client: own });
      const open = store.open.bind(store);
      return Object.assign(store, { open: () => made.then(open) });
    },
    async advance(ms) {
      await own.query("UPDATE moved SET ms = ms + $1", [ms]);
    },
    execute: (statement) => execute(own, statement),
    process: {
      module: fileURLToPath(new URL("./children/postgres-store.js", import.meta.url)),
      argument: JSON.stringify({ url, options }),
    },
    async remove() {
      await own.end();
      await pool.query(`DROP SCHEMA ${schema} CASCADE`);
    },
  };
}

async function execute(pool: pg.Pool, { text, values }: SqlStatement): Promise<number> {
  return (await pool.query(text, [...values])).rowCount ?? 0;
}

/** One PGlite for all places of a file; each store has tables of its own, since none can share them. */
export function sharedPGlite(): () => StorePlace {
  let client: PGlite | undefined;
  beforeAll(async () => {
    client = await PGlite.create();
  }, 60_000);
  afterAll(() => client?.close());
  return () => {
    const lite = client;
    if (lite === undefined) throw new Error("PGlite has not been started.");
    const clock = fakeClock(Date.now());
    return {
      create: (change = {}) =>
        postgresStore({ ...change, client: lite, prefix: `${newSchema()}_`, now: () => clock.now() }),
      advance: (ms) => clock.advance(ms),
      execute: async ({ text, values }) => (await lite.query(text, [...values])).affectedRows ?? 0,
    };
  };
}

/** A server behind a relay, for tests that kill it, cut its connections, or look at it from beside. */
export interface FaultBench {
  readonly server: PrivateServer;
  readonly relay: FaultProxy;
  /** A pool that goes past the relay. */
  readonly admin: pg.Pool;
  /** The schema of the test's nodes. */
  readonly schema: string;
  /** Through the relay, unless another URL is given; ended after the test. */
  pool(options?: pg.PoolConfig & { readonly url?: string }): pg.Pool;
  postgresJs(): ReturnType<typeof postgres>;
  /** An open store on the test's data, short of patience, as a node under load is to be; closed after the test. */
  node(options?: Partial<PostgresStoreOptions>): Promise<Store>;
  /** Ends every connection but one's own, as an administrator would. */
  terminate(): Promise<void>;
  /** Runs this after the test. */
  after(close: () => unknown): void;
}

export function faultBench(): FaultBench {
  let server: PrivateServer;
  let relay: FaultProxy;
  let admin: pg.Pool;
  let schema = "";
  const closing: (() => unknown)[] = [];
  beforeAll(async () => {
    server = await startPostgres();
    relay = await faultProxy(server);
    admin = poolOf(server.url);
  }, 60_000);
  afterAll(async () => {
    await admin.end();
    await relay.close();
    await server.remove();
  });
  beforeEach(() => {
    schema = newSchema();
  });
  afterEach(async () => {
    relay.heal();
    for (const close of closing.splice(0).reverse()) await close();
  });
  const bench: FaultBench = {
    get server() {
      return server;
    },
    get relay() {
      return relay;
    },
    get admin() {
      return admin;
    },
    get schema() {
      return schema;
    },
    pool({ url = relay.through(server.url), ...options } = {}) {
      const pool = poolOf(url, { connectionTimeoutMillis: 1_500, ...options });
      closing.push(() => pool.end());
      return pool;
    },
    postgresJs() {
      // Where the types it fetches are lost with a connection, postgres.js rejects a promise that nobody can catch.
      const options = { max: 5, connect_timeout: 2, backoff: () => 0.1, fetch_types: false, onnotice: () => {} };
      const sql = postgres(relay.through(server.url), options);
      closing.push(() => sql.end({ timeout: 1 }));
      return sql;
    },
    async node(options = {}) {
      const client = options.client ?? bench.pool();
      const store = postgresStore({ maxWaitMs: 3_000, onWarning, schema, ...options, client });
      closing.push(() => store.close());
      await store.open();
      return store;
    },
    async terminate() {
      await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`);
    },
    after: (close) => void closing.push(close),
  };
  return bench;
}
