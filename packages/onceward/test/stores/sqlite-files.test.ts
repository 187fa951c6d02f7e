// What the SQLite store does with files that are not as they should be: it says so, and leaves them as they are.

import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { sqliteStore } from "onceward/stores/sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DatabaseSync } from "./database.js";
import { temporaryDirectory } from "./places.js";

let directory: ReturnType<typeof temporaryDirectory>;
let path: string;
beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory.path, "onceward.db");
});
afterEach(() => directory.remove());

const request = {
  id: "a".repeat(64),
  fence: "f".repeat(32),
  fingerprint: null,
  ageMs: 0,
  retention: { forMs: 60_000 },
  leaseMs: 1_000,
  labels: { account: "acme", key: "k", operation: "POST /x", runId: "r" },
};

/** A store's file with a record in it. */
async function made(at = path, records = 1): Promise<void> {
  const store = sqliteStore({ path: at });
  await store.open();
  for (let index = 0; index < records; index++) {
    const id = createHash("sha256").update(String(index)).digest("hex");
    await store.claim({ ...request, id });
    await store.complete(id, request.fence, { status: 200, payload: new Uint8Array(2_000) });
  }
  await store.close();
}

function change(sql: string, at = path): void {
  const database = new DatabaseSync(at);
  database.exec(sql);
  database.close();
}

/** Opening is refused with this code; the message names the path and has these words; no file in its place changes. */
async function refused(code: string, words: RegExp, at = path): Promise<void> {
  const contents = () =>
    readdirSync(directory.path, { recursive: true, withFileTypes: true })
      // SQLite's shared memory holds locks and an index of the log, no data.
      .filter((entry) => entry.isFile() && !entry.name.endsWith("-shm"))
      .map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name)).toString("base64")])
      .filter(([name, content]) => !(name?.endsWith("-wal") && content === ""));
  const before = contents();
  const store = sqliteStore({ path: at, busyTimeoutMs: 50 });
  await expect(store.open()).rejects.toMatchObject({ code, message: expect.stringMatching(words) });
  await expect(store.claim(request)).rejects.toMatchObject({ code: "store_closed" });
  await store.close();
  expect(contents()).toEqual(before);
}

/** Leaves `path` as a process does that dies in the middle of a transaction with a rollback journal. */
function interrupt(sql: string): void {
  const database = new DatabaseSync(path);
  database.exec("PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN IMMEDIATE");
  // With so small a cache the changed pages reach the file before the commit.
  database.exec(sql);
  const left = join(directory.path, "left.db");
  copyFileSync(path, left);
  copyFileSync(`${path}-journal`, `${left}-journal`);
  database.exec("ROLLBACK");
  database.close();
  renameSync(left, path);
  renameSync(`${left}-journal`, `${path}-journal`);
}

