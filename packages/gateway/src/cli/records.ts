// Finds the record that an operator means, and shows records to people and machines.

import { isLapsed, type Store, type StoredRecord } from "onceward";
import { hashedKey } from "onceward/http";
import type { RecordItem } from "../contract.js";
import { CommandFailure } from "./faults.js";
import { type Cell, instant, printable, relative, table } from "./output.js";

/** The record of a key, or of an id of 64 hexadecimal digits. Several accounts may use one key. */
export async function findRecord(store: Store, keyOrId: string, account: string | undefined): Promise<StoredRecord> {
  if (/^[0-9a-f]{64}$/.test(keyOrId)) {
    const found = await store.find(keyOrId);
    if (found !== null) return found.record;
  }
  const matches = await byKey(store, keyOrId, account);
  const [first, ...others] = matches;
  const of = account === undefined ? "" : ` of account ${JSON.stringify(account)}`;
  if (first === undefined) {
    throw new CommandFailure(
      `there is no record of key ${JSON.stringify(keyOrId)}${of}, or its retention is over; \`onceward keys list\` shows what there is`,
    );
  }
  if (others.length === 0) return first;
  const shown = recordTable(matches, Date.now(), true);
  throw new CommandFailure(
    `several records have the key ${JSON.stringify(keyOrId)}${of}; name one by its id:\n${shown}`,
  );
}

async function byKey(store: Store, key: string, account: string | undefined): Promise<readonly StoredRecord[]> {
  // Where keys are stored hashed the operator may have either form.
  for (const label of [key, hashedKey(key)]) {
    const { items } = await store.list({ key: label, ...(account === undefined ? {} : { account }), limit: 20 });
    if (items.length > 0) return items;
  }
  return [];
}

export function recordTable(records: readonly StoredRecord[], now: number, withIds: boolean): string {
  const headings = ["KEY", "STATE", "STATUS", "OPERATION", "ACCOUNT", "BEGAN", "EXPIRES", ...(withIds ? ["ID"] : [])];
  return table(
    headings,
    records.map((record) => [
      shortened(printable(record.key), 40),
      stateCell(record, now),
      statusText(record),
      shortened(printable(record.operation), 48),
      shortened(printable(record.account), 32),
      relative(record.createdAt, now),
      // A live lease outlasts the retention.
      record.expiresAt > now ? relative(record.expiresAt, now) : "once it ends",
      ...(withIds ? [record.id] : []),
    ]),
  );
}

/** In parentheses what duplicates get of an answer that nobody knows. */
function statusText({ state, status }: StoredRecord): string {
  if (status === null) return "–";
  return state === "unknown" ? `(${status})` : String(status);
}

function stateCell(record: StoredRecord, now: number): Cell {
  if (record.state === "done") return { text: "done", style: "green" };
  if (record.state === "unknown") return { text: "unknown", style: "red" };
  return isLapsed(record, now) ? { text: "lapsed", style: "red" } : { text: "running", style: "yellow" };
}

/** As the admin API shows it: without fence, fingerprint and answer. */
export function recordItem(record: StoredRecord): RecordItem {
  const { id, state, account, key, operation, runId, createdAt, expiresAt, leaseUntil, endedAt, status } = record;
  return {
    id,
    state,
    account,
    key,
    operation,
    runId,
    createdAt,
    expiresAt,
    leaseUntil: leaseUntil === 0 ? null : leaseUntil,
    endedAt,
    status,
  };
}

export function recordPairs(record: StoredRecord, now: number): [string, string][] {
  const alive = record.state === "running" || record.leaseUntil > now;
  return [
    ["key", printable(record.key)],
    ["account", printable(record.account)],
    ["operation", printable(record.operation)],
    ["state", stateText(record, now)],
    ["began", `${instant(record.createdAt)}  (${relative(record.createdAt, now)})`],
    ...(record.endedAt === null
      ? []
      : [["ended", `${instant(record.endedAt)}  (${relative(record.endedAt, now)})`] as [string, string]]),
    ["expires", `${instant(record.expiresAt)}  (${relative(record.expiresAt, now)})`],
    ...(alive
      ? [["lease", `${instant(record.leaseUntil)}  (${relative(record.leaseUntil, now)})`] as [string, string]]
      : []),
    ["run", record.runId],
    ["id", record.id],
  ];
}

function stateText(record: StoredRecord, now: number): string {
  if (record.state === "done") return `done, answered ${record.status}`;
  if (record.state === "unknown")
    return `unknown: duplicates get ${record.status} outcome_unknown until it is settled or expires`;
  return isLapsed(record, now) ? "running, but its owner has not been heard of since its lease lapsed" : "running";
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
