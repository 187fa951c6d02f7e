// What a process of its own makes an SQLite store with, in races of the store suite.

import { DatabaseSync } from "@photostructure/sqlite";
import { sealedStore } from "onceward/stores/sealed";
import { sqliteStore } from "onceward/stores/sqlite";

/**
 * `argument` is JSON: the path; the instant at which the suite's clock stands; `own`, where the store is to work on a
 * database that its user opened; and `key` (hexadecimal), where it is to be sealed.
 */
export function createStore(argument) {
  const { path, now: instant, own, key } = JSON.parse(argument);
  const now = () => instant;
  const store = own ? sqliteStore({ database: new DatabaseSync(path), now }) : sqliteStore({ path, now });
  return key === undefined ? store : sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
}
