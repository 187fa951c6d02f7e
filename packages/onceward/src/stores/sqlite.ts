// The embedded store: one SQLite file, durable, with concurrent requests sharing each commit.

import { resolve } from "node:path";
import { IdempotencyError } from "../core/errors.js";
import type { AuditEntry, HistoryStore, Run, RunQuery } from "../core/history.js";
import type { Page } from "../core/page.js";
import type { Answer, Fence, RecordId, StoredRecord } from "../core/record.js";
import { decodeEntries } from "../core/step-log.js";
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
} from "../core/store.js";
import type { StoreTransactions } from "../core/transactions.js";
import type { GatheringOptions } from "./gathering/gatherer.js";
import { assertIds, assertWholeNumbers, pageLimit } from "./sql/checks.js";
import { collect, repeat } from "./sql/slices.js";
import { claimedRecord, claimTimes } from "./sql/states.js";
import type { SqliteDatabaseLike } from "./sqlite/driver.js";
import { GatheredLane, type Lane } from "./sqlite/gathered-lane.js";
import { OwnLane } from "./sqlite/own-lane.js";
import { type OperationName, type Operations, type RecordRow, recordOf } from "./sqlite/protocol.js";
import { completion } from "./sqlite/records.js";
import { WorkerLane } from "./sqlite/worker-lane.js";

export type { SqliteDatabaseLike, SqliteStatementLike, SqlRow, SqlValue } from "./sqlite/driver.js";

/** Options of both forms. */
export interface SqliteCommonOptions {
  /** Bounds on records (SPEC §9.4). Default 1,000,000 an account and 10,000,000 in all. */
  readonly limits?: Partial<StoreLimits>;
  /** Operations that may share one commit: `maxBatch`, default 512. */
  readonly gathering?: Partial<Pick<GatheringOptions, "maxBatch">>;
  /** Operations that may wait for the next commit; beyond it they are rejected with `store_unavailable`. Default 20,000. */
  readonly maxQueued?: number;
  /** Longest an operation goes without an answer before it is rejected with `store_unavailable`, in ms. Default 10,000. */
  readonly maxWaitMs?: number;
  /** How long to try for the write lock that another process holds, in milliseconds. Default 5,000. */
  readonly busyTimeoutMs?: number;
  /**
   * For tests only: the instant, in epoch milliseconds, that operations are judged by. Without it that is the clock of
   * the thread that owns the database, read after the write lock was got (SPEC §4.3).
   */
  readonly now?: () => number;
}

/** A file of the store's own, which a worker thread keeps open. */
export interface SqliteFileOptions extends SqliteCommonOptions {
  /**
   * The file; it is made where it is missing, its directory is not. `-wal` and `-shm` files stand beside it. Other
   * processes may open it with any SQLite; this process must not open it with another SQLite library than the store's,
   * since two of them in one process do not see each other's locks (https://sqlite.org/howtocorrupt.html, 2.2.1).
   */
  readonly path: string;
  /** Memory for pages of the file, in bytes. Default 64 MiB. */
  readonly cacheBytes?: number;
  /** Pages of 4 KiB in the log after which it is written back to the file. Default 250: small pauses, often. */
  readonly checkpointPages?: number;
  /** For tests of a full disk: the largest size of the file, in pages. */
  readonly maxPages?: number;
}

/** A database that you opened, with tables of ours (named `onceward_…`) beside yours. */
export interface SqliteDatabaseOptions extends SqliteCommonOptions {
  /**
   * A database of `node:sqlite`, `@photostructure/sqlite`, better-sqlite3 or libsql. Its journal mode and `synchronous`
   * stay as you set them, and decide on the durability that `info` declares once it is open. You close it. Operations
   * can have transactions of their own in it, which commit with their answers (SPEC §7.1).
   */
  readonly database: SqliteDatabaseLike;
}

export type SqliteStoreOptions = SqliteFileOptions | SqliteDatabaseOptions;

/**
 * A store in an SQLite file, or in an SQLite database of your own.
 *
 * What it acknowledged survives `kill -9` and, in a file of its own, the loss of power. Several processes may share one
 * file on one machine. `open` rejects with `store_inaccessible`, `store_foreign`, `store_corrupt`,
 * `store_schema_newer` or `store_unsuitable` (no SQLite on this Node), and leaves such a file untouched.
 *
 * @throws IdempotencyError `config_invalid` for options that cannot work.
 */
