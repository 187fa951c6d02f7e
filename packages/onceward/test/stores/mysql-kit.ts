// Places in a MariaDB or MySQL server for suites and tests of its store.

import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import {
  type FaultProxy,
  faultProxy,
  lookUp,
  MARIADB,
  type PrivateServer,
  type ServiceSource,
  startMariadb,
} from "@onceward/services";
import mariadb from "mariadb";
import mysql from "mysql2";
import mysqlPromise from "mysql2/promise";
import type { SqlStatement, Store } from "onceward";
import {
  type MysqlPoolLike,
  type MysqlPromisePoolLike,
  type MysqlStoreOptions,
  mysqlStore,
} from "onceward/stores/mysql";
import { sealedStore } from "onceward/stores/sealed";
import { fakeClock, type StorePlace } from "onceward/testing";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";

/** The other processes of a race, which are plain JavaScript, use it too. */
const { movedClock } = (await import(new URL("./children/moved-clock.js", import.meta.url).href)) as {
  readonly movedClock: (pool: MysqlPromisePoolLike, movedMs: () => number) => MysqlPromisePoolLike;
};

const source: ServiceSource = lookUp(MARIADB);
/** Why suites are skipped, or null; said once for each file. */
export const missing: string | null = source.kind === "missing" ? source.reason : null;
if (missing !== null) process.stderr.write(`${missing}\n`);

export type ClientKind = "mysql2" | "mysql2 with callbacks" | "mariadb";

/** A pool of one of the clients, and how it is ended. */
export interface OwnPool {
  readonly pool: MysqlPoolLike;
  end(): Promise<void>;
}

export interface PoolSettings {
  readonly connectionLimit?: number;
  readonly acquireTimeout?: number;
  readonly flags?: string[];
  readonly initSql?: string;
  /** Any other option of the client. */
  readonly more?: object;
}

/** Makes a pool of this kind of client. */
export function poolOf(kind: ClientKind, url: string, settings: PoolSettings = {}): OwnPool {
  const { hostname: host, port, username: user, password, pathname } = new URL(url);
  const { connectionLimit = 10, acquireTimeout = 10_000, flags, initSql, more = {} } = settings;
  const common = { host, port: Number(port), user, password, database: pathname.slice(1), connectionLimit, ...more };
  if (kind === "mariadb") {
    const pool = mariadb.createPool({
      ...{ ...common, acquireTimeout, initializationTimeout: acquireTimeout, minimumIdle: 0 },
      ...(initSql === undefined ? {} : { initSql }),
    });
    return { pool, end: () => pool.end() };
  }
  const pool = mysql.createPool({ ...common, ...(flags === undefined ? {} : { flags }) });
  if (initSql !== undefined) pool.on("connection", (connection) => connection.query(initSql));
  const promised = pool.promise();
  return { pool: kind === "mysql2" ? promised : pool, end: () => promised.end() };
}

/** A server that the tests of one file share. */
export interface Server {
  readonly url: string;
  /** A pool of each kind of client and settings. */
  pool(kind: ClientKind, settings?: PoolSettings): MysqlPoolLike;
  /** As an administrator. */
  query(sql: string, values?: readonly unknown[]): Promise<mysqlPromise.QueryResult>;
  /** Prefixes of tables that are there, and empty. Making them takes longer than most tests. */
  readonly spare: string[];
}

/** Starts a server before the tests of a file, or uses the one that the variable names. */
export function sharedServer(settings: Readonly<Record<string, string>> = {}): Server {
  let url: string | undefined;
  let admin: mysqlPromise.Pool | undefined;
  let remove = async (): Promise<void> => {};
  const pools = new Map<string, OwnPool>();
  beforeAll(async () => {
    if (source.kind === "url") url = source.url;
    else {
      const started = await startMariadb({ settings });
      url = started.url;
      remove = () => started.remove();
    }
    admin = mysqlPromise.createPool({ uri: url, connectionLimit: 2 });
  }, 60_000);
  afterAll(async () => {
    for (const own of pools.values()) await own.end();
    await admin?.end();
    await remove();
  });
  const running = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error("The server has not been started.");
    return value;
  };
  return {
    get url() {
      return running(url);
    },
    pool(kind, settings = {}) {
      const name = JSON.stringify([kind, settings]);
      const own = pools.get(name) ?? poolOf(kind, running(url), settings);
      pools.set(name, own);
      return own.pool;
    },
    spare: [],
    async query(sql, values = []) {
      return (await running(admin).query(sql, [...values]))[0];
    },
  };
}

function newPrefix(): string {
  return `t${randomBytes(5).toString("hex")}_`;
}

