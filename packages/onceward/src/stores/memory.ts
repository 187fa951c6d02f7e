// A store in the process's own memory: for tests, trials, and single processes that may forget when they end.

import { type Clock, systemClock } from "../core/clock.js";
import { IdempotencyError } from "../core/errors.js";
import type { HistoryStore } from "../core/history.js";
import type { Page } from "../core/page.js";
import {
  type Answer,
  type Fence,
  isExpired,
  isLapsed,
  type RecordId,
  type RecordState,
  type StoredRecord,
} from "../core/record.js";
import {
  type ClaimRequest,
  type ClaimResult,
  DEFAULT_STORE_LIMITS,
  type Found,
  type RecordQuery,
  type Store,
  type StoreInfo,
  type StoreLimits,
  type StoreWaiting,
} from "../core/store.js";
import { ExpiryQueue } from "./memory/expiry-queue.js";
import { MemoryHistory, pageLimit } from "./memory/history.js";

export interface MemoryStoreOptions {
  /** Bounds on records (SPEC §9.4). Default 1,000,000 an account and 10,000,000 in all. */
  readonly limits?: Partial<StoreLimits>;
  /**
   * About how many bytes records may take before new claims are answered `full`. Default 256 MiB. Answers of operations
   * that run already are always recorded, also beyond it.
   */
  readonly maxBytes?: number;
  /** How many runs (and as many audit entries) the history keeps; the oldest make room. Default 10,000. */
  readonly maxRuns?: number;
  /** What leases and expiry are judged by. Default the machine's clock. */
  readonly clock?: Pick<Clock, "now">;
}

/** What a record takes beside its strings and payload, as measured on 64-bit V8; exactness does not matter. */
const RECORD_OVERHEAD_BYTES = 600;

/** Expired records that each claim clears away, so that memory shrinks also where nobody purges. */
const PURGED_BY_A_CLAIM = 4;

interface Entry extends Writable<StoredRecord> {
  /** The step log; emptied once it is done. */
  steps: Uint8Array[];
  /** The order of claims; listings go by it. */
  readonly sequence: number;
}
type Writable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * A bounded store in memory. It evicts nothing but expired records: where it is at a limit, a new key is answered
 * `full`. What it holds is gone when the process ends (SPEC P1 needs a store that keeps what it acknowledged).
 */
export function memoryStore(options: MemoryStoreOptions = {}): Store {
  return new MemoryStore(options);
}