export function sqliteStore(options: SqliteStoreOptions): Store {
  return new SqliteStore(options);
}

class SqliteStore implements Store {
  readonly history: HistoryStore;
  readonly transactions?: StoreTransactions;
  readonly #lane: GatheredLane;
  #durability: Durability;

  constructor(options: SqliteStoreOptions) {
    assertValid(options);
    this.#durability = "path" in options ? "power-loss" : "process";
    this.#lane = new GatheredLane(this.#laneOf(options), {
      maxBatch: options.gathering?.maxBatch ?? 512,
      maxQueued: options.maxQueued ?? 20_000,
      maxWaitMs: options.maxWaitMs ?? 10_000,
      now: options.now ?? null,
    });
    if ("database" in options) {
      this.transactions = {
        dialect: "sqlite",
        completion(id, fence, answer) {
          assertIds(id, fence);
          return completion(id, fence, answer, options.now?.() ?? null);
        },
      };
    }
    this.history = new SqliteHistory((name, ...args) => this.#value(name, ...args));
  }

  get info(): StoreInfo {
    return {
      name: "sqlite",
      durability: this.#durability,
      maxRetentionMs: Number.MAX_SAFE_INTEGER,
      // A database in memory is its process's own.
      shared: this.#durability !== "process",
      maxClockSkewMs: 0,
    };
  }

  open(): Promise<void> {
    return this.#lane.open();
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const { id, fence, fingerprint, labels } = request;
    assertIds(id, fence);
    const { account, key, operation, runId } = labels;
    const { ageMs, forMs, untilAt, leaseMs } = claimTimes(request);
    const { value, now } = await this.#lane.submit(
      "claim",
      ...([id, fence, fingerprint, ageMs, forMs, untilAt, leaseMs, account, key, operation, runId] as const),
    );
    if (value === null) return { outcome: "claimed", record: claimedRecord(request, now), now };
    if (value[0] === "full") return { outcome: "full", limit: value[1] };
    return { outcome: value[0], record: recordOf(value[1]), now };
  }

  async renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean> {
    assertIds(id, fence);
    return this.#value("renew", id, fence, Math.round(leaseMs));
  }

  async complete(id: RecordId, fence: Fence, answer: Answer): Promise<boolean> {
    assertIds(id, fence);
    return this.#value("complete", id, fence, answer.status, copyOf(answer.payload));
  }

  async interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean> {
    assertIds(id, fence);
    return this.#value("interrupt", id, fence, status, by === "owner");
  }

  async takeOver(
    id: RecordId,
    fence: Fence,
    next: { readonly fence: Fence; readonly leaseMs: number; readonly runId?: string },
  ): Promise<boolean> {
    assertIds(id, fence, next.fence);
    return this.#value("takeOver", id, fence, next.fence, Math.round(next.leaseMs), next.runId ?? null);
  }

  async settle(id: RecordId, fence: Fence, next: { readonly fence: Fence; readonly answer: Answer }): Promise<boolean> {
    assertIds(id, fence, next.fence);
    return this.#value("settle", id, fence, next.fence, next.answer.status, copyOf(next.answer.payload));
  }

  async release(id: RecordId, fence: Fence): Promise<boolean> {
    assertIds(id, fence);
    return this.#value("release", id, fence);
  }

  async appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean> {
    assertIds(id, fence);
    return this.#value("appendStep", id, fence, copyOf(entry));
  }

  async readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    assertIds(id, fence);
    const log = await this.#value("readSteps", id, fence);
    return log === null ? null : decodeEntries(log);
  }

  async find(id: RecordId): Promise<Found | null> {
    assertIds(id);
    const { value, now } = await this.#lane.submit("find", id);
    return value === null ? null : { record: recordOf(value), now };
  }

  async list(query: RecordQuery): Promise<Page<StoredRecord>> {
    const limit = pageLimit(query.limit);
    const filter = { state: query.state ?? null, account: query.account ?? null, key: query.key ?? null };
    const page = await collect<RecordRow>(limit, query.cursor, (left, cursor) =>
      this.#value("list", { ...filter, limit: left, cursor: cursor ?? null }),
    );
    return { items: page.items.map(recordOf), next: page.next };
  }

  async purge(limit: number): Promise<number> {
    return repeat(limit, (left) => this.#value("purge", left));
  }

  async getShared(name: string): Promise<Uint8Array | null> {
    return this.#value("getShared", name);
  }

  async setShared(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean> {
    return this.#value("setShared", name, copyOf(value), expected === null ? null : copyOf(expected));
  }

  close(): Promise<void> {
    return this.#lane.close();
  }

  async #value<K extends OperationName>(name: K, ...args: Operations[K]["args"]): Promise<Operations[K]["value"]> {
    return (await this.#lane.submit(name, ...args)).value;
  }

  #laneOf(options: SqliteStoreOptions): Lane {
    const limits = { ...DEFAULT_STORE_LIMITS, ...options.limits };
    const batch = { limits, busyTimeoutMs: options.busyTimeoutMs ?? 5_000 };
    if ("database" in options) {
      return new OwnLane(options.database, batch, (durability) => {
        this.#durability = durability;
      });
    }
    return new WorkerLane({
      ...batch,
      path: resolve(options.path),
      cacheBytes: options.cacheBytes ?? 64 * 1024 * 1024,
      checkpointPages: options.checkpointPages ?? 250,
      create: true,
      maxPages: options.maxPages ?? null,
    });
  }
}

