// The store on Amazon DynamoDB: one table, every step one conditional write.

import { IdempotencyError } from "../core/errors.js";
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
import { Census } from "./dynamodb/census.js";
import { Chunks } from "./dynamodb/chunks.js";
import type { DynamoDBLike } from "./dynamodb/client.js";
import { unavailable } from "./dynamodb/faults.js";
import { listRecords, sequencer } from "./dynamodb/listing.js";
import { openTable } from "./dynamodb/open-table.js";
import { Purge } from "./dynamodb/purge.js";
import { Records } from "./dynamodb/records.js";
import { Requests } from "./dynamodb/requests.js";
import { SharedValues } from "./dynamodb/shared-values.js";
import { Table } from "./dynamodb/table.js";
import type { GatheringOptions } from "./gathering/gatherer.js";
import { type Moment, momentAt } from "./heads/head.js";
import { InFlight } from "./heads/in-flight.js";
import { assertIds, assertWholeNumbers } from "./sql/checks.js";

export type {
  DynamoDBAttribute,
  DynamoDBDescription,
  DynamoDBItem,
  DynamoDBLike,
  DynamoDBTable,
} from "./dynamodb/client.js";
export { dynamodbTable } from "./dynamodb/layout.js";

export interface DynamoDBStoreOptions {
  /** `new DynamoDB({ … })` of `@aws-sdk/client-dynamodb`; yours, so you end it. */
  readonly client: DynamoDBLike;
  /** The table, which holds nothing else. Default `onceward`. */
  readonly table?: string;
  /**
   * Whether `open` makes the table where it is missing, billed on demand, and turns its time to live on. Default true.
   * Where it is false, make it from {@link dynamodbTable} or as docs/stores/dynamodb.md says.
   */
  readonly createTable?: boolean;
  /**
   * How far the clocks of the nodes may be apart, in milliseconds. DynamoDB has no clock for conditions, so leases and
   * retention are judged by the nodes' own and last longer by so much (SPEC §4.3). Default 2,000; it must be less than
   * every lease.
   */
  readonly maxClockSkewMs?: number;
  /**
   * That of a global table whose Regions agree only eventually, only one is ever written to. Default false: such a table
   * is refused, since a key could run in each Region. Not needed with multi-Region strong consistency.
   */
  readonly oneRegion?: boolean;
  /** Bounds on records (SPEC §9.4), kept about: see docs/stores/dynamodb.md. Default 1,000,000 an account and 10,000,000 in all. */
  readonly limits?: Partial<StoreLimits>;
  /**
   * DynamoDB has no batch whose members fail alone, so operations at the same time are requests side by side: up to
   * `maxBatch` of them (default 50, as many as the SDK opens connections) before others wait. One that takes longer than
   * `longestWaitMs` (default 1,000) no longer counts, so that it holds nobody up.
   */
  readonly gathering?: Partial<GatheringOptions>;
  /** Operations that may wait for others to end; beyond it they are rejected with `store_unavailable`. Default 20,000. */
  readonly maxQueued?: number;
  /**
   * Longest an operation waits for others before it is sent, and longest a request takes, the SDK's retries and those of
   * throttled requests included, before it is rejected with `store_unavailable`, in milliseconds. Default 10,000.
   */
  readonly maxWaitMs?: number;
  /** Told in one line, at start or when a clock is found too far off, of what is not as it should be. Default `console.warn`. */
  readonly onWarning?: (message: string) => void;
  /** For tests only: the node's clock, in epoch milliseconds. */
  readonly now?: () => number;
}

/**
 * A store in a DynamoDB table, for any number of processes and machines.
 *
 * What it acknowledged is on several disks in several places. `open` rejects with `store_inaccessible`, `store_foreign`,
 * `store_schema_newer` or `store_unsuitable` (a global table whose Regions agree only eventually).
 *
 * @throws IdempotencyError `config_invalid` for options that cannot work.
 */
export function dynamodbStore(options: DynamoDBStoreOptions): Store {
  return new DynamoDBStore(options);
}

class DynamoDBStore implements Store {
  readonly info: StoreInfo;
  readonly #options: DynamoDBStoreOptions;
  readonly #requests: Requests;
  readonly #table: Table;
  readonly #census: Census;
  readonly #records: Records;
  readonly #purge: Purge;
  readonly #shared: SharedValues;
  readonly #inFlight: InFlight;
  readonly #stop = new AbortController();
  #timeToLive = false;
  #clocksApart = false;

