// The store in PostgreSQL: claims and answers of many requests share a round trip and a commit.

import { IdempotencyError } from "../core/errors.js";
import type { HistoryStore } from "../core/history.js";
import type { Page } from "../core/page.js";
import type { Answer, Fence, RecordId, StoredRecord } from "../core/record.js";
import { decodeEntries, encodeEntry } from "../core/step-log.js";
import {
  type ClaimRequest,
  type ClaimResult,
  DEFAULT_STORE_LIMITS,
  type Durability,
  type Found,
  type RecordQuery,
  type Store,
  type StoreInfo,
  type StoreLimits,
  type StoreWaiting,
} from "../core/store.js";
import type { StoreTransactions } from "../core/transactions.js";
import type { GatheringOptions } from "./gathering/gatherer.js";
import { databaseOf, type PostgresClientLike } from "./postgres/client.js";
import { PostgresHistory, sharedValues } from "./postgres/history.js";
import { openDatabase } from "./postgres/open.js";
import { Queries } from "./postgres/queries.js";
import { RoundTrips } from "./postgres/round-trips.js";
import { migrations, type Names, namesOf } from "./postgres/schema.js";
import { keptText } from "./postgres/text.js";
import { completion } from "./postgres/transitions.js";
import { Waiting } from "./postgres/waiting.js";
import { assertIdentifier, assertIds, assertWholeNumbers, pageLimit } from "./sql/checks.js";
import { collect } from "./sql/slices.js";

export type { PostgresClientLike } from "./postgres/client.js";
export type { PgClientLike, PgEventLike, PgPoolLike, PgQueryLike } from "./postgres/pg-pool.js";
export type { PGliteLike, PGliteQueriesLike } from "./postgres/pglite.js";
export type { PostgresJsLike, PostgresJsQueriesLike, PostgresJsQueryLike } from "./postgres/postgres-js.js";

/** Where the tables are. */
export interface PostgresSchemaOptions {
  /** Default: where `search_path` leads. Made where it is missing. */
  readonly schema?: string;
  /** What the tables' names begin with. Default `onceward_`. */
  readonly prefix?: string;
}

export interface PostgresStoreOptions extends PostgresSchemaOptions {
  /** A `Pool` of `pg`, the `sql` of postgres.js, or a `PGlite`. You close it. */
  readonly client: PostgresClientLike;
  /** Whether to make the tables and bring them up to date. Default true; else see {@link postgresSchema}. */
  readonly migrate?: boolean;
  /** Bounds on records (SPEC §9.4). Default 1,000,000 an account and 10,000,000 in all. */
  readonly limits?: Partial<StoreLimits>;
  /** Default: 512 operations a round trip, and 250 ms until those that wait go out beside one that takes long. */
  readonly gathering?: Partial<GatheringOptions>;
  /** Operations that may wait for a round trip; beyond it they are rejected with `store_unavailable`. Default 20,000. */
  readonly maxQueued?: number;
  /** Longest an operation goes without an answer before it is rejected with `store_unavailable`, in ms. Default 10,000. */
  readonly maxWaitMs?: number;
  /** Off for poolers in transaction mode that do not know prepared statements (PgBouncer before 1.21). Default true. */
  readonly preparedStatements?: boolean;
  /** Whether to wake waiters by LISTEN, on a connection of its own. Off for poolers in transaction mode. Default true. */
  readonly listen?: boolean;
  /** Told, once and at start, of settings of the server that weaken what the store promises. Default `console.warn`. */
  readonly onWarning?: (message: string) => void;
  /** For tests only: the instant, in epoch milliseconds, that operations are judged by, and not the server's clock. */
  readonly now?: () => number;
}

/**
 * A store in a PostgreSQL database, 12 or later, that any number of processes share.
 *
 * What it acknowledged survives a crash of the server and the loss of power, as far as the server's settings allow;
 * `info.durability` says so once it is open. `open` rejects with `store_inaccessible`, `store_unsuitable`,
 * `store_foreign`, `store_corrupt` or `store_schema_newer`.
 *
 * @throws IdempotencyError `config_invalid` for options that cannot work.
 */
