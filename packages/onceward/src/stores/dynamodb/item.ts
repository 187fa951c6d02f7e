// A record as an item: native attributes, so that DynamoDB itself judges them in conditions.

import { IdempotencyError } from "../../core/errors.js";
import type { RecordId, RecordState, StoredRecord } from "../../core/record.js";
import type { Content, Segment } from "../heads/head.js";
import type { DynamoDBAttribute, DynamoDBItem } from "./client.js";
import { headKey } from "./layout.js";

/** A head as it was read. The payload of its record is null: that is in `content`. */
export interface Kept {
  readonly record: StoredRecord;
  /** The payload of a record that is done; empty for any other. */
  readonly content: Content;
  /** The step log of one that is not. */
  readonly steps: readonly DynamoDBAttribute[];
}

export const text = (value: string): DynamoDBAttribute => ({ S: value });
export const number = (value: number): DynamoDBAttribute => ({ N: String(value) });
export const bytes = (value: Uint8Array): DynamoDBAttribute => ({ B: value });
/** Where content is that is too long for the item. */
export const segments = (value: readonly Segment[]): DynamoDBAttribute => ({ S: JSON.stringify(value) });

/** Time to live takes a while anyway, and is not to meet a key that a node with another clock still sees. */
const TTL_MARGIN_S = 3_600;

/** From when on DynamoDB may delete what expires then, in epoch seconds. */
export function ttlOf(expiresAt: number): number {
  return Math.ceil(expiresAt / 1_000) + TTL_MARGIN_S;
}

/**
 * A new record. It says since when it could be deleted as `gone`, and gets that as its `ttl` only with its answer:
 * whatever may have a live lease, time to live leaves alone (SPEC §4.10).
 */
export function newItem(record: StoredRecord, sequence: string): DynamoDBItem {
  const { id, fingerprint } = record;
  return {
    ...headKey(id),
    ...indexed(id, sequence),
    state: text(record.state),
    fence: text(record.fence),
    ...(fingerprint === null ? {} : { fingerprint: text(fingerprint) }),
    created: number(record.createdAt),
    expires: number(record.expiresAt),
    lease: number(record.leaseUntil),
    gone: number(ttlOf(record.expiresAt)),
    account: text(record.account),
    key: text(record.key),
    operation: text(record.operation),
    run: text(record.runId),
  };
}

/** The attributes that put an item into the index. */
export function indexed(id: RecordId, sequence: string): DynamoDBItem {
  return { shard: text(id.slice(0, 1)), seq: text(sequence) };
}

const STATES: readonly string[] = ["running", "done", "unknown"];

/**
 * The record of an item, of the table or of the index.
 *
 * @throws IdempotencyError `store_corrupt` where it is none.
 */
export function recordOf(item: DynamoDBItem): StoredRecord {
  const id = item["pk"]?.S ?? "?";
  const string = (name: string): string => item[name]?.S ?? refuse(id, name);
  const instant = (name: string): number => numberOf(item, name) ?? refuse(id, name);
  const state = string("state");
  if (!STATES.includes(state)) refuse(id, "state");
  return {
    id,
    state: state as RecordState,
    fence: string("fence"),
    fingerprint: item["fingerprint"]?.S ?? null,
    createdAt: instant("created"),
    expiresAt: instant("expires"),
    leaseUntil: instant("lease"),
    endedAt: numberOf(item, "ended"),
    status: numberOf(item, "status"),
    payload: null,
    account: string("account"),
    key: string("key"),
    operation: string("operation"),
    runId: string("run"),
  };
}

export function keptOf(item: DynamoDBItem): Kept {
  const record = recordOf(item);
  const inline = item["payload"]?.B ?? new Uint8Array(0);
  return {
    record,
    content: { spilled: segmentsOf(item["spilled"], record.id), inline },
    steps: item["steps"]?.L ?? [],
  };
}

export function segmentsOf(attribute: DynamoDBAttribute | undefined, id: RecordId): readonly Segment[] {
  if (attribute?.S === undefined) return [];
  try {
    return JSON.parse(attribute.S) as readonly Segment[];
  } catch {
    return refuse(id, "spilled");
  }
}

export function numberOf(item: DynamoDBItem, name: string): number | null {
  const value = item[name]?.N;
  return value === undefined ? null : Number(value);
}

function refuse(id: RecordId, attribute: string): never {
  const message = `The item of record ${id} has no \`${attribute}\` that Onceward wrote: somebody else writes to this table.`;
  throw new IdempotencyError("store_corrupt", message, { details: { recordId: id } });
}
