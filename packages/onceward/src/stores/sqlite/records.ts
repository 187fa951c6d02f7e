// The operations on records, each as it runs inside a transaction that holds the write lock.

import type { Answer } from "../../core/record.js";
import { encodeEntry } from "../../core/step-log.js";
import type { SqlStatement } from "../../core/transactions.js";
import { DONE, RUNNING, UNKNOWN } from "../sql/states.js";
import type { SqlRow, SqlValue } from "./driver.js";
import type { ClaimArgs, ClaimValue, Operations, RecordRow } from "./protocol.js";
import type { Session } from "./session.js";
import { bindHex, bindText, readHex, readNumber, readNumberOrNull, readText } from "./text.js";

/** Expired rows that one transaction deletes at most, so that those who wait for the next one wait briefly. */
export const MAX_PURGED_ROWS = 500;
/** And the bytes of their answers, since a long answer is spread over many pages. */
const MAX_PURGED_BYTES = 4 * 1024 * 1024;

const liveAt = (now: string) => `(expires_at > ${now} OR lease_until > ${now})`;

const LIVE = liveAt("?");

/** A record without its payload, as listings show it. */
export const LISTED_COLUMNS = `seq, id, state, fence, fingerprint, key, operation, run_id, created_at, expires_at,
  lease_until, ended_at, status, account_id,
  (SELECT name FROM onceward_accounts WHERE onceward_accounts.id = account_id) AS account`;

const FIND = `SELECT ${LISTED_COLUMNS}, payload FROM onceward_records WHERE id = ?`;

const INSERT = `INSERT INTO onceward_records (id, state, fence, account_id, created_at, expires_at, lease_until,
  fingerprint, key, operation, run_id) VALUES (?, ${RUNNING}, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`;

const RENEW = `UPDATE onceward_records SET lease_until = ?
  WHERE id = ? AND fence = ? AND state <> ${DONE} AND ${LIVE}`;

const completeAt = (now: string) => `UPDATE onceward_records
  SET state = ${DONE}, lease_until = 0, ended_at = ${now}, status = ?, payload = ?, steps = NULL
  WHERE id = ? AND fence = ? AND state <> ${DONE} AND ${liveAt(now)}`;

const COMPLETE = completeAt("?");

/** The same by SQLite's own clock, which is the process's. */
const COMPLETE_NOW = completeAt("CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)");

const HAS_STATE = `SELECT 1 AS yes FROM onceward_records WHERE id = ? AND fence = ? AND state = ? AND ${LIVE}`;

const INTERRUPT_BY_OWNER = `UPDATE onceward_records SET lease_until = 0,
    ended_at = CASE state WHEN ${RUNNING} THEN ? ELSE ended_at END,
    status = CASE state WHEN ${RUNNING} THEN ? ELSE status END,
    state = ${UNKNOWN}
  WHERE id = ? AND fence = ? AND state <> ${DONE} AND ${LIVE}`;

const INTERRUPT_BY_FINDER = `UPDATE onceward_records SET state = ${UNKNOWN}, ended_at = ?, status = ?
  WHERE id = ? AND fence = ? AND state = ${RUNNING} AND lease_until <= ? AND expires_at > ?`;

const TAKE_OVER = `UPDATE onceward_records
  SET state = ${RUNNING}, fence = ?, lease_until = ?, ended_at = NULL, status = NULL, run_id = coalesce(?, run_id)
  WHERE id = ? AND fence = ? AND state <> ${DONE} AND lease_until <= ? AND expires_at > ?`;

const RENEW_RUNNING = `UPDATE onceward_records SET lease_until = ?
  WHERE id = ? AND fence = ? AND state = ${RUNNING} AND ${LIVE}`;

const SETTLE = `UPDATE onceward_records
  SET state = ${DONE}, fence = ?, lease_until = 0, ended_at = ?, status = ?, payload = ?, steps = NULL
  WHERE id = ? AND fence = ? AND (state = ${UNKNOWN} OR (state = ${RUNNING} AND lease_until <= ?)) AND ${LIVE}`;

const RELEASE = `DELETE FROM onceward_records WHERE id = ? AND fence = ? AND state <> ${DONE} AND ${LIVE}
  RETURNING account_id`;

