// A head, without its content, as one line of ASCII: JSON that people can read, and that fits a header, an attribute or a first line.

import { IdempotencyError } from "../../core/errors.js";
import type { RecordId, RecordState, StoredRecord } from "../../core/record.js";
import type { Head, Segment } from "./head.js";

/** The number of the format; a reader refuses a higher one. */
const HEAD_FORMAT = 1;

/** What is left out is null, or empty. */
interface HeadText {
  readonly v: number;
  readonly state: RecordState;
  readonly fence: string;
  readonly fingerprint?: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly leaseUntil: number;
  readonly endedAt?: number;
  readonly status?: number;
  readonly account: string;
  readonly key: string;
  readonly operation: string;
  readonly runId: string;
  readonly order?: number;
  readonly spilled?: readonly Segment[];
}

/** Neither the record's id nor `content.inline` is in it; they lie beside it. */
export function encodeHead(head: Head): string {
  const { record, content, order } = head;
  const text: HeadText = {
    v: HEAD_FORMAT,
    state: record.state,
    fence: record.fence,
    ...(record.fingerprint === null ? {} : { fingerprint: record.fingerprint }),
    createdAt: record.createdAt,
    expiresAt: record.expiresAt,
    leaseUntil: record.leaseUntil,
    ...(record.endedAt === null ? {} : { endedAt: record.endedAt }),
    ...(record.status === null ? {} : { status: record.status }),
    account: record.account,
    key: record.key,
    operation: record.operation,
    runId: record.runId,
    ...(order === null ? {} : { order }),
    ...(content.spilled.length === 0 ? {} : { spilled: content.spilled }),
  };
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, escaped);
}

/**
 * @throws IdempotencyError `store_corrupt` where it is no head, `store_schema_newer` where a newer version wrote it.
 */
export function decodeHead(id: RecordId, text: string, inline: Uint8Array): Head {
  const parsed = parse(id, text);
  if (parsed.v > HEAD_FORMAT) {
    throw new IdempotencyError(
      "store_schema_newer",
      `Record ${id} was written by a newer version of onceward (format ${parsed.v}, this one knows ${HEAD_FORMAT}): upgrade this node.`,
    );
  }
  const { v: _, order, spilled, ...known } = parsed;
  const record: StoredRecord = { fingerprint: null, endedAt: null, status: null, ...known, id, payload: null };
  return { record, content: { spilled: spilled ?? [], inline }, order: order ?? null };
}

function parse(id: RecordId, text: string): HeadText {
  let parsed: HeadText | null = null;
  try {
    parsed = JSON.parse(text) as HeadText | null;
  } catch {
    // Said below.
  }
  if (parsed !== null && typeof parsed === "object" && Number.isInteger(parsed.v)) {
    if (parsed.v > HEAD_FORMAT || isWhole(parsed)) return parsed;
  }
  throw new IdempotencyError("store_corrupt", `What the store holds for record ${id} is no record of onceward.`);
}

function isWhole(text: HeadText): boolean {
  const { createdAt, expiresAt, leaseUntil, fence, account, key, operation, runId } = text;
  return (
    ["running", "done", "unknown"].includes(text.state) &&
    [createdAt, expiresAt, leaseUntil].every(Number.isFinite) &&
    [fence, account, key, operation, runId].every((label) => typeof label === "string")
  );
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
