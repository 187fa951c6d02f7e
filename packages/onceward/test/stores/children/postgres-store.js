// What a process of its own makes a PostgreSQL store with, in races of the store suite.

import { postgresStore } from "onceward/stores/postgres";
import { sealedStore } from "onceward/stores/sealed";
import pg from "pg";
import postgres from "postgres";

/**
 * `argument` is JSON: the server's `url`; the `schema`, or `options` of each connection that say where the tables are;
 * the instant at which the suite's clock stands, unless the server's own is to be used; the `kind` of client; and `key`
 * (hexadecimal), where the store is to be sealed.
 */
export function createStore(argument) {
  const { url, schema, options, now: instant, kind, key } = JSON.parse(argument);
  const client =
    kind === "postgres.js"
      ? postgres(url, { max: 5 })
      : new pg.Pool({ connectionString: url, ...(options === undefined ? {} : { options }) });
  const store = postgresStore({
    client,
    onWarning: () => {},
    ...(schema === undefined ? {} : { schema }),
    ...(instant === undefined ? {} : { now: () => instant }),
  });
  const close = store.close.bind(store);
  // Its pool is this process's own, and would keep it alive.
  store.close = () => close().then(() => client.end());
  return key === undefined ? store : sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
}
