// Places in temporary directories for suites of SQLite stores.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { SqlStatement } from "onceward";
import { sealedStore } from "onceward/stores/sealed";
import { sqliteStore } from "onceward/stores/sqlite";
import { fakeClock, type StorePlace } from "onceward/testing";
import { DatabaseSync } from "./database.js";

/** A new directory, and how to remove it. */
export function temporaryDirectory(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "onceward-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export interface SqlitePlaceOptions {
  /** Whether each store works on a database that the test opened. */
  readonly own?: boolean;
  /** Seals each store with this key, in hexadecimal. */
  readonly key?: string;
}

function execute(database: InstanceType<typeof DatabaseSync>, text: string, values: readonly unknown[]): number {
  return Number(database.prepare(text).run(...(values as never[])).changes);
}

/** A file for SQLite stores under a clock of the test's own. */
export function sqlitePlace({ own = false, key }: SqlitePlaceOptions = {}): StorePlace {
  const directory = temporaryDirectory();
  const path = join(directory.path, "onceward.db");
  // The other processes of a race have clocks of their own, which stand where this one stood when they were started.
  const clock = fakeClock(Date.now());
  const now = () => clock.now();
  const databases: InstanceType<typeof DatabaseSync>[] = [];
  const databaseOf = () => {
    const database = new DatabaseSync(path);
    databases.push(database);
    return database;
  };
  return {
    create(change = {}) {
      const store = sqliteStore(own ? { ...change, database: databaseOf(), now } : { ...change, path, now });
      if (key === undefined) return store;
      return sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
    },
    advance: (ms) => clock.advance(ms),
    ...(own ? { execute: ({ text, values }: SqlStatement) => execute(databaseOf(), text, values) } : {}),
    process: {
      module: fileURLToPath(new URL("./children/sqlite-store.js", import.meta.url)),
      get argument() {
        return JSON.stringify({ path, now: clock.now(), own, key });
      },
    },
    remove() {
      for (const database of databases) database.close();
      directory.remove();
    },
  };
}