  constructor(options: DynamoDBStoreOptions) {
    assertValid(options);
    const { client, table = "onceward", maxClockSkewMs = 2_000 } = options;
    this.#options = options;
    this.info = {
      name: "dynamodb",
      durability: "power-loss",
      maxRetentionMs: Number.MAX_SAFE_INTEGER,
      shared: true,
      maxClockSkewMs,
    };
    const { gathering = {}, maxQueued = 20_000, maxWaitMs = 10_000 } = options;
    const { maxBatch = 50, longestWaitMs = 1_000 } = gathering;
    this.#inFlight = new InFlight({
      name: "DynamoDB",
      most: maxBatch,
      longestWaitMs,
      maxQueued,
      giveUpAfterMs: maxWaitMs,
    });
    this.#requests = new Requests(maxWaitMs);
    this.#table = new Table(client, table, this.#requests);
    this.#census = new Census(this.#table, { ...DEFAULT_STORE_LIMITS, ...options.limits });
    const sequence = sequencer();
    const moment = (): Moment => this.#moment();
    this.#records = new Records({
      table: this.#table,
      chunks: new Chunks(this.#table, sequence),
      census: this.#census,
      moment,
      sequence,
      onRead: (record) => this.#compareClocks(record),
    });
    this.#purge = new Purge({ table: this.#table, moment, timeToLive: () => this.#timeToLive });
    this.#shared = new SharedValues(this.#table);
  }

  open(): Promise<void> {
    return this.#run(async () => {
      const { client, createTable = true, oneRegion = false } = this.#options;
      const { timeToLive } = await openTable({
        client,
        table: this.#table,
        requests: this.#requests,
        createTable,
        oneRegion,
        onWarning: (message) => this.#warn(message),
        signal: this.#stop.signal,
      });
      this.#timeToLive = timeToLive;
    });
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    assertIds(request.id, request.fence);
    return this.#run(() => this.#records.claim(request));
  }

  async renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean> {
    assertIds(id, fence);
    return this.#run(() => this.#records.renew(id, fence, leaseMs));
  }

  async complete(id: RecordId, fence: Fence, answer: Answer): Promise<boolean> {
    assertIds(id, fence);
    const { status, payload } = answer;
    return this.#run(() => this.#records.complete(id, fence, { status, payload: copyOf(payload) }));
  }

  async interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean> {
    assertIds(id, fence);
    return this.#run(() => this.#records.interrupt(id, fence, status, by));
  }

  async takeOver(id: RecordId, fence: Fence, next: Parameters<Store["takeOver"]>[2]): Promise<boolean> {
    assertIds(id, fence, next.fence);
    return this.#run(() => this.#records.takeOver(id, fence, next));
  }

  async settle(id: RecordId, fence: Fence, next: Parameters<Store["settle"]>[2]): Promise<boolean> {
    assertIds(id, fence, next.fence);
    const { status, payload } = next.answer;
    const answer = { status, payload: copyOf(payload) };
    return this.#run(() => this.#records.settle(id, fence, { fence: next.fence, answer }));
  }

  async release(id: RecordId, fence: Fence): Promise<boolean> {
    assertIds(id, fence);
    return this.#run(() => this.#records.release(id, fence));
  }

  async appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean> {
    assertIds(id, fence);
    const copy = copyOf(entry);
    return this.#run(() => this.#records.appendStep(id, fence, copy));
  }

  async readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    assertIds(id, fence);
    return this.#run(() => this.#records.readSteps(id, fence));
  }

  async find(id: RecordId): Promise<Found | null> {
    assertIds(id);
    return this.#run(() => this.#records.find(id));
  }

  list(query: RecordQuery): Promise<Page<StoredRecord>> {
    return this.#run(() => listRecords(this.#table, query, this.#moment()));
  }

  purge(limit: number): Promise<number> {
    return this.#run(() => this.#purge.run(limit));
  }

  getShared(name: string): Promise<Uint8Array | null> {
    return this.#run(() => this.#shared.get(name));
  }

  setShared(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean> {
    const copies = [copyOf(value), expected === null ? null : copyOf(expected)] as const;
    return this.#run(() => this.#shared.set(name, ...copies));
  }

  async close(): Promise<void> {
    this.#stop.abort(new IdempotencyError("store_closed", "The DynamoDB store was closed while it was opened."));
    await this.#inFlight.close();
    await this.#census.close();
  }

  async #run<T>(operation: () => Promise<T>): Promise<T> {
    try {
      return await this.#inFlight.run(operation);
    } catch (error) {
      throw unavailable(error, this.#table.name);
    }
  }

  #moment(): Moment {
    return momentAt((this.#options.now ?? Date.now)(), this.info.maxClockSkewMs);
  }

  /**
   * A record from the future was written by a clock that is ahead of this one; judged now that it was read, since it may
   * have been written while this node's request was on its way.
   */
  #compareClocks({ createdAt }: StoredRecord): void {
    const apartMs = createdAt - this.#moment().now;
    if (apartMs <= this.info.maxClockSkewMs || this.#clocksApart) return;
    this.#clocksApart = true;
    this.#warn(
      `The clock of this machine is ${Math.round(apartMs)} ms or more behind another's that uses the DynamoDB table ${this.#table.name}, and \`maxClockSkewMs\` is ${this.info.maxClockSkewMs}: synchronise the clocks (NTP), or raise it.`,
    );
  }

  #warn(message: string): void {
    (this.#options.onWarning ?? console.warn)(message);
  }
}

// The caller may reuse its bytes before they are sent.
function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

const METHODS = ["getItem", "putItem", "updateItem", "deleteItem", "query", "scan", "describeTable"] as const;
/** The least that each number may be. */
const LEAST = {
  maxClockSkewMs: 0,
  maxBatch: 1,
  longestWaitMs: 0,
  maxQueued: 1,
  maxWaitMs: 1,
  maxRecords: 0,
  maxRecordsPerAccount: 0,
};

function assertValid(options: DynamoDBStoreOptions): void {
  const refuse = (message: string): never => {
    throw new IdempotencyError("config_invalid", message);
  };
  const { client, table } = options;
  if (METHODS.some((method) => typeof client?.[method] !== "function")) {
    refuse(
      "dynamodbStore needs a `client`: `new DynamoDB({ … })` of @aws-sdk/client-dynamodb; a DynamoDBClient or a DynamoDBDocument will not do.",
    );
  }
  if (table !== undefined && !/^[a-zA-Z0-9_.-]{3,255}$/.test(table)) {
    refuse(
      `dynamodbStore's option \`table\` is ${JSON.stringify(table)}; a name is 3 to 255 of a-z, A-Z, 0-9, _, - and "." long.`,
    );
  }
  assertWholeNumbers("dynamodbStore", { ...options, ...options.limits, ...options.gathering }, LEAST);
}
