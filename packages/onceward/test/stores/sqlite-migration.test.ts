// The SQLite store on a database of an earlier version: what was written then is still read, and written on.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sqliteStore } from "onceward/stores/sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DatabaseSync } from "./database.js";
import { temporaryDirectory } from "./places.js";

/** As version 1 made it; never to be changed. */
const VERSION_1 = `
  CREATE TABLE onceward_schema (version INTEGER NOT NULL);
  INSERT INTO onceward_schema VALUES (1);
  CREATE TABLE onceward_accounts (id INTEGER PRIMARY KEY, name BLOB UNIQUE, records INTEGER NOT NULL);
  INSERT INTO onceward_accounts VALUES (0, NULL, 2), (1, 'acme', 2);
  CREATE TABLE onceward_records (
    seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, state INTEGER NOT NULL, fence BLOB NOT NULL,
    account_id INTEGER NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL, ended_at INTEGER, status INTEGER, fingerprint BLOB, key BLOB NOT NULL,
    operation BLOB NOT NULL, run_id BLOB NOT NULL, payload BLOB
  );
  CREATE INDEX onceward_records_expiry ON onceward_records (expires_at);
  CREATE INDEX onceward_records_unknown ON onceward_records (state) WHERE state = 2;
  CREATE TABLE onceward_shared (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE onceward_runs (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, record_id BLOB, account BLOB NOT NULL,
    key BLOB NOT NULL, route BLOB NOT NULL, outcome TEXT NOT NULL, flags TEXT NOT NULL, run TEXT NOT NULL
  );
  CREATE TABLE onceward_audit (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, entry TEXT NOT NULL);
  INSERT INTO onceward_records (id, state, fence, account_id, created_at, expires_at, lease_until, ended_at, status,
    fingerprint, key, operation, run_id, payload) VALUES
    (x'${"aa".repeat(32)}', 1, x'${"0f".repeat(16)}', 1, 1700000000000, 4000000000000, 0, 1700000000900, 201,
      'exact:1', 'k1', 'POST /x', 'r1', x'0102'),
    (x'${"bb".repeat(32)}', 0, x'${"0f".repeat(16)}', 1, 1700000000001, 4000000000000, 1700000030001, NULL, NULL,
      NULL, 'k2', 'POST /x', 'r2', NULL);
`;
const DONE = "aa".repeat(32);
const RUNNING = "bb".repeat(32);
const FENCE = "0f".repeat(16);

let directory: ReturnType<typeof temporaryDirectory>;
let path: string;
beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory.path, "onceward.db");
});
afterEach(() => directory.remove());

function makeVersion1(pragmas = ""): void {
  const database = new DatabaseSync(path);
  database.exec(`BEGIN; ${VERSION_1} ${pragmas}; COMMIT`);
  database.close();
}

const MARKS = `PRAGMA application_id = ${0x4f6e6365}; PRAGMA user_version = 1`;

describe("a database of version 1", () => {
  it.each(["file", "database"])("14.5 is read and written on by the store of a %s", async (kind) => {
    makeVersion1(kind === "file" ? MARKS : "");
    const database = kind === "file" ? null : new DatabaseSync(path);
    const store = sqliteStore(database === null ? { path } : { database });
    await store.open();
    expect((await store.find(DONE))?.record).toMatchObject({
      ...{ state: "done", status: 201, payload: Uint8Array.of(1, 2), account: "acme", key: "k1", runId: "r1" },
      ...{ fence: FENCE, fingerprint: "exact:1", createdAt: 1_700_000_000_000, expiresAt: 4_000_000_000_000 },
    });
    expect(await store.readSteps(RUNNING, FENCE)).toEqual([]);
    expect(await store.appendStep(RUNNING, FENCE, Uint8Array.of(7))).toBe(true);
    expect(await store.readSteps(RUNNING, FENCE)).toEqual([Uint8Array.of(7)]);
    const next = { fence: "1f".repeat(16), leaseMs: 1_000 };
    expect(await store.takeOver(RUNNING, FENCE, next)).toBe(true);
    expect(await store.complete(RUNNING, next.fence, { status: 200, payload: Uint8Array.of(9) })).toBe(true);
    await store.close();
    database?.close();
  });

  it("14.5 is migrated once by four processes that start at the same moment", async () => {
    makeVersion1(MARKS);
    const reader = fileURLToPath(new URL("./children/reader.js", import.meta.url));
    const argument = JSON.stringify({ path, now: Date.now() });
    const processes = Array.from({ length: 4 }, () =>
      spawn(process.execPath, [reader, argument, DONE], { stdio: "inherit" }),
    );
    const exits = await Promise.all(processes.map((child) => once(child, "exit")));
    expect(exits.map(([code]) => code)).toEqual([0, 0, 0, 0]);
    const database = new DatabaseSync(path);
    expect(database.prepare("PRAGMA user_version").get()).toEqual({ user_version: 2 });
    expect(database.prepare("SELECT version FROM onceward_schema").get()).toEqual({ version: 2 });
    database.close();
  });
});
