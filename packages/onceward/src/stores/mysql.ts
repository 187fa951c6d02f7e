// The store in MySQL or MariaDB: claims and answers of many requests share a round trip and a commit.

import { IdempotencyError } from "../core/errors.js";
import type { HistoryStore } from "../core/history.js";
import type { Page } from "../core/page.js";
import type { Answer, Fence, RecordId, StoredRecord } from "../core/record.js";
import {
  type ClaimRequest,
  type ClaimResult,
  DEFAULT_STORE_LIMITS,
  type Found,
  type RecordQuery,
  type Store,
  type StoreInfo,
  type StoreLimits,
} from "../core/store.js";
import type { StoreTransactions } from "../core/transactions.js";
import type { GatheringOptions } from "./gathering/gatherer.js";
import {
  answerValues,
  Changes,
  completion,
  interruptionByFinder,
  interruptionByOwner,
  renewal,
  settlement,
  step,
  stepValues,
  takeOver,
} from "./mysql/changes.js";
import { Claims } from "./mysql/claims.js";
import { connectionsOf, type MysqlPoolLike } from "./mysql/client.js";
import { COUNTED_BY_CLAIMS, Counted } from "./mysql/counted.js";
import { inaccessible } from "./mysql/faults.js";
import { MysqlHistory, sharedValues } from "./mysql/history.js";
import { Lanes } from "./mysql/lanes.js";
import { openDatabase } from "./mysql/open-database.js";
import { Places } from "./mysql/places.js";
import { Records } from "./mysql/records.js";
import { DEFAULT_PREFIX, type Tables, tablesOf } from "./mysql/schema.js";
import type { Server } from "./mysql/server.js";
import { Sessions } from "./mysql/sessions.js";
import { clockOf, hex, integer, statusCode, textOrNull } from "./mysql/statements.js";
import { assertIds, assertWholeNumbers, pageLimit } from "./sql/checks.js";
import { Room } from "./sql/room.js";
import { collect } from "./sql/slices.js";

export type {
  MysqlCallbackPoolLike,
  MysqlConnectionLike,
  MysqlPoolLike,
  MysqlPromisePoolLike,
} from "./mysql/client.js";
export { type MysqlSchemaOptions, mysqlSchema } from "./mysql/schema.js";

export interface MysqlStoreOptions {
  /** What `createPool` of `mysql2`, `mysql2/promise` or `mariadb` made, with a `database`. You close it. */
  readonly pool: MysqlPoolLike;
  /** What the tables' names begin with. Default `onceward_`. */
  readonly prefix?: string;
  /** Whether to make the tables and bring them up to date. Default true; else see {@link mysqlSchema}. */
  readonly migrate?: boolean;
  /** Bounds on records (SPEC §9.4). Default 1,000,000 an account and 10,000,000 in all. */
  readonly limits?: Partial<StoreLimits>;
  /** Default: 256 operations a round trip, and 100 ms until those that wait go out beside one that takes long. */
  readonly gathering?: Partial<GatheringOptions>;
  /** Operations that may wait for a round trip; beyond it they are rejected with `store_unavailable`. Default 20,000. */
  readonly maxQueued?: number;
  /** Longest an operation goes without an answer before it is rejected with `store_unavailable`, in ms. Default 10,000. */
  readonly maxWaitMs?: number;
  /** Told, once and at start, of settings of the server that weaken what the store promises. Default `console.warn`. */
  readonly onWarning?: (message: string) => void;
  /** For tests only: the instant, in epoch milliseconds, that operations are judged by, and not the server's clock. */
  readonly now?: () => number;
}

