// Connections of the user's pool as the store uses them: for one piece of work each, bounded in time, tried again.

import { IdempotencyError } from "../../core/errors.js";
import { type Connection, LeftTransaction, type Outcome } from "./client.js";
import { isLost, isRefusal, isRolledBack } from "./faults.js";

/** Runs one statement, and again where it was rolled back since somebody else was first. */
export type Query = (sql: string) => Promise<Outcome>;

export interface WorkOptions {
  /**
   * Whether statements wait for locks only briefly: those of several callers do, so that one whose record is locked does
   * not hold up the others.
   */
  readonly impatient?: boolean;
  /** Whether it can be done again where the connection was lost before the answer came. Default true. */
  readonly repeatable?: boolean;
}

/** Tries of a statement that deadlocks, with pauses that grow to so many milliseconds. */
const MAX_TRIES = 12;
const LONGEST_PAUSE_MS = 64;
/** Connections that a piece of work may wear out. */
const MAX_CONNECTIONS = 3;
/**
 * How long a connection whose session was changed is kept for the next piece of work, before the change is undone and
 * the pool gets it back.
 */
const LINGER_MS = 15;

const HURRY = "SET @onceward_lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1";
const UNHURRY = "SET SESSION innodb_lock_wait_timeout = @onceward_lock_wait";

/**
 * Nothing here holds a transaction: each statement commits by itself, so that a client that dies or stalls leaves no
 * lock behind.
 */
export class Sessions {
  readonly #connect: () => Promise<Connection>;
  readonly #timeoutMs: number;
  /** Connections that wait for locks only briefly, and are in nobody's use. */
  readonly #hurried: Connection[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** `timeoutMs` is how long getting a connection may take, and each statement. */
  constructor(connect: () => Promise<Connection>, timeoutMs: number) {
    this.#connect = connect;
    this.#timeoutMs = timeoutMs;
  }

  /** Rejects with the client's error, or `store_unavailable` where there was no answer in time. */
  async use<T>(work: (query: Query) => Promise<T>, options: WorkOptions = {}): Promise<T> {
    const { impatient = false, repeatable = true } = options;
    for (let used = 1; ; used++) {
      const hurried = this.#hurried.pop();
      const connection = hurried ?? (await this.#connection());
      try {
        if (impatient && hurried === undefined) await this.#ask(connection, HURRY);
        const value = await work((sql) => this.#query(connection, sql));
        this.#giveBack(connection, impatient || hurried !== undefined);
        return value;
      } catch (error) {
        if (isRefusal(error)) this.#giveBack(connection, impatient || hurried !== undefined);
        else connection.destroy();
        const again = error instanceof LeftTransaction || (repeatable && isLost(error));
        if (!again || used === MAX_CONNECTIONS) throw error;
      }
    }
  }

  /** Gives all connections back. Call it when no work is under way. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await Promise.all(this.#hurried.splice(0).map((connection) => this.#unhurry(connection)));
  }

  #giveBack(connection: Connection, hurried: boolean): void {
    if (!hurried) {
      connection.release();
      return;
    }
    this.#hurried.push(connection);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.close(), LINGER_MS);
  }

  async #unhurry(connection: Connection): Promise<void> {
    try {
      await this.#ask(connection, UNHURRY);
      connection.release();
    } catch {
      connection.destroy();
    }
  }

  async #query(connection: Connection, sql: string): Promise<Outcome> {
    for (let tried = 1; ; tried++) {
      try {
        return await this.#ask(connection, sql);
      } catch (error) {
        if (!isRolledBack(error) || tried === MAX_TRIES) throw error;
      }
      // At random moments, so that the same two do not meet again.
      const longest = Math.min(2 ** tried, LONGEST_PAUSE_MS);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * longest));
    }
  }

  #ask(connection: Connection, sql: string): Promise<Outcome> {
    return this.#inTime(connection.query(sql), "answered");
  }

  #connection(): Promise<Connection> {
    const got = this.#connect();
    let late = false;
    const bounded = this.#inTime(got, "given a connection (its pool may be exhausted)", () => {
      late = true;
    });
    got.then(
      (connection) => late && connection.release(),
      () => {},
    );
    return bounded;
  }

  #inTime<T>(answer: Promise<T>, what: string, onTimeout?: () => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        onTimeout?.();
        const reason = `The MySQL store was not ${what} within ${this.#timeoutMs} ms.`;
        reject(new IdempotencyError("store_unavailable", reason));
      }, this.#timeoutMs);
      answer.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}
