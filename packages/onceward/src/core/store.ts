// The Store contract: the atomic operations the promise rests on, and what a store declares of itself.

import type { HistoryStore } from "./history.js";
import type { Page } from "./page.js";
import type { Answer, Fence, RecordId, RecordLabels, RecordState, StoredRecord } from "./record.js";
import type { StoreTransactions } from "./transactions.js";

/** What a store promises about what it acknowledged. */
export type Durability =
  /** Gone when the process ends. */
  | "process"
  /** Survives a killed process, not a power loss. */
  | "crash"
  /** Survives a power loss. */
  | "power-loss";

/** What a store declares of itself, so that a policy it cannot honour is refused at start. */
export interface StoreInfo {
  /** Such as `sqlite`; for messages, logs and metrics. */
  readonly name: string;
  readonly durability: Durability;
  /** The longest retention it can honour, in milliseconds. */
  readonly maxRetentionMs: number;
  /** Whether other processes can share it. */
  readonly shared: boolean;
  /** 0 where leases and expiry are judged by one clock; otherwise the largest skew of nodes' clocks (SPEC §4.3). */
  readonly maxClockSkewMs: number;
}

/** One request's attempt to own a record (SPEC §4.1). */
export interface ClaimRequest {
  readonly id: RecordId;
  readonly fence: Fence;
  readonly fingerprint: string | null;
  /** How long ago the request arrived, so that retention counts from its arrival on the store's clock. */
  readonly ageMs: number;
  /** How long the record is kept: for so long after arrival, or until an instant that the request chose (SPEC §8.1). */
  readonly retention: { readonly forMs: number } | { readonly untilMs: number };
  readonly leaseMs: number;
  readonly labels: RecordLabels;
}

/** What a claim found, in the same atomic step. `now` is the store's clock at that step. */
export type ClaimResult =
  /**
   * The key was absent or expired, or the record is this very claim's own (same fence, still running; SPEC §4.12), whose
   * lease then begins anew.
   */
  | { readonly outcome: "claimed"; readonly record: StoredRecord; readonly now: number }
  /** Somebody else's record; untouched. */
  | { readonly outcome: "found"; readonly record: StoredRecord; readonly now: number }
  /** A limit on records is reached (SPEC §9.4); nothing was written. */
  | { readonly outcome: "full"; readonly limit: "account" | "store" };

/** A record that exists and has not expired, and the store's clock. */
export interface Found {
  readonly record: StoredRecord;
  readonly now: number;
}

/** A page of records for an operator, newest first. */
export interface RecordQuery {
  readonly state?: RecordState;
  readonly account?: string;
  /** The key's label, compared exactly. */
  readonly key?: string;
  /** At most so many; a store may cap it at 1000. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string;
}

/** Bounds a store keeps on what it holds (SPEC §9.4); it may exceed them by what one batch of claims adds. */
export interface StoreLimits {
  /** Records of one account. Default 1,000,000. */
  readonly maxRecordsPerAccount: number;
  /** Records in all. Default 10,000,000. */
  readonly maxRecords: number;
}

/** SPEC §9.4's defaults. */
export const DEFAULT_STORE_LIMITS: StoreLimits = { maxRecordsPerAccount: 1_000_000, maxRecords: 10_000_000 };

/** Wakes whoever waits for a record that another node runs. Optional: without it waiters poll. */
export interface StoreWaiting {
  /** Calls `onChange` when the record may have changed, until the returned function is called. */
  watch(id: RecordId, onChange: () => void): () => void;
}

/**
 * Where records live. Each operation is atomic, judges leases and expiry on the store's own clock, and treats an
 * expired record as absent. A boolean answer says whether the fence still held (and the record was in a state the
 * operation applies to); where it is false nothing was written. An operation that cannot reach its store rejects with
 * an {@link IdempotencyError} `store_unavailable`, and whether it took effect is then not known.
 *
 * A store may gather concurrent operations into one round trip or commit; a member that fails never fails its
 * neighbours.
 */
export interface Store {
  readonly info: StoreInfo;

  /** Opens it: creates or migrates its schema, refuses a foreign, corrupt or newer one. Called once, before all else. */
  open(): Promise<void>;

  /** Creates the record, or says what is there: one round trip, no read before the write. */
  claim(request: ClaimRequest): Promise<ClaimResult>;

  /** Extends the lease to now + `leaseMs`, of a running record or of an unknown one that nobody took over (SPEC §4.2). */
  renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean>;

  /** Records the answer: running or unknown → done. Done with the same fence already is `true`, so it can be repeated. */
  complete(id: RecordId, fence: Fence, answer: Answer): Promise<boolean>;

  /**
   * running → unknown, keeping the fence. By the owner (`by: "owner"`, which also ends its lease) or by somebody who
   * found the lease lapsed (`by: "finder"`: false where it is live again). Unknown already is `true`.
   */
  interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean>;

  /**
   * Hands a record whose lease has lapsed, running or unknown, to a new owner: → running with the new fence. Running
   * with the new fence already is `true` and begins the lease anew, so it can be repeated where its answer was lost.
   * From then on the record is that of run `runId`; of the same one as before where it is left out.
   */
  takeOver(
    id: RecordId,
    fence: Fence,
    next: { readonly fence: Fence; readonly leaseMs: number; readonly runId?: string },
  ): Promise<boolean>;

  /**
   * unknown, or running with a lapsed lease → done with the given answer and a new fence (SPEC §4.6 `recover`, §4.14).
   * Done with the new fence already is `true`, so it can be repeated.
   */
  settle(id: RecordId, fence: Fence, next: { readonly fence: Fence; readonly answer: Answer }): Promise<boolean>;

  /** Deletes the record of this fence, running or unknown, so that the key is unused again (SPEC §4.5). Never a done one. */
  release(id: RecordId, fence: Fence): Promise<boolean>;

  /**
   * Appends an entry to the record's step log (SPEC §7.2): running or unknown, with this fence. The log goes with the
   * record: empty at a new claim (also over an expired record), kept by `renew`, `interrupt`, `takeOver` and a repeated
   * claim, gone once it is done. An entry whose answer was lost is appended again, so readers take the first of a name.
   * No listing and no `find` carries it.
   */
  appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean>;

  /**
   * The record's step log in the order of appending, empty where nothing was appended; null where `appendStep` would
   * answer false.
   */
  readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null>;

  /** The record, without claiming. */
  find(id: RecordId): Promise<Found | null>;

  /** Records that have not expired, newest first, without their payloads (null), which only `find` reads. */
  list(query: RecordQuery): Promise<Page<StoredRecord>>;

  /** Deletes up to `limit` expired records and answers how many there were. */
  purge(limit: number): Promise<number>;

  /** A small named value that all users of the store share, such as the account key (SPEC S1); null where it is unset. */
  getShared(name: string): Promise<Uint8Array | null>;

  /** Sets it if it still is `expected` (null: unset), and answers whether it did. */
  setShared(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean>;

  readonly waiting?: StoreWaiting;
  /** Where records live in a database in which an operation can have its own transaction (SPEC §7.1). */
  readonly transactions?: StoreTransactions;
  readonly history?: HistoryStore;

  /** Finishes what is under way and closes. Operations after it reject with `store_closed`. */
  close(): Promise<void>;
}
