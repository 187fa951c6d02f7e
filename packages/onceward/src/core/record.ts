// The record: what a store keeps for one scope and key, and the states it goes through.

/**
 * The states of a record that exists (SPEC §4). *Absent* is the lack of a record, and *expired* counts as absent.
 *
 * - `running`: somebody claimed the key; the lease says until when the owner is believed alive.
 * - `done`: the operation's answer is recorded and is what every duplicate gets.
 * - `unknown`: the owner died or was cut off, and nobody knows whether the operation took effect.
 */
export type RecordState = "running" | "done" | "unknown";

/** The answer of an operation as a store keeps it. */
export interface Answer {
  /** The status it was answered with; kept beside the payload so that it can be shown without opening it. */
  readonly status: number;
  /** Opaque bytes; whoever completes a claim decides what is in them. */
  readonly payload: Uint8Array;
}

/** What a record is found by: 32 bytes, a digest of scope and key (SPEC S4), written as 64 hexadecimal digits. */
export type RecordId = string;

/** The token of one claim (SPEC §4.2): 32 hexadecimal digits, drawn at random by the claimer. */
export type Fence = string;

/** What an operator reads of a record; none of it takes part in finding or comparing records. */
export interface RecordLabels {
  /** The account as the resolver named it; never a raw credential (SPEC §9.2). */
  readonly account: string;
  /** The key, or a digest of it where keys are stored hashed. */
  readonly key: string;
  /** Method and path (without the query) of the first request, such as `POST /v1/transfers`. */
  readonly operation: string;
  /** The id of the run that made the record, or that took it over last (SPEC §11). */
  readonly runId: string;
}

/** One record as a store returns it. All instants are epoch milliseconds of the store's clock. */
export interface StoredRecord extends RecordLabels {
  readonly id: RecordId;
  readonly state: RecordState;
  readonly fence: Fence;
  /** Digest of the first request with its version tag, or null where none is compared (SPEC §5.6). */
  readonly fingerprint: string | null;
  /** Arrival of the first request. */
  readonly createdAt: number;
  /** End of the retention period, counted from `createdAt` (SPEC §4.10). */
  readonly expiresAt: number;
  /** Until when the owner is believed alive; 0 where nobody owns the record any more. */
  readonly leaseUntil: number;
  /** When the record became done or unknown, or null while it runs. */
  readonly endedAt: number | null;
  /** `done`: the recorded status. `unknown`: the status that `outcome_unknown` is answered with. `running`: null. */
  readonly status: number | null;
  /** `done`: the recorded payload. Otherwise null. */
  readonly payload: Uint8Array | null;
}

/**
 * Whether a record counts as absent at `now` (SPEC §4.10): its retention is over and no lease keeps it alive.
 * Every store judges by this rule, on its own clock, at every access.
 */
export function isExpired(record: Pick<StoredRecord, "expiresAt" | "leaseUntil">, now: number): boolean {
  return record.expiresAt <= now && record.leaseUntil <= now;
}

/** Whether the lease of a record has run out at `now`, so that its owner may be dead. */
export function isLapsed(record: Pick<StoredRecord, "leaseUntil">, now: number): boolean {
  return record.leaseUntil <= now;
}
