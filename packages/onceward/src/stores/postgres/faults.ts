// Errors of the clients and the server, as the store's callers get them.

import { IdempotencyError, isIdempotencyError } from "../../core/errors.js";

/** The code of an error that the server raised (https://www.postgresql.org/docs/current/errcodes-appendix.html), or null. */
export function sqlState(error: unknown): string | null {
  const code = (error as { readonly code?: unknown } | null)?.code;
  // With a digit, as all of them; EPIPE is not one.
  if (typeof code !== "string" || !/^(?=.*\d)[0-9A-Z]{5}$/.test(code)) return null;
  // Said on behalf of a connection that is lost, or about to be.
  return code.startsWith("08") || code.startsWith("57P") ? null : code;
}

/** Whether a connection was lost with the answer, so that the statement may have taken effect. A refused one is not. */
export function isLostAnswer(error: unknown): boolean {
  const { code, message } = error as { readonly code?: unknown; readonly message?: string };
  if (code === "57P01" || code === "57P02" || code === "08006" || code === "CONNECTION_CLOSED") return true;
  if (code === "ECONNRESET" || code === "EPIPE") return true;
  return /connection terminated|connection (was )?closed/i.test(message ?? "") && sqlState(error) === null;
}

/** Whether another transaction got in the way, and the same statement may do at another moment; it had no effect. */
export function isContention(error: unknown): boolean {
  const state = sqlState(error);
  return state === "40001" || state === "40P01" || state === "55P03";
}

/** Whether the server refused a statement for what was in it, or for how long it took, so that parts of it may do. */
export function isMembersFault(error: unknown): boolean {
  const state = sqlState(error instanceof IdempotencyError ? error.cause : error);
  return state !== null && (/^(22|23|40|54|55)/.test(state) || state === "57014");
}

const REASONS: Readonly<Record<string, string>> = {
  "25006": "it can only be read, as a replica can; the pool must reach the primary",
  "26000": "a pooler between lost a prepared statement; set `preparedStatements: false`",
  "42P05": "a pooler between confused prepared statements; set `preparedStatements: false`",
  "42P01": "its tables are gone",
  "42501": "the role may no longer use its tables",
  "53100": "its disk is full",
  "53300": "it has no connection left",
  "57014": "the statement was cancelled, or took longer than `statement_timeout`",
};

/** An error as the caller of an operation gets it. */
export function unavailable(error: unknown): IdempotencyError {
  if (isIdempotencyError(error)) return error;
  const state = sqlState(error) ?? "";
  const message = withoutPasswords(error instanceof Error ? error.message : String(error));
  if (state === "XX001" || state === "XX002") {
    return new IdempotencyError("store_corrupt", `The PostgreSQL database is damaged (${message}).`, { cause: error });
  }
  const reason = REASONS[state];
  return new IdempotencyError(
    "store_unavailable",
    `The PostgreSQL store could not do it${reason === undefined ? "" : `: ${reason}`} (${message}).`,
    { cause: error },
  );
}

export function withoutPasswords(message: string): string {
  return message.replace(/(\w+:\/\/[^\s:/@]*):[^\s@]*@/g, "$1:…@");
}