const READ_STEPS = `SELECT steps FROM onceward_records WHERE id = ? AND fence = ? AND state <> ${DONE} AND ${LIVE}`;

const WRITE_STEPS = "UPDATE onceward_records SET steps = ? WHERE id = ?";

const EXPIRED = `SELECT seq, account_id, coalesce(length(payload), 0) + coalesce(length(steps), 0) AS bytes
  FROM onceward_records WHERE expires_at <= ? AND lease_until <= ? ORDER BY expires_at LIMIT ?`;

type Handlers<K extends keyof Operations> = {
  readonly [N in K]: (session: Session, ...args: Operations[N]["args"]) => Operations[N]["value"];
};

/** See {@link Operations} and core's Store for what each one means. */
export const recordHandlers: Handlers<
  | "claim"
  | "renew"
  | "complete"
  | "interrupt"
  | "takeOver"
  | "settle"
  | "release"
  | "appendStep"
  | "readSteps"
  | "find"
  | "purge"
> = {
  claim,
  renew({ sql, now }, id, fence, leaseMs) {
    return sql.run(RENEW, now + leaseMs, bindHex(id), bindHex(fence), now, now) === 1;
  },
  complete({ sql, now }, id, fence, status, payload) {
    const [idBytes, fenceBytes] = [bindHex(id), bindHex(fence)];
    if (sql.run(COMPLETE, now, status, payload, idBytes, fenceBytes, now, now) === 1) return true;
    return sql.get(HAS_STATE, idBytes, fenceBytes, DONE, now, now) !== undefined;
  },
  interrupt({ sql, now }, id, fence, status, byOwner) {
    const [idBytes, fenceBytes] = [bindHex(id), bindHex(fence)];
    if (byOwner) return sql.run(INTERRUPT_BY_OWNER, now, status, idBytes, fenceBytes, now, now) === 1;
    if (sql.run(INTERRUPT_BY_FINDER, now, status, idBytes, fenceBytes, now, now) === 1) return true;
    return sql.get(HAS_STATE, idBytes, fenceBytes, UNKNOWN, now, now) !== undefined;
  },
  takeOver({ sql, now }, id, fence, nextFence, leaseMs, runId) {
    const [idBytes, nextBytes, until] = [bindHex(id), bindHex(nextFence), now + leaseMs];
    const runBytes = runId === null ? null : bindText(runId);
    if (sql.run(TAKE_OVER, nextBytes, until, runBytes, idBytes, bindHex(fence), now, now) === 1) return true;
    return sql.run(RENEW_RUNNING, until, idBytes, nextBytes, now, now) === 1;
  },
  settle({ sql, now }, id, fence, nextFence, status, payload) {
    const [idBytes, nextBytes] = [bindHex(id), bindHex(nextFence)];
    const settled = sql.run(SETTLE, nextBytes, now, status, payload, idBytes, bindHex(fence), now, now, now);
    return settled === 1 || sql.get(HAS_STATE, idBytes, nextBytes, DONE, now, now) !== undefined;
  },
  release(session, id, fence) {
    const row = session.sql.get(RELEASE, bindHex(id), bindHex(fence), session.now, session.now);
    if (row !== undefined) session.count(readNumber(row["account_id"]), -1);
    return row !== undefined;
  },
  appendStep(session, id, fence, entry) {
    const log = readSteps(session, id, fence);
    if (log === null) return false;
    // Put together here, since SQLite's own concatenation is one of text, in the encoding of a user's database.
    return session.sql.run(WRITE_STEPS, Buffer.concat([log, encodeEntry(entry)]), bindHex(id)) === 1;
  },
  readSteps,
  find(session, id) {
    const row = session.sql.get(FIND, bindHex(id));
    return row === undefined || !isLive(row, session.now) ? null : readRecord(row);
  },
  purge,
};

