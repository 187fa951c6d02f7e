// A PostgreSQL database as the store uses it, whichever client reaches it.

/** Parameters are texts and bytes, whatever the statement makes of them, so that no client's own types matter. */
export type Value = string | Uint8Array | null;

/** And rows are texts. */
export type Row = readonly (string | null)[];

export interface Statement {
  /** With `$1` and so on. Every column that it answers is a text. */
  readonly text: string;
  readonly values: readonly Value[];
  /** Prepared once for each connection and kept under this name; else it is for one use. */
  readonly name?: string;
}

/** One connection, or the inside of a transaction. */
export interface Session {
  query(statement: Statement): Promise<readonly Row[]>;
  /** Several statements without parameters. */
  execute(text: string): Promise<void>;
}

/** Every call ends within the time that the client was wrapped with, and gives its connection back, also where it failed. */
export interface Database {
  /** One statement in one round trip, in a transaction of its own. */
  query(statement: Statement): Promise<readonly Row[]>;
  /** A transaction under READ COMMITTED; rolled back where `work` rejects. */
  transaction<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /**
   * Hears what is notified on a channel until the returned function is called. `onLost` says that it no longer hears and
   * nothing will come of it; `onHearing` that it does from now on, perhaps again. Null where the client cannot listen.
   */
  listen: ((channel: string, listener: Listener) => Promise<() => Promise<void>>) | null;
  /** What a database inside this process promises; null for a server, whose settings say it. */
  readonly embedded: "process" | "crash" | null;
}

export interface Listener {
  onMessage(payload: string): void;
  onHearing(): void;
  onLost(): void;
}

/** What a lost or overdue connection is rejected with, where the client says nothing of its own. */
export class NoAnswer extends Error {}

/** Rejects where a promise takes too long; what it comes to later is handed to `onLate`. */
export function inTime<T>(
  promise: Promise<T>,
  timeoutMs: number,
  what: string,
  onLate: (value: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      reject(new NoAnswer(`${what} within ${timeoutMs} ms`));
    }, timeoutMs);
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      if (!over) settle();
    };
    promise.then(
      (value) => (over ? onLate(value) : end(() => resolve(value))),
      (error) => end(() => reject(error)),
    );
  });
}