/**
 * A store in a database of MariaDB 10.11 or MySQL 8.0, or later, that any number of processes share.
 *
 * What it acknowledged survives a crash of the server and the loss of power, as far as the server's settings allow;
 * `info.durability` says so once it is open. A claim of a new key is one round trip. A replay is one too, or two where
 * this process meets the key for the first time, since MySQL has no statement that writes and tells what it found
 * (SPEC §4.1's exception). There is nothing to wake waiters by: they poll.
 *
 * `open` rejects with `store_inaccessible`, `store_unsuitable`, `store_foreign` or `store_schema_newer`.
 *
 * @throws IdempotencyError `config_invalid` for options that cannot work.
 */
export function mysqlStore(options: MysqlStoreOptions): Store {
  return new MysqlStore(options);
}

const MAX_WAIT_MS = 10_000;
/** A claim that meets a record which goes away meanwhile is made again, so often at least. */
const LEAST_CLAIMS = 3;

class MysqlStore implements Store {
  readonly history: HistoryStore;
  readonly transactions: StoreTransactions;
  readonly #options: MysqlStoreOptions;
  readonly #tables: Tables;
  readonly #maxWaitMs: number;
  readonly #sessions: Sessions;
  readonly #lanes: Lanes;
  readonly #claims: Claims;
  readonly #records: Records;
  readonly #room: Room;
  readonly #places = new Places();
  readonly #shared: ReturnType<typeof sharedValues>;
  #server: Server | null = null;
  #closed = false;