export function postgresStore(options: PostgresStoreOptions): Store {
  return new PostgresStore(options);
}

/** The statements that make the tables, or bring those of version `from` up to date, for a role that may. */
export function postgresSchema(options: PostgresSchemaOptions & { readonly from?: number } = {}): string {
  assertNames(options);
  const names = namesOf(options.schema ?? null, options.prefix ?? PREFIX);
  const schema = names.schema === null ? "" : `CREATE SCHEMA IF NOT EXISTS "${names.schema}";\n\n`;
  return `BEGIN;\n\n${schema}${migrations(names, options.from ?? 0)}\n\nCOMMIT;\n`;
}

const PREFIX = "onceward_";

/** What there is once the store is open. */
interface Opened {
  readonly names: Names;
  readonly trips: RoundTrips;
  readonly durability: Durability;
}

class PostgresStore implements Store {
  readonly history: HistoryStore;
  readonly transactions: StoreTransactions;
  readonly waiting?: StoreWaiting;
  readonly #options: PostgresStoreOptions;
  readonly #queries: Queries;
  readonly #shared: ReturnType<typeof sharedValues>;
  readonly #waiting: Waiting | undefined;
  #opened: Opened | undefined;
  #closed = false;

  constructor(options: PostgresStoreOptions) {
    assertValid(options);
    this.#options = options;
    const database = databaseOf(options.client, options.maxWaitMs ?? 10_000);
    this.#queries = new Queries(database, options.preparedStatements ?? true);
    const ask = (sql: string, values: Parameters<Queries["once"]>[1]) =>
      this.#open().trips.slowly(() => this.#queries.once(sql, values));
    const names = (): Names => this.#open().names;
    this.history = new PostgresHistory(ask, names);
    this.#shared = sharedValues(ask, names);
    this.transactions = {
      dialect: "postgres",
      completion: (id, fence, answer) => {
        assertIds(id, fence);
        return completion(names(), id, fence, answer, options.now?.() ?? null);
      },
    };
    if ((options.listen ?? true) && database.listen !== null) {
      const mark = (id: RecordId) => this.#open().trips.change("watch", id, null);
      this.#waiting = new Waiting({ database, channel: () => names().channel, mark });
      this.waiting = this.#waiting;
    }
  }

  get info(): StoreInfo {
    const { embedded } = this.#queries.database;
    return {
      name: "postgres",
      durability: this.#opened?.durability ?? embedded ?? "power-loss",
      maxRetentionMs: Number.MAX_SAFE_INTEGER,
      shared: embedded === null,
      maxClockSkewMs: 0,
    };
  }