class MemoryStore implements Store {
  readonly info: StoreInfo = {
    name: "memory",
    durability: "process",
    maxRetentionMs: Number.MAX_SAFE_INTEGER,
    shared: false,
    maxClockSkewMs: 0,
  };
  readonly history: HistoryStore;
  readonly waiting: StoreWaiting = { watch: (id, onChange) => this.#watch(id, onChange) };

  readonly #limits: StoreLimits;
  readonly #maxBytes: number;
  readonly #clock: Pick<Clock, "now">;
  readonly #records = new Map<RecordId, Entry>();
  readonly #expiry = new ExpiryQueue<Entry>();
  readonly #accounts = new Map<string, number>();
  readonly #shared = new Map<string, Uint8Array>();
  readonly #watchers = new Map<RecordId, Set<() => void>>();
  #bytes = 0;
  #sequence = 0;
  #closed = false;

  constructor(options: MemoryStoreOptions) {
    this.#limits = { ...DEFAULT_STORE_LIMITS, ...options.limits };
    this.#maxBytes = options.maxBytes ?? 256 * 1024 * 1024;
    this.#clock = options.clock ?? systemClock;
    this.history = new MemoryHistory(options.maxRuns ?? 10_000, () => this.#assertOpen());
  }

  async open(): Promise<void> {
    this.#assertOpen();
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const now = this.#now();
    const found = this.#live(request.id, now);
    if (found !== undefined) {
      if (found.fence !== request.fence || found.state !== "running") {
        return { outcome: "found", record: copyOf(found), now };
      }
      found.leaseUntil = now + Math.round(request.leaseMs);
      return { outcome: "claimed", record: copyOf(found), now };
    }
    const expired = this.#records.get(request.id);
    if (expired !== undefined) this.#delete(expired);
    this.#clear(PURGED_BY_A_CLAIM, now);
    const limit = this.#reachedLimit(request.labels.account, now);
    if (limit !== null) return { outcome: "full", limit };
    const entry = entryFor(request, now, this.#sequence++);
    this.#insert(entry);
    return { outcome: "claimed", record: copyOf(entry), now };
  }

  async renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean> {
    const now = this.#now();
    const entry = this.#owned(id, fence, now);
    if (entry === undefined || entry.state === "done") return false;
    entry.leaseUntil = now + Math.round(leaseMs);
    return true;
  }

  async complete(id: RecordId, fence: Fence, answer: Answer): Promise<boolean> {
    const now = this.#now();
    const entry = this.#owned(id, fence, now);
    if (entry === undefined) return false;
    if (entry.state !== "done") this.#finish(entry, answer, now);
    return true;
  }

  async interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean> {
    const now = this.#now();
    const entry = this.#owned(id, fence, now);
    if (entry === undefined || entry.state === "done") return false;
    if (entry.state === "running") {
      if (by === "finder" && !isLapsed(entry, now)) return false;
      entry.state = "unknown";
      entry.status = status;
      entry.endedAt = now;
    }
    if (by === "owner") entry.leaseUntil = 0;
    this.#notify(id);
    return true;
  }

  async takeOver(
    id: RecordId,
    fence: Fence,
    next: { readonly fence: Fence; readonly leaseMs: number; readonly runId?: string },
  ): Promise<boolean> {
    const now = this.#now();
    const entry = this.#live(id, now);
    if (entry === undefined) return false;
    const repeated = entry.fence === next.fence && entry.state === "running";
    if (!repeated && (entry.fence !== fence || entry.state === "done" || !isLapsed(entry, now))) return false;
    entry.state = "running";
    entry.fence = next.fence;
    entry.runId = next.runId ?? entry.runId;
    entry.leaseUntil = now + Math.round(next.leaseMs);
    entry.endedAt = null;
    entry.status = null;
    this.#notify(id);
    return true;
  }

  async settle(id: RecordId, fence: Fence, next: { readonly fence: Fence; readonly answer: Answer }): Promise<boolean> {
    const now = this.#now();
    const entry = this.#live(id, now);
    if (entry === undefined) return false;
    if (entry.state === "done") return entry.fence === next.fence;
    if (entry.fence !== fence || (entry.state === "running" && !isLapsed(entry, now))) return false;
    entry.fence = next.fence;
    this.#finish(entry, next.answer, now);
    return true;
  }

  async release(id: RecordId, fence: Fence): Promise<boolean> {
    const entry = this.#owned(id, fence, this.#now());
    if (entry === undefined || entry.state === "done") return false;
    this.#delete(entry);
    this.#notify(id);
    return true;
  }

  async appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean> {
    const owned = this.#owned(id, fence, this.#now());
    if (owned === undefined || owned.state === "done") return false;
    owned.steps.push(new Uint8Array(entry));
    this.#bytes += entry.byteLength;
    return true;
  }

  async readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    const owned = this.#owned(id, fence, this.#now());
    return owned === undefined || owned.state === "done" ? null : owned.steps.map((entry) => entry.slice());
  }

  async find(id: RecordId): Promise<Found | null> {
    const now = this.#now();
    const entry = this.#live(id, now);
    return entry === undefined ? null : { record: copyOf(entry), now };
  }

  async list(query: RecordQuery): Promise<Page<StoredRecord>> {
    const now = this.#now();
    const limit = pageLimit(query.limit);
    const before = query.cursor === undefined ? Number.POSITIVE_INFINITY : sequenceOf(query.cursor);
    const matching: Entry[] = [];
    for (const entry of this.#records.values()) {
      if (entry.sequence < before && matches(entry, query) && !isExpired(entry, now)) matching.push(entry);
    }
    const page = matching.slice(-limit).reverse();
    return {
      items: page.map((entry) => copyOf({ ...entry, payload: null })),
      next: matching.length > limit ? String(page.at(-1)?.sequence) : null,
    };
  }

  async purge(limit: number): Promise<number> {
    return this.#clear(limit, this.#now());
  }

  async getShared(name: string): Promise<Uint8Array | null> {
    this.#assertOpen();
    return this.#shared.get(name)?.slice() ?? null;
  }

  async setShared(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean> {
    this.#assertOpen();
    if (!sameBytes(this.#shared.get(name) ?? null, expected)) return false;
    this.#shared.set(name, value.slice());
    return true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#records.clear();
    this.#expiry.rebuild([]);
    this.#watchers.clear();
  }

  #now(): number {
    this.#assertOpen();
    return this.#clock.now();
  }

  #assertOpen(): void {
    if (this.#closed) throw new IdempotencyError("store_closed", "The memory store has been closed.");
  }

  #live(id: RecordId, now: number): Entry | undefined {
    const entry = this.#records.get(id);
    return entry === undefined || isExpired(entry, now) ? undefined : entry;
  }

  #owned(id: RecordId, fence: Fence, now: number): Entry | undefined {
    const entry = this.#live(id, now);
    return entry?.fence === fence ? entry : undefined;
  }

  #finish(entry: Entry, answer: Answer, now: number): void {
    entry.state = "done";
    entry.leaseUntil = 0;
    entry.endedAt = now;
    entry.status = answer.status;
    this.#bytes += answer.payload.byteLength - stepBytes(entry);
    entry.payload = new Uint8Array(answer.payload);
    entry.steps = [];
    this.#notify(entry.id);
  }

  #reachedLimit(account: string, now: number): "account" | "store" | null {
    const reached = () => {
      if ((this.#accounts.get(account) ?? 0) >= this.#limits.maxRecordsPerAccount) return "account";
      return this.#records.size >= this.#limits.maxRecords || this.#bytes >= this.#maxBytes ? "store" : null;
    };
    if (reached() !== null) this.#clear(Number.POSITIVE_INFINITY, now);
    return reached();
  }

  #insert(entry: Entry): void {
    this.#records.set(entry.id, entry);
    this.#accounts.set(entry.account, (this.#accounts.get(entry.account) ?? 0) + 1);
    this.#bytes += bytesOf(entry);
    this.#expiry.push(entry.expiresAt, entry);
    // Keys that are released again leave their place in the queue behind, perhaps for days.
    if (this.#expiry.size > 2 * this.#records.size + 1_000) {
      this.#expiry.rebuild([...this.#records.values()].map((kept) => [kept.expiresAt, kept]));
    }
  }

  #delete(entry: Entry): void {
    this.#records.delete(entry.id);
    this.#bytes -= bytesOf(entry);
    const left = (this.#accounts.get(entry.account) ?? 0) - 1;
    if (left > 0) this.#accounts.set(entry.account, left);
    else this.#accounts.delete(entry.account);
  }

  /** Deletes up to `limit` expired records. */
  #clear(limit: number, now: number): number {
    let cleared = 0;
    const leased: Entry[] = [];
    while (cleared < limit) {
      const entry = this.#expiry.popDue(now);
      if (entry === undefined) break;
      if (this.#records.get(entry.id) !== entry) continue;
      if (isExpired(entry, now)) {
        this.#delete(entry);
        cleared += 1;
      } else leased.push(entry);
    }
    for (const entry of leased) this.#expiry.push(entry.leaseUntil, entry);
    return cleared;
  }

  #watch(id: RecordId, onChange: () => void): () => void {
    const watchers = this.#watchers.get(id) ?? new Set();
    // An own function for each watch, so that the same one can be given twice.
    const watcher = () => onChange();
    watchers.add(watcher);
    this.#watchers.set(id, watchers);
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(id) === watchers) this.#watchers.delete(id);
    };
  }

  #notify(id: RecordId): void {
    for (const watcher of this.#watchers.get(id) ?? []) queueMicrotask(watcher);
  }
}

