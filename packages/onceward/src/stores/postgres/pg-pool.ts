// The Pool of `pg` (node-postgres), and what is compatible with it.

import { type Database, inTime, type Listener, type Row, type Session, type Statement } from "./database.js";
import { sqlState } from "./faults.js";

/** A client of `pg` that was taken out of its pool. */
export interface PgClientLike {
  query(query: PgQueryLike): Promise<{ readonly rows: readonly unknown[] }>;
  query(text: string): Promise<unknown>;
  on(event: string, listener: (event: PgEventLike) => void): unknown;
  removeListener(event: string, listener: (event: PgEventLike) => void): unknown;
  /** `true` closes the connection instead of keeping it. */
  release(destroy?: boolean): void;
}

/** A notification, or whatever else a client tells of. */
export interface PgEventLike {
  readonly payload?: string | undefined;
}

export interface PgQueryLike {
  readonly text: string;
  readonly values: unknown[];
  readonly name?: string;
  readonly rowMode: "array";
}

/** A `Pool` of `pg`. */
export interface PgPoolLike {
  connect(): Promise<PgClientLike>;
  readonly options?: { readonly max?: number };
}

export function pgDatabase(pool: PgPoolLike, timeoutMs: number): Database {
  /** Runs `work` on a connection of the pool, and ends a connection of which nobody knows in what state it is. */
  const use = async <T>(work: (client: PgClientLike) => Promise<T>): Promise<T> => {
    const client = await inTime(pool.connect(), timeoutMs, "the pool gave no connection", (late) => late.release());
    // A connection that is lost says so here too, and the pool does not listen while it is out.
    client.on("error", ignore);
    let healthy = false;
    try {
      const value = await inTime(work(client), timeoutMs, "the server did not answer", ignore);
      healthy = true;
      return value;
    } catch (error) {
      healthy = sqlState(error) !== null;
      throw error;
    } finally {
      if (healthy) client.removeListener("error", ignore);
      client.release(!healthy);
    }
  };
  return {
    embedded: null,
    query: (statement) => use((client) => ask(client, statement)),
    transaction: (work) =>
      use(async (client) => {
        const session = sessionOf(client);
        await client.query("BEGIN ISOLATION LEVEL READ COMMITTED");
        try {
          const value = await work(session);
          await client.query("COMMIT");
          return value;
        } catch (error) {
          if (sqlState(error) !== null) await client.query("ROLLBACK");
          throw error;
        }
      }),
    // The one connection of a pool of one would never come back.
    listen: pool.options?.max === 1 ? null : (channel, listener) => listen(pool, timeoutMs, channel, listener),
  };
}

function ignore(): void {}

async function ask(client: PgClientLike, { text, values, name }: Statement): Promise<readonly Row[]> {
  const query: PgQueryLike = { text, values: [...values], rowMode: "array", ...(name === undefined ? {} : { name }) };
  const { rows } = await client.query(query);
  return rows as readonly Row[];
}

function sessionOf(client: PgClientLike): Session {
  return {
    query: (statement) => ask(client, statement),
    async execute(text) {
      await client.query(text);
    },
  };
}

async function listen(
  pool: PgPoolLike,
  timeoutMs: number,
  channel: string,
  listener: Listener,
): Promise<() => Promise<void>> {
  const client = await inTime(pool.connect(), timeoutMs, "the pool gave no connection", (late) => late.release());
  let over = false;
  const end = (): void => {
    if (over) return;
    over = true;
    // Closed and not kept: the next user of the pool is to hear nothing.
    client.release(true);
  };
  const lost = (): void => {
    if (over) return;
    end();
    listener.onLost();
  };
  client.on("error", lost);
  client.on("end", lost);
  client.on("notification", ({ payload }) => listener.onMessage(payload ?? ""));
  try {
    await inTime(client.query(`LISTEN "${channel}"`), timeoutMs, "the server did not answer", ignore);
  } catch (error) {
    end();
    throw error;
  }
  listener.onHearing();
  return async () => end();
}