type Ask = <K extends OperationName>(name: K, ...args: Operations[K]["args"]) => Promise<Operations[K]["value"]>;

const RUNS_AT_ONCE = 250;

class SqliteHistory implements HistoryStore {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  async putRuns(runs: readonly Run[]): Promise<void> {
    // Claims come in between, also where much history has gathered.
    for (let start = 0; start < runs.length; start += RUNS_AT_ONCE) {
      await this.#ask("putRuns", runs.slice(start, start + RUNS_AT_ONCE));
    }
  }

  listRuns(query: RunQuery): Promise<Page<Run>> {
    return collect<Run>(pageLimit(query.limit), query.cursor, (limit, cursor) => {
      const { cursor: _, ...filters } = query;
      return this.#ask("listRuns", cursor === undefined ? { ...filters, limit } : { ...filters, limit, cursor });
    });
  }

  getRun(id: string): Promise<Run | null> {
    return this.#ask("getRun", id);
  }

  async amendRun(id: string, change: Parameters<HistoryStore["amendRun"]>[1]): Promise<void> {
    await this.#ask("amendRun", id, change.outcome, change.status);
  }

  trimRuns(keep: number, limit: number): Promise<number> {
    return repeat(limit, (left) => this.#ask("trimRuns", Math.max(0, keep), left));
  }

  async putAudit(entry: AuditEntry): Promise<void> {
    await this.#ask("putAudit", entry);
  }

  listAudit(query: { readonly limit: number; readonly cursor?: string }): Promise<Page<AuditEntry>> {
    return this.#ask("listAudit", pageLimit(query.limit), query.cursor ?? null);
  }
}

// The caller may reuse its bytes before they are sent, and a view of a larger buffer would be sent with all of it.
function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** The least that each number may be. */
const LEAST = {
  maxBatch: 1,
  maxQueued: 1,
  maxWaitMs: 1,
  busyTimeoutMs: 0,
  cacheBytes: 0,
  checkpointPages: 1,
  maxPages: 1,
  maxRecords: 0,
  maxRecordsPerAccount: 0,
};

function assertValid(options: SqliteStoreOptions): void {
  assertWholeNumbers("sqliteStore", { ...options, ...options.limits, ...options.gathering }, LEAST);
  if ("database" in options) return;
  const invalid = (message: string) => new IdempotencyError("config_invalid", message);
  if (typeof options.path !== "string" || options.path === "" || options.path.includes("\0")) {
    throw invalid("sqliteStore needs a `path`: the file to keep records in, such as ./onceward.db.");
  }
  if (options.path === ":memory:") {
    throw invalid("sqliteStore keeps records in a file; use memoryStore() for a store in memory.");
  }
}
