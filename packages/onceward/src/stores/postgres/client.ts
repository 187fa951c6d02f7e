// Which of the clients the store was given.

import { IdempotencyError } from "../../core/errors.js";
import type { Database } from "./database.js";
import { type PgPoolLike, pgDatabase } from "./pg-pool.js";
import { type PGliteLike, pgliteDatabase } from "./pglite.js";
import { type PostgresJsLike, postgresJsDatabase } from "./postgres-js.js";

/** A `Pool` of `pg`, the `sql` of postgres.js, or a `PGlite`. */
export type PostgresClientLike = PgPoolLike | PostgresJsLike | PGliteLike;

/**
 * @throws IdempotencyError `config_invalid` for anything else.
 */
export function databaseOf(client: PostgresClientLike, timeoutMs: number): Database {
  const has = (...names: readonly string[]): boolean =>
    names.every(
      (name) => typeof (client as unknown as Readonly<Record<string, unknown>> | null)?.[name] === "function",
    );
  if (has("unsafe", "begin", "listen")) return postgresJsDatabase(client as PostgresJsLike, timeoutMs);
  if (has("query", "exec", "transaction", "listen")) return pgliteDatabase(client as PGliteLike, timeoutMs);
  // A Client of pg has both too, but is one connection, which only a pool can replace.
  if (has("connect", "query") && "totalCount" in client) return pgDatabase(client as PgPoolLike, timeoutMs);
  throw new IdempotencyError(
    "config_invalid",
    "postgresStore needs a `client`: a Pool of pg (not a Client), the sql of postgres.js, or a PGlite.",
  );
}
