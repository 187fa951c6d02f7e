// The store in Redis or Valkey: one server, a primary behind Sentinel, or a cluster.

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
import type { GatheringOptions } from "./gathering/gatherer.js";
import { Adoptions } from "./redis/adoptions.js";
import { textBytes } from "./redis/bytes.js";
import type { RedisClientLike } from "./redis/client.js";
import { RedisHistory } from "./redis/history.js";
import { inspect } from "./redis/inspection.js";
import { inTime, Lanes, type Outcome, unavailable } from "./redis/lanes.js";
import { ClusterLimits } from "./redis/limits.js";
import type { RedisArgument, RedisLink, RedisReply } from "./redis/link.js";
import { linkOf } from "./redis/link-of.js";
import { listSlice } from "./redis/listing.js";
import type { ActionName } from "./redis/lua/act.js";
import { SET_SHARED } from "./redis/lua/history.js";
import { PURGE } from "./redis/lua/places.js";
import { type ActionArguments, actionMember, claimMember } from "./redis/members.js";
import { Places, placesArgument } from "./redis/places.js";
import { readRecord } from "./redis/record-bytes.js";
import { Script } from "./redis/script.js";
import { RedisWaiting, WATCHED_MS } from "./redis/waiting.js";
import { assertIds, assertWholeNumbers, pageLimit } from "./sql/checks.js";
import { collect } from "./sql/slices.js";
import { claimedRecord } from "./sql/states.js";

export type {
  IoRedisClusterLike,
  IoRedisLike,
  IoRedisNodeLike,
  IoRedisSubscriberLike,
  NodeRedisClientLike,
  NodeRedisClusterLike,
  NodeRedisMasterLike,
  NodeRedisSentinelLike,
  NodeRedisSubscriberLike,
  RedisClientLike,
} from "./redis/client.js";

export interface RedisStoreOptions {
  /**
   * A client of ioredis (`Redis`, `Cluster`) or of node-redis (`createClient`, `createSentinel`, `createCluster`; those
   * connected). The store never closes it. To be woken by other nodes it makes one more connection with `duplicate()`.
   */
  readonly client: RedisClientLike;
  /** What all its keys and its channel begin with. Default `onceward:`. */
  readonly prefix?: string;
  /** Bounds on records (SPEC §9.4). Default 1,000,000 an account and 10,000,000 in all; in a cluster they are approximate. */
  readonly limits?: Partial<StoreLimits>;
  /** Operations that share a call of a script (default 256), and how long one waits for the call before (default 50 ms). */
  readonly gathering?: Partial<GatheringOptions>;
  /** Operations that may wait for the next call; beyond it they are rejected with `store_unavailable`. Default 20,000. */
  readonly maxQueued?: number;
  /** Longest an operation goes without an answer before it is rejected with `store_unavailable`, in ms. Default 10,000. */
  readonly maxWaitMs?: number;
  /** How many runs the history keeps; the oldest make room. Default 10,000. */
  readonly maxRuns?: number;
  /** What the servers promise about what they acknowledged, where they do not say it themselves (CONFIG is forbidden). */
  readonly durability?: Durability;
  /** Told at `open`, in one line each, of what endangers records. Default: `console.warn`. */
  readonly onWarning?: (message: string) => void;
  /** For tests only: the instant, in epoch milliseconds, that operations are judged by instead of the server's clock. */
  readonly now?: () => number;
}

/**
 * A store in Redis 6.2 or later, or in Valkey. Every operation is a script, judged by the server's own clock.
 *
 * What it acknowledged is as safe as the server's append-only file makes it, and no safer than its replication where a
 * replica takes over: that is asynchronous. See docs/stores/redis.md. `open` rejects with `store_inaccessible`,
 * `store_unsuitable`, `store_foreign` or `store_schema_newer`.
 *
 * @throws IdempotencyError `config_invalid` for options that cannot work.
 */
export function redisStore(options: RedisStoreOptions): Store {
  return new RedisStore(options);
}

const PURGED_AT_ONCE = 500;

class RedisStore implements Store {
  readonly history: HistoryStore;
  readonly waiting: StoreWaiting;
  readonly #options: RedisStoreOptions;
  readonly #prefix: string;
  readonly #maxWaitMs: number;
  readonly #link: RedisLink;
  readonly #places: Places;
  readonly #lanes: Lanes;
  readonly #limits: ClusterLimits;
  readonly #adoptions: Adoptions;
  readonly #waiting: RedisWaiting;
  readonly #purge = new Script(PURGE);
  readonly #setShared = new Script(SET_SHARED);
  /** Calls beside the lanes. */
  readonly #underWay = new Set<Promise<unknown>>();
  #durability: Durability;
  #flags = false;
  #closed = false;

