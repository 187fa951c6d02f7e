// PGlite: PostgreSQL inside the process, with one connection.

import { type Database, inTime, type Row, type Session, type Statement } from "./database.js";

/** What can be asked of PGlite, and of a transaction of it. */
export interface PGliteQueriesLike {
  query(
    text: string,
    values?: unknown[],
    options?: { readonly rowMode: "array" },
  ): Promise<{ readonly rows: readonly unknown[] }>;
  exec(text: string): Promise<unknown>;
}

/** A `PGlite`. */
export interface PGliteLike extends PGliteQueriesLike {
  transaction(work: (inside: PGliteQueriesLike) => Promise<unknown>): Promise<unknown>;
  listen(channel: string, onMessage: (payload: string) => void): Promise<() => Promise<void>>;
  readonly dataDir?: string | undefined;
}

export function pgliteDatabase(client: PGliteLike, timeoutMs: number): Database {
  const within = <T>(work: Promise<T>): Promise<T> => inTime(work, timeoutMs, "PGlite did not answer", () => {});
  return {
    // Files of its own outlive the process; whether they reach the disk is not PGlite's to say.
    embedded: client.dataDir === undefined || client.dataDir.startsWith("memory:") ? "process" : "crash",
    query: (statement) => within(ask(client, statement)),
    async transaction<T>(work: Parameters<Database["transaction"]>[0]): Promise<T> {
      const done = client.transaction(async (inside) => {
        await inside.exec("SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
        return work(sessionOf(inside));
      });
      return (await within(done)) as T;
    },
    async listen(channel, listener) {
      const unlisten = await within(client.listen(channel, listener.onMessage));
      listener.onHearing();
      return unlisten;
    },
  };
}

async function ask(client: PGliteQueriesLike, { text, values }: Statement): Promise<readonly Row[]> {
  const { rows } = await client.query(text, [...values], { rowMode: "array" });
  return rows as readonly Row[];
}

function sessionOf(inside: PGliteQueriesLike): Session {
  return {
    query: (statement) => ask(inside, statement),
    async execute(text) {
      await inside.exec(text);
    },
  };
}