describe("a store's file", () => {
  it("is whole without its log once it is closed, also when it was there before", async () => {
    const ids: string[] = [];
    for (let session = 0; session < 3; session++) {
      const store = sqliteStore({ path });
      await store.open();
      const id = createHash("sha256").update(`session ${session}`).digest("hex");
      await store.claim({ ...request, id });
      await store.close();
      ids.push(id);
      const copy = join(directory.path, `copy-${session}.db`);
      copyFileSync(path, copy);
      const copied = sqliteStore({ path: copy });
      await copied.open();
      for (const known of ids) expect((await copied.find(known))?.record.id).toBe(known);
      await copied.close();
    }
  });

  it("P1 is rolled back where its process died before the write-ahead log was there", async () => {
    await made(path, 20);
    interrupt("UPDATE onceward_records SET payload = zeroblob(9000)");
    const store = sqliteStore({ path });
    await store.open();
    for (let index = 0; index < 20; index++) {
      const found = await store.find(createHash("sha256").update(String(index)).digest("hex"));
      expect(found?.record.payload).toHaveLength(2_000);
    }
    await store.close();
  });

  it("of another program whose process died is refused, and not rolled back by us", async () => {
    change("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (zeroblob(50000))");
    interrupt("UPDATE theirs SET x = zeroblob(90000)");
    await refused("store_foreign", /another program/);
  });

  it("is made for its user alone, with our mark, in WAL mode", async () => {
    await made();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const database = new DatabaseSync(path);
    expect(database.prepare("PRAGMA application_id").get()).toEqual({ application_id: 0x4f6e6365 });
    expect(database.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    database.close();
  });

  it("may be there already and be empty", async () => {
    writeFileSync(path, "");
    await made();
    expect(statSync(path).size).toBeGreaterThan(0);
  });

  it("may be an SQLite database without anything in it", async () => {
    change("VACUUM");
    await made();
  });

  it("may be a symbolic link", async () => {
    symlinkSync("target.db", path);
    await made();
    expect(existsSync(join(directory.path, "target.db"))).toBe(true);
    await made();
  });

  it("may have spaces, percent signs and other scripts in its name", async () => {
    for (const name of ["with space.db", "100%20.db", "ключи?.db", "a#b.db", "file:x.db"]) {
      await made(join(directory.path, name));
      expect(readdirSync(directory.path)).toContain(name);
    }
  });
});

describe("opening refuses, and changes nothing of", () => {
  it("a path in a directory that is not there", async () => {
    await refused(
      "store_inaccessible",
      /directory .*missing for the store's file does not exist/,
      join(directory.path, "missing", "x.db"),
    );
  });

  it("a path under a file", async () => {
    writeFileSync(path, "text");
    await refused("store_inaccessible", /is not a directory/, join(path, "x.db"));
  });

  it("a directory", async () => {
    mkdirSync(path);
    await refused("store_inaccessible", /is a directory/);
  });

  it("something that is no regular file", async () => {
    await refused("store_inaccessible", /not a regular file/, "/dev/null");
  });

  it("a place that nothing can be written to", async () => {
    await refused("store_inaccessible", /\/proc\/onceward\.db/, "/proc/onceward.db");
  });

  it.skipIf(process.getuid?.() === 0)("a file that this user cannot write", async () => {
    await made();
    chmodSync(path, 0o400);
    await refused("store_inaccessible", /cannot be read and written/);
  });

  it("a text file", async () => {
    writeFileSync(path, "listen: 127.0.0.1:8080\n");
    await refused("store_foreign", /is not an SQLite database/);
  });

  it("a large file of something else", async () => {
    writeFileSync(path, Buffer.alloc(100_000, 7));
    await refused("store_foreign", /is not an SQLite database/);
  });

  it("another program's database, with its own mark or without one", async () => {
    change("CREATE TABLE users (id)");
    await refused("store_foreign", /database of another program/);
    change("PRAGMA application_id = 42");
    await refused("store_foreign", /database of another program/);
    change("PRAGMA journal_mode = WAL; INSERT INTO users VALUES (1)");
    await refused("store_foreign", /database of another program/);
  });

  it("an empty database with another program's mark", async () => {
    change("PRAGMA application_id = 42");
    await refused("store_foreign", /database of another program/);
  });

  it("another program's database that was left with a log", async () => {
    const source = join(directory.path, "live.db");
    const live = new DatabaseSync(source);
    live.exec("PRAGMA journal_mode = WAL; CREATE TABLE users (id); INSERT INTO users VALUES (1)");
    for (const suffix of ["", "-wal"]) copyFileSync(source + suffix, path + suffix);
    live.close();
    await refused("store_foreign", /database of another program/);
  });

  it("a newer schema", async () => {
    await made();
    change("PRAGMA user_version = 99; UPDATE onceward_schema SET version = 99");
    await refused("store_schema_newer", /newer version of Onceward \(schema 99; this one knows up to 2\)/);
  });

  it("a newer schema whose last changes are still in the log", async () => {
    const source = join(directory.path, "live.db");
    await made(source);
    const live = new DatabaseSync(source);
    live.exec("PRAGMA user_version = 99; UPDATE onceward_schema SET version = 99");
    for (const suffix of ["", "-wal"]) copyFileSync(source + suffix, path + suffix);
    live.close();
    await refused("store_schema_newer", /schema 99/);
  });

  it("our mark without our tables", async () => {
    await made();
    change("DROP TABLE onceward_schema");
    await refused("store_corrupt", /not its tables/);
  });

  it("a file with a damaged page", async () => {
    await made(path, 50);
    const bytes = readFileSync(path);
    bytes.fill(0xa5, 4_096 * 6, 4_096 * 20);
    writeFileSync(path, bytes);
    await refused("store_corrupt", /is damaged/);
  });

  it("a file that was cut off", async () => {
    await made(path, 50);
    truncateSync(path, 4_096 * 5);
    await refused("store_corrupt", /is damaged/);
  });

  it("a file whose header was overwritten", async () => {
    await made();
    const bytes = readFileSync(path);
    bytes.fill(0, 0, 16);
    writeFileSync(path, bytes);
    await refused("store_foreign", /is not an SQLite database/);
  });

  it("a file that another program has locked", async () => {
    await made();
    const other = new DatabaseSync(path);
    other.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE onceward_schema SET version = version");
    await refused("store_inaccessible", /locked by another program/);
    other.exec("ROLLBACK");
    other.close();
    await made();
  });
});

describe("options that cannot work", () => {
  it.each(["", ":memory:", "a\0b"])("such as the path %j are refused at once", (bad) => {
    expect(() => sqliteStore({ path: bad })).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });

  it.each([
    { gathering: { maxBatch: 0 } },
    { maxWaitMs: -1 },
    { busyTimeoutMs: 0.5 },
    { limits: { maxRecords: Number.NaN } },
  ])("such as %j are refused at once, by their name", (bad) => {
    const name = Object.keys(bad.limits ?? bad.gathering ?? bad)[0] ?? "";
    expect(() => sqliteStore({ path, ...bad })).toThrow(
      expect.objectContaining({ code: "config_invalid", message: expect.stringContaining(name) }),
    );
  });
});
