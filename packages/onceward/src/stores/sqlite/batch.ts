// Runs the operations of a batch in one transaction, and in smaller ones where one of them spoils it for the others.

import { IdempotencyError, isIdempotencyError } from "../../core/errors.js";
import type { StoreLimits } from "../../core/store.js";
import { type SqliteDatabaseLike, sqliteCode } from "./driver.js";
import { historyHandlers, sharedHandlers } from "./history.js";
import { listSlice } from "./listing.js";
import { type Batch, type BatchReply, type Call, type Fault, READING } from "./protocol.js";
import { recordHandlers } from "./records.js";
import { Session, Statements } from "./session.js";

type Handler = (session: Session, ...args: readonly unknown[]) => unknown;

const HANDLERS: Readonly<Record<Call[0], Handler>> = {
  ...recordHandlers,
  ...sharedHandlers,
  ...historyHandlers,
  list: listSlice,
} as unknown as Readonly<Record<Call[0], Handler>>;

export interface BatchOptions {
  readonly limits: StoreLimits;
  /** How long a batch tries to get the write lock that another process holds, in milliseconds. */
  readonly busyTimeoutMs: number;
}

/** Longest pause between two tries for the write lock. SQLite's own go up to 100 ms, with which a busy writer starves. */
const RETRY_MS = 3;

/**
 * Runs batches on one connection, one after the other.
 *
 * A batch is one `BEGIN IMMEDIATE … COMMIT`, or a deferred transaction where it only reads. If a member fails (a value
 * that is too large, a full disk), the transaction is rolled back and its halves run again, and theirs, until only that
 * one fails. Nothing is acknowledged before its commit.
 */
export class BatchRunner {
  readonly #sql: Statements;
  readonly #options: BatchOptions;
  #stopped = false;

  constructor(database: SqliteDatabaseLike, options: BatchOptions) {
    this.#sql = new Statements(database);
    this.#options = options;
  }

  /** No batch tries for the write lock any longer. */
  stop(): void {
    this.#stopped = true;
  }

  async run(batch: Batch): Promise<BatchReply> {
    try {
      return await this.#transaction(batch);
    } catch (error) {
      if (batch.calls.length === 1 || !isMembersFault(error)) return failed(batch, faultOf(error));
    }
    const middle = batch.calls.length >> 1;
    const first = await this.run({ ...batch, calls: batch.calls.slice(0, middle) });
    const second = await this.run({ ...batch, calls: batch.calls.slice(middle) });
    const faults = second.faults.map(([index, fault]) => [middle + index, fault] as const);
    return {
      instants: [...first.instants, ...second.instants],
      values: [...first.values, ...second.values],
      faults: [...first.faults, ...faults],
    };
  }

  async #transaction(batch: Batch): Promise<BatchReply> {
    const begin = batch.calls.every(([name]) => READING.has(name)) ? "BEGIN" : "BEGIN IMMEDIATE";
    const deadline = performance.now() + this.#options.busyTimeoutMs;
    for (;;) {
      try {
        return this.#attempt(begin, batch);
      } catch (error) {
        if (!isBusy(error) || this.#stopped || performance.now() >= deadline) throw error;
      }
      // Writers of other processes try at random moments, so that none is always the later one.
      await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * (RETRY_MS - 1)));
    }
  }

  #attempt(begin: string, batch: Batch): BatchReply {
    this.#sql.run(begin);
    try {
      // Read once the lock is held: what another process committed before must not be judged by an earlier instant.
      const now = batch.now ?? Date.now();
      const session = new Session(this.#sql, now, this.#options.limits);
      const values = batch.calls.map(([name, ...args]) => HANDLERS[name](session, ...args));
      session.finish();
      this.#sql.run("COMMIT");
      return { instants: values.map(() => now), values, faults: [] };
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }

  #rollBack(): void {
    try {
      this.#sql.run("ROLLBACK");
    } catch {
      // SQLite has rolled back already, as it does on its own after a full disk and some other errors. Were a
      // transaction still open, the next BEGIN would say so.
    }
  }
}

function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  if (code === "BUSY" || code === "LOCKED") return true;
  // A user's own connection on which the user has a transaction under way.
  return error instanceof Error && error.message.includes("within a transaction");
}

/** Whether the error can be of one member's making, so that the others may succeed without it. */
function isMembersFault(error: unknown): boolean {
  const code = sqliteCode(error);
  return (
    code === null ||
    code === "FULL" ||
    code === "TOOBIG" ||
    code === "CONSTRAINT" ||
    code === "NOMEM" ||
    code === "ERROR"
  );
}

/** The reply to a batch of which no member succeeded, all for the same reason. */
export function failed(batch: Batch, fault: Fault): BatchReply {
  return {
    instants: batch.calls.map(() => 0),
    values: batch.calls.map(() => null),
    faults: batch.calls.map((_, index) => [index, fault]),
  };
}

const REASONS: Readonly<Record<string, string>> = {
  BUSY: "another process holds its write lock for longer than the busy timeout",
  LOCKED: "another connection holds a lock on it",
  FULL: "the disk, or the database's largest size, is full",
  IOERR: "the disk failed",
  READONLY: "the database can no longer be written",
  CANTOPEN: "its files can no longer be opened",
  TOOBIG: "a value is larger than SQLite allows",
  NOMEM: "there is not enough memory",
};

/** An error of SQLite, or one of ours, as the caller gets it. */
export function faultOf(error: unknown): Fault {
  if (isIdempotencyError(error)) return { code: error.code, message: error.message };
  const code = sqliteCode(error);
  const message = error instanceof Error ? error.message : String(error);
  if (code === "CORRUPT" || code === "NOTADB") {
    return { code: "store_corrupt", message: `The SQLite database is damaged (${message}).` };
  }
  const reason = code === null ? undefined : REASONS[code];
  return {
    code: "store_unavailable",
    message: `The SQLite store could not do it${reason === undefined ? "" : `: ${reason}`} (${message}).`,
  };
}

export function errorOf(fault: Fault): IdempotencyError {
  return new IdempotencyError(fault.code, fault.message);
}
