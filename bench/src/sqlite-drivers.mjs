// Which SQLite to run on: claim+complete pairs a second of each driver that is installed, in the calling thread.
//
// node bench/src/sqlite-drivers.mjs [--pairs 4000]
//
// node:sqlite is there from Node 22.13 on. libsql is no dependency of ours: npm install --no-save libsql@0.5

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values: flags } = parseArgs({ options: { pairs: { type: "string", default: "4000" } } });
const pairs = Number(flags.pairs);
const PAYLOAD = randomBytes(500);

// Not a literal, so that nobody takes it for a dependency.
const LIBSQL = "libsql";

const DRIVERS = {
  "node:sqlite": async () => (await import("node:sqlite")).DatabaseSync,
  "@photostructure/sqlite": async () => (await import("@photostructure/sqlite")).DatabaseSync,
  libsql: async () => (await import(LIBSQL)).default,
};

const SCHEMA = `PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 250;
  CREATE TABLE records (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, state INTEGER, fence BLOB, created_at INTEGER,
    expires_at INTEGER, lease_until INTEGER, status INTEGER, fingerprint BLOB, key BLOB, payload BLOB);
  CREATE INDEX expiry ON records (expires_at)`;

function run(Database, path, batch) {
  const database = new Database(path);
  database.exec(SCHEMA);
  const begin = database.prepare("BEGIN IMMEDIATE");
  const commit = database.prepare("COMMIT");
  const insert = database.prepare(
    "INSERT INTO records (id, state, fence, created_at, expires_at, lease_until, fingerprint, key) VALUES (?, 0, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
  );
  const update = database.prepare(
    "UPDATE records SET state = 1, lease_until = 0, status = ?, payload = ? WHERE id = ? AND fence = ? AND state = 0 AND (expires_at > ? OR lease_until > ?)",
  );
  const started = performance.now();
  for (let done = 0; done < pairs; done += batch) {
    const claims = Array.from({ length: batch }, () => [randomBytes(32), randomBytes(16)]);
    const now = Date.now();
    begin.run();
    for (const [id, fence] of claims)
      insert.run(id, fence, now, now + 86_400_000, now + 30_000, "exact:9f86d081", "key");
    commit.run();
    begin.run();
    for (const [id, fence] of claims) update.run(200, PAYLOAD, id, fence, now, now);
    commit.run();
  }
  const rate = (pairs / (performance.now() - started)) * 1_000;
  database.close();
  return rate;
}

const directory = mkdtempSync(join(tmpdir(), "onceward-bench-"));
const rows = [];
for (const [driver, load] of Object.entries(DRIVERS)) {
  let Database;
  try {
    Database = await load();
  } catch {
    console.log(`${driver} is not installed here.`);
    continue;
  }
  const best = (batch) =>
    Math.max(...[1, 2, 3].map((round) => run(Database, join(directory, `${rows.length}-${batch}-${round}.db`), batch)));
  rows.push({ driver, "one a commit": Math.round(best(1)), "64 a commit": Math.round(best(64)) });
}
console.log(`Node ${process.version}; claim+complete pairs a second, best of 3`);
console.table(rows);
rmSync(directory, { recursive: true, force: true });