  async open(): Promise<void> {
    if (this.#closed) throw closedError("has been closed");
    if (this.#opened !== undefined) throw closedError("is open already");
    const { schema = null, prefix = PREFIX, migrate = true, onWarning, gathering, now } = this.#options;
    const warn = onWarning ?? ((message: string) => console.warn(message));
    const { names, durability } = await openDatabase(this.#queries, {
      ...{ schema, prefix, migrate },
      warn: (message) => warn(`onceward: PostgreSQL: ${message}`),
    });
    const trips = new RoundTrips(this.#queries, names, {
      limits: { ...DEFAULT_STORE_LIMITS, ...this.#options.limits },
      maxBatch: gathering?.maxBatch ?? 512,
      longestWaitMs: gathering?.longestWaitMs ?? 250,
      maxQueued: this.#options.maxQueued ?? 20_000,
      maxWaitMs: this.#options.maxWaitMs ?? 10_000,
      now: () => now?.() ?? null,
    });
    this.#opened = { names, trips, durability };
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    assertIds(request.id, request.fence);
    return this.#open().trips.claim(request);
  }

  async renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean> {
    assertIds(id, fence);
    return this.#open().trips.change("renew", id, fence, { leaseMs: Math.round(leaseMs) });
  }

  async complete(id: RecordId, fence: Fence, { status, payload }: Answer): Promise<boolean> {
    assertIds(id, fence);
    return this.#open().trips.change("complete", id, fence, { status, bytes: copyOf(payload) });
  }

  async interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean> {
    assertIds(id, fence);
    const name = by === "owner" ? "interruptByOwner" : "interruptByFinder";
    return this.#open().trips.change(name, id, fence, { status });
  }

  async takeOver(id: RecordId, fence: Fence, next: Parameters<Store["takeOver"]>[2]): Promise<boolean> {
    assertIds(id, fence, next.fence);
    const runId = next.runId === undefined ? null : keptText(next.runId);
    const more = { next: next.fence, leaseMs: Math.round(next.leaseMs), runId };
    return this.#open().trips.change("takeOver", id, fence, more);
  }

  async settle(id: RecordId, fence: Fence, next: { readonly fence: Fence; readonly answer: Answer }): Promise<boolean> {
    assertIds(id, fence, next.fence);
    const { status, payload } = next.answer;
    return this.#open().trips.change("settle", id, fence, { next: next.fence, status, bytes: copyOf(payload) });
  }

  async release(id: RecordId, fence: Fence): Promise<boolean> {
    assertIds(id, fence);
    return this.#open().trips.change("release", id, fence);
  }

  async appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean> {
    assertIds(id, fence);
    return this.#open().trips.change("appendStep", id, fence, { bytes: encodeEntry(entry) });
  }

  async readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    assertIds(id, fence);
    const { trips } = this.#open();
    const log = await trips.slowly(() => trips.keeping.readSteps(id, fence));
    return log === null ? null : decodeEntries(log);
  }

  async find(id: RecordId): Promise<Found | null> {
    assertIds(id);
    const found = await this.#open().trips.find(id);
    if (found === null) return null;
    const { record, now, waited } = found;
    if (record.state === "running" && !waited) this.#waiting?.unmarked(id);
    return { record, now };
  }

  async list(query: RecordQuery): Promise<Page<StoredRecord>> {
    const { trips } = this.#open();
    const { cursor: first, ...filters } = query;
    return collect(pageLimit(query.limit), first, (limit, cursor) => {
      const slice = cursor === undefined ? { ...filters, limit } : { ...filters, limit, cursor };
      return trips.slowly(() => trips.keeping.list(slice));
    });
  }

  async purge(limit: number): Promise<number> {
    const { trips } = this.#open();
    return trips.keeping.purge(limit, (batch) => trips.slowly(batch));
  }

  async getShared(name: string): Promise<Uint8Array | null> {
    return this.#shared.get(name);
  }

  async setShared(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean> {
    return this.#shared.set(name, copyOf(value), expected === null ? null : copyOf(expected));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#waiting?.close();
    await this.#opened?.trips.close();
  }

  #open(): Opened {
    if (this.#closed) throw closedError("has been closed");
    if (this.#opened === undefined) throw closedError("has not been opened");
    return this.#opened;
  }
}

function closedError(reason: string): IdempotencyError {
  return new IdempotencyError("store_closed", `The PostgreSQL store ${reason}.`);
}

// The caller may reuse its bytes before they are sent.
function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function assertValid(options: PostgresStoreOptions): void {
  assertNames(options);
  const numbers = { ...options, ...options.limits, ...options.gathering };
  const least = { maxQueued: 1, maxWaitMs: 1, maxBatch: 1, longestWaitMs: 1, maxRecords: 0, maxRecordsPerAccount: 0 };
  assertWholeNumbers("postgresStore", numbers, least);
}

function assertNames({ schema, prefix }: PostgresSchemaOptions): void {
  // Names of PostgreSQL have 63 characters at most, and the longest of an index is the prefix and 15 more.
  if (schema !== undefined) assertIdentifier("postgresStore", "schema", schema, 63);
  if (prefix !== undefined) assertIdentifier("postgresStore", "prefix", prefix, 40);
}