export interface MysqlPlaceOptions {
  readonly kind?: ClientKind;
  /** Seals each store with this key, in hexadecimal. */
  readonly key?: string;
  /** Judges by the server's own clock, as in production, moved on by what the test says. */
  readonly serverClock?: boolean;
  /** Of the pool, and so of the sessions. */
  readonly settings?: PoolSettings;
}

/** Tables of a place's own, under a clock of the test's own. */
export function mysqlPlace(server: Server, options: MysqlPlaceOptions = {}): StorePlace {
  const { kind = "mysql2", key, serverClock = false, settings } = options;
  const prefix = server.spare.pop() ?? newPrefix();
  const pool = server.pool(kind, settings);
  // The other processes of a race have clocks of their own, which stand where this one stood when they were started.
  const clock = fakeClock(Date.now());
  let movedMs = 0;
  const timed = serverClock
    ? { pool: movedClock(pool as MysqlPromisePoolLike, () => movedMs) }
    : { pool, now: () => clock.now() };
  return {
    create(change = {}) {
      const store = mysqlStore({ onWarning: () => {}, ...change, ...timed, prefix });
      if (key === undefined) return store;
      return sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
    },
    advance(ms) {
      clock.advance(ms);
      movedMs += ms;
    },
    async execute({ text, values }: SqlStatement) {
      if (!serverClock) return changed(await server.query(text, values));
      const connection = await (timed.pool as mysqlPromise.Pool).getConnection();
      const [result] = await connection.query({ sql: text, values: [...values] });
      connection.release();
      return changed(result);
    },
    process: {
      module: fileURLToPath(new URL("./children/mysql-store.js", import.meta.url)),
      get argument() {
        const times = serverClock ? { movedMs } : { now: clock.now() };
        return JSON.stringify({ url: server.url, prefix, kind, key, ...times });
      },
    },
    async remove() {
      for (const table of ["records", "shared", "runs", "audit"])
        await server.query(`DELETE FROM \`${prefix}${table}\``);
      server.spare.push(prefix);
    },
  };
}

function changed(result: mysqlPromise.QueryResult): number {
  return (result as mysqlPromise.ResultSetHeader).affectedRows;
}

/** A private server behind a relay, for tests that do their worst to it; each test has tables of its own. */
export interface FaultBench {
  readonly server: PrivateServer;
  readonly relay: FaultProxy;
  /** Of the tables of this test. */
  readonly prefix: string;
  /** The table of records, as it is written into statements. */
  readonly records: string;
  /** As an administrator, past the relay. */
  query(sql: string, values?: readonly unknown[]): Promise<mysqlPromise.QueryResult>;
  /** A connection of its own, past the relay; ended after the test. */
  connection(): Promise<mysqlPromise.Connection>;
  /** A pool through the relay; ended after the test. */
  pool(kind?: ClientKind, settings?: PoolSettings): MysqlPoolLike;
  /** An open store; by default on a pool of its own. */
  node(options?: Partial<MysqlStoreOptions>): Promise<Store>;
  /** Ends all connections but the administrator's. */
  terminate(): Promise<void>;
  after(close: () => unknown): void;
}

export function faultBench(settings: Readonly<Record<string, string>> = {}): FaultBench {
  let server: PrivateServer;
  let relay: FaultProxy;
  let prefix = "";
  const closing: (() => unknown)[] = [];
  beforeAll(async () => {
    server = await startMariadb({ settings });
    relay = await faultProxy(server);
  }, 60_000);
  afterAll(async () => {
    await relay.close();
    await server.remove();
  });
  beforeEach(() => {
    prefix = newPrefix();
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
    get prefix() {
      return prefix;
    },
    get records() {
      return `\`${prefix}records\``;
    },
    async query(sql, values = []) {
      const connection = await mysqlPromise.createConnection(server.url);
      try {
        return (await connection.query(sql, [...values]))[0];
      } finally {
        connection.destroy();
      }
    },
    async connection() {
      const connection = await mysqlPromise.createConnection(server.url);
      closing.push(() => connection.destroy());
      return connection;
    },
    pool(kind = "mysql2", options = {}) {
      const own = poolOf(kind, relay.through(server.url), { acquireTimeout: 1_500, ...options });
      closing.push(() => own.end().catch(() => {}));
      return own.pool;
    },
    async node(options = {}) {
      const pool = options.pool ?? bench.pool();
      const store = mysqlStore({ maxWaitMs: 3_000, onWarning: () => {}, prefix, ...options, pool });
      closing.push(() => store.close());
      await store.open();
      return store;
    },
    async terminate() {
      const rows = (await bench.query("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()")) as {
        id: number;
      }[];
      for (const { id } of rows) await bench.query(`KILL CONNECTION ${id}`).catch(() => {});
    },
    after: (close) => void closing.push(close),
  };
  return bench;
}