  constructor(options: RedisStoreOptions) {
    assertValid(options);
    this.#options = options;
    this.#prefix = options.prefix ?? "onceward:";
    this.#maxWaitMs = options.maxWaitMs ?? 10_000;
    this.#durability = options.durability ?? "process";
    this.#link = linkOf(options.client);
    this.#places = new Places(this.#link, this.#prefix);
    const limits = { ...DEFAULT_STORE_LIMITS, ...options.limits };
    this.#limits = new ClusterLimits({
      limits,
      places: this.#places,
      common: () => this.#common(),
      purge: () => this.#purgeSome(PURGED_AT_ONCE),
      clock: options.now ?? (() => performance.now()),
    });
    this.#adoptions = new Adoptions(async (id) => (await this.#act("adopt", id)).status === "1");
    this.#lanes = this.#makeLanes(limits);
    this.#waiting = new RedisWaiting({
      link: this.#link,
      channel: `${this.#prefix}changes`,
      announce: (id) => this.#act("watch", id, undefined, { one: WATCHED_MS }),
    });
    this.waiting = this.#waiting;
    this.history = new RedisHistory(
      {
        run: (script, keys, args) => this.#run(script, keys, args),
        send: (key, ...command) => this.#send(key, ...command),
      },
      this.#prefix,
      options.maxRuns ?? 10_000,
    );
  }

  get info(): StoreInfo {
    return {
      name: "redis",
      durability: this.#durability,
      maxRetentionMs: Number.MAX_SAFE_INTEGER,
      shared: true,
      maxClockSkewMs: 0,
    };
  }

  async open(): Promise<void> {
    this.#assertOpen();
    const findings = await inspect({
      link: this.#link,
      places: this.#places,
      prefix: this.#prefix,
      durability: this.#options.durability,
      timeoutMs: this.#maxWaitMs,
    });
    this.#durability = findings.durability;
    this.#flags = findings.flags;
    const warn = this.#options.onWarning ?? ((message: string) => console.warn(`onceward: ${message}`));
    for (const warning of findings.warnings) warn(warning);
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const { id, fence } = request;
    assertIds(id, fence);
    const place = this.#places.of(id);
    let outcome = await this.#lanes.submit(claimMember(place, request, false));
    if (this.#link.clustered && isFull(outcome)) {
      const admit = () =>
        this.#limits.admit(request.labels.account, () => this.#lanes.submit(claimMember(place, request, true)));
      const admitted = await this.#guarded(admit);
      if (typeof admitted === "string") return { outcome: "full", limit: admitted };
      outcome = admitted.claimed;
    }
    const { status, value, now } = outcome;
    if (isFull(outcome)) return { outcome: "full", limit: status === "A" ? "account" : "store" };
    if (status === "N" || status === "U") return { outcome: "claimed", record: claimedRecord(request, now), now };
    return { outcome: status === "C" ? "claimed" : "found", record: readRecord(id, bytesOf(value)), now };
  }

  renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean> {
    return this.#held("renew", id, fence, { one: Math.round(leaseMs) });
  }

  complete(id: RecordId, fence: Fence, answer: Answer): Promise<boolean> {
    return this.#held("complete", id, fence, { one: answer.status, bytes: Buffer.from(answer.payload) });
  }

  interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean> {
    return this.#held("interrupt", id, fence, { one: status, two: by === "owner" ? 1 : 0 });
  }

  takeOver(
    id: RecordId,
    fence: Fence,
    next: { readonly fence: Fence; readonly leaseMs: number; readonly runId?: string },
  ): Promise<boolean> {
    const runId = next.runId === undefined ? {} : { bytes: textBytes(next.runId) };
    return this.#held("takeOver", id, fence, { one: Math.round(next.leaseMs), nextFence: next.fence, ...runId });
  }

  settle(id: RecordId, fence: Fence, next: { readonly fence: Fence; readonly answer: Answer }): Promise<boolean> {
    const { status, payload } = next.answer;
    return this.#held("settle", id, fence, { one: status, bytes: Buffer.from(payload), nextFence: next.fence });
  }

  async release(id: RecordId, fence: Fence): Promise<boolean> {
    const released = await this.#held("release", id, fence);
    if (released) this.#limits.freed();
    return released;
  }

  appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean> {
    return this.#held("appendStep", id, fence, { bytes: encodeEntry(entry) });
  }

  async readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    const { status, value } = await this.#act("readSteps", id, fence);
    return status === "V" ? decodeEntries(bytesOf(value)) : null;
  }

  async find(id: RecordId): Promise<Found | null> {
    const { status, value, now } = await this.#act("find", id);
    return status === "V" ? { record: readRecord(id, bytesOf(value)), now } : null;
  }

  async list(query: RecordQuery): Promise<Page<StoredRecord>> {
    return collect(pageLimit(query.limit), query.cursor, (limit, cursor) =>
      this.#guarded(() => listSlice(this.#places, () => this.#common(), query, limit, cursor)),
    );
  }

  async purge(limit: number): Promise<number> {
    return this.#guarded(() => this.#purgeSome(limit));
  }

  async getShared(name: string): Promise<Uint8Array | null> {
    const key = this.#sharedKey(name);
    const value = await this.#send(key, "get", key);
    return value === null ? null : new Uint8Array(bytesOf(value));
  }

  async setShared(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean> {
    const args = [Buffer.from(value), expected === null ? "0" : "1", Buffer.from(expected ?? [])];
    return (await this.#run(this.#setShared, [this.#sharedKey(name)], args)) === 1;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#adoptions.close();
    this.#waiting.close();
    await this.#lanes.close();
    await Promise.allSettled(this.#underWay);
  }

  async #held(action: ActionName, id: RecordId, fence: Fence, args?: ActionArguments): Promise<boolean> {
    return (await this.#act(action, id, fence, args)).status === "1";
  }

  async #act(action: ActionName, id: RecordId, fence?: Fence, args?: ActionArguments): Promise<Outcome> {
    assertIds(id, ...(fence === undefined ? [] : [fence]), ...(args?.nextFence === undefined ? [] : [args.nextFence]));
    return this.#lanes.submit(actionMember(action, this.#places.of(id), id, fence, args));
  }

  /** Deletes up to so many expired records, some at a time from each node. */
  async #purgeSome(limit: number): Promise<number> {
    let purged = 0;
    for (const { node, places } of await this.#places.byNode()) {
      const names = placesArgument(places);
      while (purged < limit) {
        const most = String(Math.min(limit - purged, PURGED_AT_ONCE));
        const reply = await this.#purge.run(node.send, [], [...this.#common(), most, names]);
        const [cleared = 0, batches = 0] = (reply as readonly RedisReply[]).map(Number);
        purged += cleared;
        if (cleared + batches === 0) break;
      }
    }
    return purged;
  }

  #makeLanes(limits: StoreLimits): Lanes {
    const { gathering, maxQueued } = this.#options;
    const settings = {
      prefix: this.#prefix,
      stamp: () => this.#stamp(),
      limits: this.#link.clustered
        ? this.#limits.thresholds
        : ([String(limits.maxRecordsPerAccount), String(limits.maxRecords)] as const),
      flags: () => this.#flags,
      gathering: {
        name: "Redis",
        maxBatch: gathering?.maxBatch ?? 256,
        longestWaitMs: gathering?.longestWaitMs ?? 50,
        maxLanes: 4,
        maxBatchBytes: 2 * 1024 * 1024,
        maxQueued: maxQueued ?? 20_000,
        giveUpAfterMs: this.#maxWaitMs,
      },
    };
    return new Lanes(this.#link, this.#places, settings, (id) => this.#adoptions.add(id));
  }

  #stamp(): string {
    return this.#options.now === undefined ? "" : String(this.#options.now());
  }

  /** What scripts on places begin with. */
  #common(): readonly string[] {
    return [this.#prefix, this.#stamp(), this.#link.clustered ? "1" : "0"];
  }

  #sharedKey(name: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.#prefix}s:`), textBytes(name)]);
  }

  #send(key: string | Buffer, ...command: RedisArgument[]): Promise<RedisReply> {
    return this.#guarded(() => this.#link.send(key, ...command));
  }

  #run(script: Script, keys: readonly (string | Buffer)[], args: readonly RedisArgument[]): Promise<RedisReply> {
    return this.#guarded(() => script.run((...command) => this.#link.send(keys[0] ?? "", ...command), keys, args));
  }

  async #guarded<T>(call: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    const answer = inTime(call(), this.#maxWaitMs);
    this.#underWay.add(answer);
    try {
      return await answer;
    } catch (error) {
      throw unavailable(error);
    } finally {
      this.#underWay.delete(answer);
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new IdempotencyError("store_closed", "The Redis store has been closed.");
  }
}

/** Whether a claim was answered that a limit is reached, or may be. */
function isFull({ status }: Outcome): boolean {
  return status === "A" || status === "S";
}

function bytesOf(reply: RedisReply): Buffer {
  if (!Buffer.isBuffer(reply)) throw new TypeError("Redis answered no bytes.");
  return reply;
}

/** The least that each number may be. */
const LEAST = { maxQueued: 1, maxWaitMs: 1, maxRuns: 1, maxRecords: 0, maxRecordsPerAccount: 0 };

function assertValid(options: RedisStoreOptions): void {
  assertWholeNumbers("redisStore", { ...options, ...options.limits }, LEAST);
  assertWholeNumbers("redisStore", { ...options.gathering }, { maxBatch: 1, longestWaitMs: 0 });
  const { prefix } = options;
  // Braces would name the part of a key that decides on its slot.
  if (prefix === undefined || /^[^\s{}*?[\]\\]{1,100}$/.test(prefix)) return;
  throw new IdempotencyError(
    "config_invalid",
    `redisStore's option \`prefix\` is ${JSON.stringify(prefix)}; it is to be 1 to 100 characters, without spaces and { } [ ] * ? \\.`,
  );
}
