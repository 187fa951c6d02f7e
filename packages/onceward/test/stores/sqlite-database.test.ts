// The SQLite store on a database of its user's own: the shared suite, and how the two get on.

import { join } from "node:path";
import { sqliteStore } from "onceward/stores/sqlite";
import { storeSuite } from "onceward/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DatabaseSync } from "./database.js";
import { sqlitePlace, temporaryDirectory } from "./places.js";

storeSuite({
  name: "sqlite in a database of one's own",
  runner: { describe, it },
  capabilities: { shared: true, history: true, transactions: true, clock: "fake" },
  setUp: () => sqlitePlace({ own: true }),
});

describe("a database of one's own", () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let database: InstanceType<typeof DatabaseSync>;
  const request = {
    id: "a".repeat(64),
    fence: "f".repeat(32),
    fingerprint: null,
    ageMs: 0,
    retention: { forMs: 60_000 },
    leaseMs: 1_000,
    labels: { account: "acme", key: "k", operation: "POST /x", runId: "r" },
  };

  beforeEach(() => {
    directory = temporaryDirectory();
    database = new DatabaseSync(join(directory.path, "app.db"));
    database.exec(
      "CREATE TABLE transfers (id INTEGER PRIMARY KEY); PRAGMA user_version = 77; PRAGMA application_id = 5",
    );
  });
  afterEach(() => {
    database.close();
    directory.remove();
  });

  it("keeps its tables, its version and its identity", async () => {
    const store = sqliteStore({ database });
    await store.open();
    await store.claim(request);
    await store.close();
    expect(database.prepare("PRAGMA user_version").get()).toEqual({ user_version: 77 });
    expect(database.prepare("PRAGMA application_id").get()).toEqual({ application_id: 5 });
    database.exec("INSERT INTO transfers VALUES (1)");
    const again = sqliteStore({ database });
    await again.open();
    expect((await again.claim(request)).outcome).toBe("claimed");
    await again.close();
  });

  it("decides on the durability that the store declares", async () => {
    const declared = async (pragma: string, path = join(directory.path, "durability.db")) => {
      const other = new DatabaseSync(path);
      other.exec(pragma);
      const store = sqliteStore({ database: other });
      await store.open();
      await store.close();
      other.close();
      return store.info.durability;
    };
    expect(await declared("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")).toBe("power-loss");
    expect(await declared("PRAGMA synchronous = NORMAL")).toBe("crash");
    expect(await declared("PRAGMA synchronous = FULL", ":memory:")).toBe("process");
  });

  it("7.1 commits its user's writes with the answer, and rolls both back", async () => {
    const store = sqliteStore({ database });
    await store.open();
    await store.claim(request);
    const pay = (fence: string, commit: boolean): number => {
      const answer = { status: 201, payload: new TextEncoder().encode("paid") };
      database.exec("BEGIN IMMEDIATE; INSERT INTO transfers (id) VALUES (NULL)");
      const { text, values } = store.transactions?.completion(request.id, fence, answer) ?? { text: "", values: [] };
      const { changes } = database.prepare(text).run(...(values as never[]));
      database.exec(commit ? "COMMIT" : "ROLLBACK");
      return Number(changes);
    };
    const transfers = () => database.prepare("SELECT count(*) AS transfers FROM transfers").get();
    expect(pay(request.fence, false)).toBe(1);
    expect(transfers()).toEqual({ transfers: 0 });
    expect((await store.find(request.id))?.record.state).toBe("running");
    expect(pay("0".repeat(32), false)).toBe(0);
    expect(pay(request.fence, true)).toBe(1);
    expect(transfers()).toEqual({ transfers: 1 });
    // By SQLite's own clock, which is the process's.
    const { record, now } = (await store.find(request.id)) ?? { record: null, now: 0 };
    expect(record).toMatchObject({ state: "done", status: 201, payload: new TextEncoder().encode("paid") });
    expect(Math.abs((record?.endedAt ?? 0) - now)).toBeLessThan(5_000);
    await store.close();
  });

  it("is waited for while its user has a transaction under way", async () => {
    const store = sqliteStore({ database });
    await store.open();
    database.exec("BEGIN IMMEDIATE; INSERT INTO transfers VALUES (2)");
    const claim = store.claim(request);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(database.prepare("SELECT count(*) AS records FROM onceward_records").get()).toEqual({ records: 0 });
    database.exec("ROLLBACK");
    expect((await claim).outcome).toBe("claimed");
    expect(database.prepare("SELECT count(*) AS transfers FROM transfers").get()).toEqual({ transfers: 0 });
    await store.close();
  });

  it("that holds its transaction for too long makes the operation fail, and the next one works", async () => {
    const store = sqliteStore({ database, busyTimeoutMs: 20 });
    await store.open();
    database.exec("BEGIN IMMEDIATE");
    await expect(store.claim(request)).rejects.toMatchObject({ code: "store_unavailable" });
    database.exec("COMMIT");
    expect((await store.claim(request)).outcome).toBe("claimed");
    await store.close();
  });

  it("with tables of a newer version is refused", async () => {
    const store = sqliteStore({ database });
    await store.open();
    await store.close();
    database.exec("UPDATE onceward_schema SET version = 99");
    await expect(sqliteStore({ database }).open()).rejects.toMatchObject({ code: "store_schema_newer" });
  });

  it("that was closed makes operations fail with store_unavailable", async () => {
    const closed = new DatabaseSync(join(directory.path, "closed.db"));
    const store = sqliteStore({ database: closed });
    await store.open();
    closed.close();
    await expect(store.claim(request)).rejects.toMatchObject({ code: "store_unavailable" });
    await store.close();
  });
});