function entryFor(request: ClaimRequest, now: number, sequence: number): Entry {
  const { retention } = request;
  const createdAt = Math.round(now - Math.max(0, request.ageMs));
  const { account, key, operation, runId } = request.labels;
  return {
    sequence,
    id: request.id,
    state: "running",
    fence: request.fence,
    fingerprint: request.fingerprint,
    createdAt,
    expiresAt: Math.round("untilMs" in retention ? retention.untilMs : createdAt + retention.forMs),
    leaseUntil: now + Math.round(request.leaseMs),
    endedAt: null,
    status: null,
    payload: null,
    steps: [],
    account,
    key,
    operation,
    runId,
  };
}

// Callers must be able to change neither what is kept nor each other's copies (SPEC P2).
function copyOf(entry: Entry): StoredRecord {
  const { sequence: _, steps: __, ...record } = entry;
  return { ...record, payload: entry.payload?.slice() ?? null };
}

function bytesOf(entry: Entry): number {
  const strings = entry.account.length + entry.key.length + entry.operation.length + (entry.fingerprint?.length ?? 0);
  return RECORD_OVERHEAD_BYTES + 2 * strings + (entry.payload?.byteLength ?? 0) + stepBytes(entry);
}

function stepBytes({ steps }: Entry): number {
  return steps.reduce((bytes, entry) => bytes + entry.byteLength, 0);
}

function matches(entry: Entry, query: RecordQuery): boolean {
  return (
    (query.state === undefined || entry.state === (query.state satisfies RecordState)) &&
    (query.account === undefined || entry.account === query.account) &&
    (query.key === undefined || entry.key === query.key)
  );
}

function sequenceOf(cursor: string): number {
  const sequence = /^\d{1,15}$/.test(cursor) ? Number(cursor) : Number.NaN;
  if (!Number.isNaN(sequence)) return sequence;
  throw new IdempotencyError("request_invalid", "The cursor is not one that a listing of records gave.");
}

function sameBytes(one: Uint8Array | null, other: Uint8Array | null): boolean {
  if (one === null || other === null) return one === other;
  return one.byteLength === other.byteLength && one.every((byte, index) => byte === other[index]);
}
