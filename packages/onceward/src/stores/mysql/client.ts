// Pools of mysql2 and of the mariadb connector, brought to one form.

import { IdempotencyError } from "../../core/errors.js";

/** A connection of a pool with promises, as far as the store uses it. */
export interface MysqlConnectionLike {
  query(statement: { readonly sql: string }): Promise<unknown>;
  release(): unknown;
  destroy(): unknown;
}

/** A pool of `mysql2/promise` or of `mariadb`. */
export interface MysqlPromisePoolLike {
  getConnection(): Promise<MysqlConnectionLike>;
}

/** A pool of `mysql2` with callbacks. */
export interface MysqlCallbackPoolLike {
  promise(): MysqlPromisePoolLike;
}

export type MysqlPoolLike = MysqlPromisePoolLike | MysqlCallbackPoolLike;

/** What a statement came to. Of one without rows, `rows` is empty; of one with rows, the numbers are 0. */
export interface Outcome {
  readonly rows: readonly Row[];
  /** Rows inserted, deleted or (by the client's flags) matched or changed. */
  readonly affected: number;
  /** What `LAST_INSERT_ID(…)` was set to by the statement. */
  readonly lastId: number;
}

export type Row = readonly unknown[];

/** A connection, one statement after the other. */
export interface Connection {
  /** Rejects with {@link LeftTransaction} where it ran within somebody's transaction: then it is not committed. */
  query(sql: string): Promise<Outcome>;
  /** Gives it back to its pool. */
  release(): void;
  /** Ends it; its pool makes another where it needs one. */
  destroy(): void;
}

/** A connection came out of the pool with a transaction that somebody left open, or with autocommit off. */
export class LeftTransaction extends Error {
  override readonly name = "LeftTransaction";
  constructor() {
    super(
      "a connection came out of the pool with a transaction under way, or with autocommit off: whoever begins one is to " +
        "commit it or roll it back before the connection is released",
    );
  }
}

/**
 * Gets connections of the pool.
 *
 * @throws IdempotencyError `config_invalid` for what is no such pool.
 */
export function connectionsOf(pool: MysqlPoolLike): () => Promise<Connection> {
  const { promise } = (pool ?? {}) as Partial<MysqlCallbackPoolLike>;
  const promised = typeof promise === "function" ? promise.call(pool) : (pool as MysqlPromisePoolLike);
  if (typeof promised?.getConnection !== "function") {
    throw new IdempotencyError(
      "config_invalid",
      "mysqlStore needs a `pool`: what createPool() of mysql2, mysql2/promise or mariadb made.",
    );
  }
  heedErrors(promised);
  return async () => {
    const connection = (await promised.getConnection()) as MysqlConnectionLike & MariadbMarks & Mysql2Marks;
    return typeof connection.serverVersion === "function" ? ofMariadb(connection) : ofMysql2(connection);
  };
}

/**
 * The mariadb connector's pool tells of connections that it cannot make by the event `error`, which ends a process where
 * nobody listens. Whoever asks for a connection learns of it all the same.
 */
function heedErrors(pool: object): void {
  const { on, listenerCount } = pool as Partial<NodeJS.EventEmitter>;
  if (on === undefined || listenerCount === undefined || !("taskQueueSize" in pool)) return;
  if (listenerCount.call(pool, "error") === 0) on.call(pool, "error", () => {});
}

/** What only the mariadb connector's connections have. */
interface MariadbMarks {
  readonly serverVersion?: unknown;
  readonly info?: { readonly status?: number } | null;
}

/** What only mysql2's connections have. */
interface Mysql2Marks {
  readonly config?: { readonly typeCast?: unknown };
}

/** Of the status that the server sends along with each answer. */
const IN_TRANSACTION = 1;

// Whatever a pool is set to, rows come as arrays, of plain values.
const PLAIN = { rowsAsArray: true, nestTables: false } as const;

/** The answer of a statement that changes rows, in both clients. */
interface Header {
  readonly affectedRows?: unknown;
  readonly insertId?: unknown;
  /** mysql2 only. */
  readonly serverStatus?: unknown;
}

function ofMysql2(connection: MysqlConnectionLike & Mysql2Marks): Connection {
  // A function of the pool's is replaced by another function only, which takes its time for each value.
  const own = typeof connection.config?.typeCast === "function";
  const plain = own ? { ...PLAIN, typeCast: (_field: unknown, next: () => unknown) => next() } : PLAIN;
  return {
    async query(sql) {
      const options = { ...plain, sql };
      const [result] = (await connection.query(options)) as readonly [Header | readonly Row[]];
      return outcomeOf(result, (result as Header).serverStatus);
    },
    release: () => release(connection),
    destroy: () => void connection.destroy(),
  };
}

function ofMariadb(connection: MysqlConnectionLike & MariadbMarks): Connection {
  return {
    async query(sql) {
      const numbers = { bigIntAsNumber: true, insertIdAsNumber: true, checkNumberRange: false };
      const options = { ...PLAIN, ...numbers, sql, metaAsArray: false, typeCast: undefined };
      const result = (await connection.query(options)) as Header | readonly Row[];
      return outcomeOf(result, connection.info?.status);
    },
    release: () => release(connection),
    destroy: () => void connection.destroy(),
  };
}

/** The mariadb connector rolls back what was left open, which needs no waiting for. */
function release(connection: MysqlConnectionLike): void {
  Promise.resolve(connection.release()).catch(() => {});
}

function outcomeOf(result: Header | readonly Row[], status: unknown): Outcome {
  if (Array.isArray(result)) return { rows: result as readonly Row[], affected: 0, lastId: 0 };
  const { affectedRows, insertId } = result as Header;
  if ((Number(status) & IN_TRANSACTION) !== 0) throw new LeftTransaction();
  return { rows: [], affected: Number(affectedRows), lastId: Number(insertId) };
}
