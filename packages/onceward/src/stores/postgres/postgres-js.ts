// The `sql` of postgres.js.

import { type Database, inTime, NoAnswer, type Row, type Statement } from "./database.js";

/** A query of postgres.js that is under way. */
export interface PostgresJsQueryLike extends PromiseLike<unknown> {
  raw(): PromiseLike<unknown> & { cancel(): unknown };
}

/** What can be asked of `sql`, and of a transaction of it. */
export interface PostgresJsQueriesLike {
  unsafe(text: string, values?: never[], options?: { readonly prepare: boolean }): PostgresJsQueryLike;
}

/** What `postgres(…)` of postgres.js gives. */
export interface PostgresJsLike extends PostgresJsQueriesLike {
  begin(options: string, work: (sql: PostgresJsQueriesLike) => Promise<unknown>): Promise<unknown>;
  listen(
    channel: string,
    onMessage: (payload: string) => void,
    onListen?: () => void,
  ): PromiseLike<{ unlisten(): Promise<void> }>;
}

export function postgresJsDatabase(sql: PostgresJsLike, timeoutMs: number): Database {
  return {
    embedded: null,
    query: (statement) => ask(sql, statement, timeoutMs),
    async transaction<T>(work: Parameters<Database["transaction"]>[0]): Promise<T> {
      const done = sql.begin("isolation level read committed", (inside) =>
        work({
          query: (statement) => ask(inside, statement, timeoutMs),
          async execute(text) {
            await inside.unsafe(text);
          },
        }),
      );
      return (await inTime(done, timeoutMs, "the server did not answer", ignore)) as T;
    },
    // On a connection of its own, which postgres.js makes anew where it is lost.
    async listen(channel, listener) {
      const listening = Promise.resolve(sql.listen(channel, listener.onMessage, listener.onHearing));
      const forget = ({ unlisten }: { unlisten(): Promise<void> }): void => void unlisten().catch(ignore);
      const { unlisten } = await inTime(listening, timeoutMs, "the server did not answer", forget);
      return unlisten;
    },
  };
}

function ignore(): void {}

async function ask(sql: PostgresJsQueriesLike, statement: Statement, timeoutMs: number): Promise<readonly Row[]> {
  const { text, values, name } = statement;
  const query = sql.unsafe(text, [...values] as never[], { prepare: name !== undefined }).raw();
  try {
    const rows = await inTime(Promise.resolve(query), timeoutMs, "the server did not answer", ignore);
    return (rows as readonly (readonly (Uint8Array | null)[])[]).map((row) => row.map(textOf));
  } catch (error) {
    // Nothing else gives its connection back. It may not be reached either.
    if (error instanceof NoAnswer) void Promise.resolve(query.cancel()).catch(ignore);
    throw error;
  }
}

function textOf(column: Uint8Array | null): string | null {
  return column === null ? null : Buffer.from(column.buffer, column.byteOffset, column.byteLength).toString();
}