function claim(session: Session, ...args: ClaimArgs): ClaimValue {
  const [id, fence, , , , , leaseMs, account] = args;
  const idBytes = bindHex(id);
  if (session.reachedLimit(account) !== null) {
    makeRoom(session);
    const limit = session.reachedLimit(account);
    const row = session.sql.get(FIND, idBytes);
    // A record that is there already is answered whatever the limits are; an expired one makes room for its successor.
    if (row === undefined && limit !== null) return ["full", limit];
  }
  if (insert(session, idBytes, args)) return null;
  const row = session.sql.get(FIND, idBytes);
  if (row === undefined) throw new Error("A record is neither absent nor there.");
  if (!isLive(row, session.now)) {
    deleteRow(session, row);
    insert(session, idBytes, args);
    return null;
  }
  const record = readRecord(row);
  if (record[1] !== RUNNING || record[2] !== fence) return ["found", record];
  const leaseUntil = session.now + leaseMs;
  session.sql.run(RENEW, leaseUntil, idBytes, bindHex(fence), session.now, session.now);
  return ["claimed", record.with(LEASE_UNTIL, leaseUntil) as unknown as RecordRow];
}

const LEASE_UNTIL = 10;

function insert(session: Session, idBytes: Uint8Array, args: ClaimArgs): boolean {
  const [, fence, fingerprint, ageMs, forMs, untilAt, leaseMs, account, key, operation, runId] = args;
  const createdAt = session.now - ageMs;
  const accountId = session.accountId(account);
  const inserted = session.sql.run(
    INSERT,
    idBytes,
    bindHex(fence),
    accountId,
    createdAt,
    untilAt ?? createdAt + (forMs ?? 0),
    session.now + leaseMs,
    fingerprint === null ? null : bindText(fingerprint),
    bindText(key),
    bindText(operation),
    bindText(runId),
  );
  if (inserted !== 1) return false;
  session.count(accountId, 1);
  return true;
}

/** Deletes expired rows before a claim is refused for want of room; once for all claims of the transaction. */
function makeRoom(session: Session): void {
  if (session.madeRoom) return;
  session.madeRoom = true;
  purge(session, MAX_PURGED_ROWS);
}

function readSteps({ sql, now }: Session, id: string, fence: string): Uint8Array | null {
  const row = sql.get(READ_STEPS, bindHex(id), bindHex(fence), now, now);
  if (row === undefined) return null;
  return row["steps"] instanceof Uint8Array ? row["steps"] : new Uint8Array(0);
}

/** The completion of a record as a statement of the user's own transaction (SPEC §7.1); `now` is null but in tests. */
export function completion(id: string, fence: string, answer: Answer, now: number | null): SqlStatement {
  const values = [answer.status, new Uint8Array(answer.payload), bindHex(id), bindHex(fence)];
  if (now === null) return { text: COMPLETE_NOW, values };
  return { text: COMPLETE, values: [now, ...values, now, now] };
}

function purge(session: Session, limit: number): number {
  const most = Math.min(limit, MAX_PURGED_ROWS);
  let purged = 0;
  let bytes = 0;
  for (const row of session.sql.all(EXPIRED, session.now, session.now, most)) {
    deleteRow(session, row);
    purged += 1;
    bytes += readNumberOrNull(row["bytes"]) ?? 0;
    if (bytes >= MAX_PURGED_BYTES) break;
  }
  return purged;
}

function deleteRow(session: Session, row: SqlRow): void {
  session.sql.run("DELETE FROM onceward_records WHERE seq = ?", row["seq"] as SqlValue);
  session.count(readNumber(row["account_id"]), -1);
}

function isLive(row: SqlRow, now: number): boolean {
  return readNumber(row["expires_at"]) > now || readNumber(row["lease_until"]) > now;
}

/** A row of a record, with its payload or, in listings, without. */
export function readRecord(row: SqlRow): RecordRow {
  const state = readNumber(row["state"]);
  const payload = row["payload"];
  const recorded = state === DONE && payload !== undefined;
  return [
    readHex(row["id"]),
    state,
    readHex(row["fence"]),
    row["fingerprint"] === null ? null : readText(row["fingerprint"]),
    readText(row["account"]),
    readText(row["key"]),
    readText(row["operation"]),
    readText(row["run_id"]),
    readNumber(row["created_at"]),
    readNumber(row["expires_at"]),
    readNumber(row["lease_until"]),
    readNumberOrNull(row["ended_at"]),
    readNumberOrNull(row["status"]),
    // Drivers bind empty bytes as NULL.
    recorded ? (payload instanceof Uint8Array ? payload : new Uint8Array(0)) : null,
  ];
}