  constructor(options: MysqlStoreOptions) {
    assertValid(options);
    this.#options = options;
    this.#maxWaitMs = options.maxWaitMs ?? MAX_WAIT_MS;
    this.#tables = tablesOf("mysqlStore", options.prefix ?? DEFAULT_PREFIX);
    const { records } = this.#tables;
    const clock = clockOf(options.now);
    const limits = { ...DEFAULT_STORE_LIMITS, ...options.limits };
    const counted = new Counted(records, clock, limits);
    const changes = new Changes(records, clock, this.#places);
    this.#claims = new Claims(records, clock, counted, this.#places);
    this.#records = new Records(records, clock, this.#places);
    this.#sessions = new Sessions(connectionsOf(options.pool), this.#maxWaitMs);
    const { maxBatch = 256, longestWaitMs = 100 } = options.gathering ?? {};
    const lanes = { maxBatch, longestWaitMs, maxWaitMs: this.#maxWaitMs, maxQueued: options.maxQueued ?? 20_000 };
    this.#lanes = new Lanes(this.#sessions, lanes, this.#claims, changes, this.#records);
    this.#room = new Room(limits, COUNTED_BY_CLAIMS, (account, most) =>
      this.#lanes.work((query) => counted.count(query, account, most)),
    );
    this.#shared = sharedValues((work, repeatable) => this.#lanes.work(work, repeatable), this.#tables);
    this.history = new MysqlHistory((work) => this.#lanes.work(work), this.#tables);
    this.transactions = {
      dialect: "mysql",
      completion: (id, fence, answer) => {
        assertIds(id, fence);
        return changes.completion(id, fence, answer);
      },
    };
  }

  get info(): StoreInfo {
    return {
      name: "mysql",
      // Not known before it is open.
      durability: this.#server?.durability ?? "process",
      maxRetentionMs: Number.MAX_SAFE_INTEGER,
      shared: true,
      maxClockSkewMs: 0,
    };
  }

  async open(): Promise<void> {
    if (this.#closed) throw new IdempotencyError("store_closed", "The MySQL store has been closed.");
    const { migrate = true, onWarning = console.warn } = this.#options;
    let server: Server;
    try {
      server = await this.#sessions.use((query) => openDatabase(query, { tables: this.#tables, migrate }));
    } catch (error) {
      throw inaccessible(error);
    }
    this.#server = server;
    this.#lanes.maxPacketBytes = server.maxPacketBytes;
    for (const warning of server.warnings) onWarning(`onceward: MySQL: ${warning}`);
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    assertIds(request.id, request.fence);
    const { account } = request.labels;
    const giveUpAt = performance.now() + this.#maxWaitMs;
    for (let made = 0; made < LEAST_CLAIMS || performance.now() < giveUpAt; made++) {
      const met = await this.#lanes.claim(this.#claims.claimOf(request, this.#room.reached(account)));
      if (met?.outcome === "claimed") this.#room.made(account);
      if (met !== null) return met;
    }
    throw new IdempotencyError("store_unavailable", "The record comes and goes too quickly for the MySQL store.");
  }

  async renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean> {
    assertIds(id, fence);
    return this.#lanes.change(renewal, { id, fence, values: [integer(Math.round(leaseMs))] });
  }

  async complete(id: RecordId, fence: Fence, answer: Answer): Promise<boolean> {
    assertIds(id, fence);
    return this.#lanes.change(completion, { id, fence, values: answerValues(answer) });
  }

  async interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean> {
    assertIds(id, fence);
    const kind = by === "owner" ? interruptionByOwner : interruptionByFinder;
    return this.#lanes.change(kind, { id, fence, values: [statusCode(status)] });
  }

  async takeOver(
    id: RecordId,
    fence: Fence,
    next: { readonly fence: Fence; readonly leaseMs: number; readonly runId?: string },
  ): Promise<boolean> {
    assertIds(id, fence, next.fence);
    const values = [hex(next.fence), integer(Math.round(next.leaseMs)), textOrNull(next.runId ?? null)];
    this.#places.follow(fence, next.fence);
    return this.#lanes.change(takeOver, { id, fence, values });
  }

  async settle(id: RecordId, fence: Fence, next: { readonly fence: Fence; readonly answer: Answer }): Promise<boolean> {
    assertIds(id, fence, next.fence);
    return this.#lanes.change(settlement, { id, fence, values: [hex(next.fence), ...answerValues(next.answer)] });
  }

  async release(id: RecordId, fence: Fence): Promise<boolean> {
    assertIds(id, fence);
    const released = await this.#lanes.release({ id, fence });
    if (released) this.#claims.gone(id);
    return released;
  }

  async appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean> {
    assertIds(id, fence);
    // Half of what a statement may hold, so that a log can be read, whatever is in a row beside it.
    const values = stepValues(entry, Math.floor(this.#lanes.maxPacketBytes / 2));
    return this.#lanes.change(step, { id, fence, values });
  }

  async readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    assertIds(id, fence);
    return this.#lanes.work((query) => this.#records.readSteps(query, id, fence));
  }

  async find(id: RecordId): Promise<Found | null> {
    assertIds(id);
    return this.#lanes.find(id);
  }

  async list(query: RecordQuery): Promise<Page<StoredRecord>> {
    return collect(pageLimit(query.limit), query.cursor, (limit, cursor) =>
      this.#lanes.work((ask) => this.#records.listSlice(ask, query, limit, cursor)),
    );
  }

  async purge(limit: number): Promise<number> {
    for (let purged = 0; ; ) {
      const batch = await this.#lanes.work((query) => this.#records.purge(query, limit - purged));
      purged += batch.purged;
      if (!batch.more || purged >= limit) return purged;
    }
  }

  async getShared(name: string): Promise<Uint8Array | null> {
    return this.#shared.get(name);
  }

  async setShared(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean> {
    return this.#shared.set(name, value, expected);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#lanes.close();
  }
}

function assertValid(options: MysqlStoreOptions): void {
  const numbers = { ...options, ...options.limits, ...options.gathering };
  const least = { maxBatch: 1, longestWaitMs: 0, maxQueued: 1, maxWaitMs: 1, maxRecords: 0, maxRecordsPerAccount: 0 };
  assertWholeNumbers("mysqlStore", numbers, least);
  // Beyond it MariaDB turns lists into joins, and MySQL's optimizer runs out of memory and reads whole tables.
  if ((options.gathering?.maxBatch ?? 0) <= 500) return;
  throw new IdempotencyError("config_invalid", "mysqlStore's option `gathering.maxBatch` is more than 500.");
}
