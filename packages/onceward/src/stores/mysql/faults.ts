// What goes wrong with MySQL: what is worth another try, and how the rest is told.

import { IdempotencyError, isIdempotencyError } from "../../core/errors.js";

/** What the clients' errors have in common. */
interface ClientError {
  /** The server's number of the error; the mariadb connector numbers its own from 45,001 on. */
  readonly errno?: number;
  readonly code?: string;
  /** The server's words alone. In `message` the mariadb connector quotes the statement, which may hold an answer. */
  readonly sqlMessage?: string | null;
  readonly fatal?: boolean;
  readonly cause?: unknown;
}

/**
 * Deadlocks, which InnoDB resolves by rolling one of the statements back; and how Galera (1213, 1180), group replication
 * (3101) and MariaDB's snapshot isolation (1020) say that somebody else was first.
 */
const ROLLED_BACK: ReadonlySet<number> = new Set([1213, 1180, 3101, 1020]);
const LOCK_WAIT_TIMEOUT = 1205;
/** Shutdown, killed, gone away, lost, cut off as idle: the connection is of no more use. */
const CONNECTION_ENDED: ReadonlySet<number> = new Set([1053, 1152, 1184, 1927, 2006, 2013, 4031]);

const isClientError = (error: unknown): error is ClientError & Error => error instanceof Error;

/** The statement was rolled back since somebody else was first; it is to be run again. */
export function isRolledBack(error: unknown): boolean {
  return isClientError(error) && ROLLED_BACK.has(error.errno ?? 0);
}

/** The statement was rolled back since somebody held a lock for longer than it would wait. */
export function isLockTimeout(error: unknown): boolean {
  return isClientError(error) && error.errno === LOCK_WAIT_TIMEOUT;
}

/** Too large a packet, a value out of range, one that is too long. */
const MEMBERS: ReadonlySet<number> = new Set([LOCK_WAIT_TIMEOUT, 1153, 1264, 1406]);

/** What one of several operations may have brought about, while the others would succeed without it. Nothing was done. */
export function isMembersFault(error: unknown): boolean {
  return error instanceof TypeError || (isClientError(error) && MEMBERS.has(error.errno ?? 0));
}

/** The server answered with an error, and the connection goes on. */
export function isRefusal(error: unknown): boolean {
  if (!isClientError(error) || error.fatal === true) return false;
  const { errno = 0, sqlMessage } = error;
  return errno >= 1_000 && errno < 45_000 && typeof sqlMessage === "string" && !CONNECTION_ENDED.has(errno);
}

/** The connection ended before the statement was answered; whether it took effect is not known. */
export function isLost(error: unknown): boolean {
  return isClientError(error) && (error.fatal === true || CONNECTION_ENDED.has(error.errno ?? 0));
}

const READ_ONLY =
  "the server is read-only (a replica, or a primary that was demoted); the store's pool must reach the primary";

/** What an error of the server means, and how it is mended, by its number. */
const MEANINGS: Readonly<Record<number, string>> = {
  1040: "the server has as many connections as it allows (`max_connections`)",
  1044: "the user may not use the database: grant SELECT, INSERT, UPDATE, DELETE and CREATE on it",
  1045: "the user or the password is wrong",
  1046: "the pool names no database: set its option `database`",
  1047: "the node is not part of its cluster's primary component just now",
  1049: "the database does not exist: create it, or correct the pool's option `database`",
  1114: "the table is full",
  1130: "the server does not let this host in: create the user for it",
  1142: "the user lacks a privilege: grant SELECT, INSERT, UPDATE, DELETE and CREATE on the database (or run the statements of mysqlSchema() as a user who may)",
  1146: "the store's tables are gone: open it again with `migrate: true`, or run the statements of mysqlSchema()",
  1153: "the statement is larger than the server's `max_allowed_packet`",
  1205: "another transaction holds a lock on the record for too long",
  1213: "deadlocks with other transactions, time and again",
  1251: "the client does not know the user's way of logging in: use a newer one, or alter the user",
  1290: READ_ONLY,
  1698: "the user or the password is wrong, or the user may only log in from the machine itself",
  1792: READ_ONLY,
  1836: READ_ONLY,
  1021: "the disk is full",
};

/** By the code of an error that is the system's or the client's. */
const CODES: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens at the pool's host and port",
  ENOTFOUND: "the pool's host is unknown",
  EAI_AGAIN: "the pool's host cannot be looked up just now",
  ETIMEDOUT: "the pool's host does not answer",
  EHOSTUNREACH: "the pool's host cannot be reached",
  PROTOCOL_CONNECTION_LOST: "the connection was lost",
  ECONNRESET: "the connection was lost",
  EPIPE: "the connection was lost",
  ER_SOCKET_UNEXPECTED_CLOSE: "the connection was lost",
  ER_GET_CONNECTION_TIMEOUT: "the pool had no connection to give within its `acquireTimeout`",
};

/** What went wrong, in words that hold neither statements nor answers. */
function reasonOf(error: unknown): string {
  if (!isClientError(error)) return String(error);
  // The mariadb connector's pool tells why it has no connection in the cause.
  const inner = isClientError(error.cause) && error.cause !== error ? reasonOf(error.cause) : null;
  if (inner !== null) return inner;
  const meaning = MEANINGS[error.errno ?? 0] ?? CODES[error.code ?? ""];
  const said = error.sqlMessage ?? firstLine(error.message);
  return meaning === undefined ? said : `${meaning} (${said})`;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

/** An error of the client as the store's callers get it. Its cause is a copy without the statement. */
export function unavailable(error: unknown): IdempotencyError {
  if (isIdempotencyError(error)) return error;
  return new IdempotencyError("store_unavailable", `The MySQL store could not do it: ${reasonOf(error)}.`, {
    cause: causeOf(error),
  });
}

/** An error at start, which is not passing: it names the fix. */
export function inaccessible(error: unknown): IdempotencyError {
  if (isIdempotencyError(error)) return error;
  return new IdempotencyError("store_inaccessible", `The MySQL store cannot be opened: ${reasonOf(error)}.`, {
    cause: causeOf(error),
  });
}

/** The clients' errors carry the whole statement, and with it bodies of answers. */
function causeOf(error: unknown): unknown {
  if (!isClientError(error)) return error;
  const { errno, code, sqlMessage } = error;
  return Object.assign(new Error(sqlMessage ?? firstLine(error.message)), { errno, code });
}
