// What a process of its own makes an SQLite store with, in races of the store suite.

import { sqliteStore } from "onceward/stores/sqlite";

/** `argument` is JSON: the path, and the instant at which the suite's clock stands. */
export function createStore(argument) {
  const { path, now } = JSON.parse(argument);
  return sqliteStore({ path, now: () => now });
}
