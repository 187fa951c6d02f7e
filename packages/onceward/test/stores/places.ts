// Places in temporary directories for suites of SQLite stores.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Store } from "onceward/core";
import { type SqliteFileOptions, sqliteStore } from "onceward/stores/sqlite";
import { fakeClock, type StorePlace } from "onceward/testing";

/** A new directory, and how to remove it. */
export function temporaryDirectory(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "onceward-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A file for SQLite stores under a clock of the test's own; `wrap` may decorate each store. */
export function sqlitePlace(
  options: Partial<SqliteFileOptions> = {},
  wrap: (store: Store) => Store = (store) => store,
): StorePlace {
  const directory = temporaryDirectory();
  const path = join(directory.path, "onceward.db");
  // The other processes of a race have clocks of their own, which stand where this one stood when they were started.
  const clock = fakeClock(Date.now());
  return {
    create: (change = {}) => wrap(sqliteStore({ ...options, ...change, path, now: () => clock.now() })),
    advance: (ms) => clock.advance(ms),
    process: {
      module: fileURLToPath(new URL("./children/sqlite-store.js", import.meta.url)),
      get argument() {
        return JSON.stringify({ path, now: clock.now() });
      },
    },
    remove: directory.remove,
  };
}
