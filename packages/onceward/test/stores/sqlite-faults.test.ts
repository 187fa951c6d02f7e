// The SQLite store while it runs into trouble: a full disk, a busy writer, a dead thread, a file that goes.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import type { ClaimRequest, Store } from "onceward";
import { type SqliteFileOptions, sqliteStore } from "onceward/stores/sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DatabaseSync } from "./database.js";
import { temporaryDirectory } from "./places.js";

let directory: ReturnType<typeof temporaryDirectory>;
let path: string;
let stores: Store[];
beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory.path, "onceward.db");
  stores = [];
});
afterEach(async () => {
  for (const store of stores) await store.close();
  directory.remove();
});

async function opened(options: Partial<SqliteFileOptions> = {}): Promise<Store> {
  const store = sqliteStore({ path, ...options });
  stores.push(store);
  await store.open();
  return store;
}

function claimOf(key = "k"): ClaimRequest {
  return {
    id: randomBytes(32).toString("hex"),
    fence: randomBytes(16).toString("hex"),
    fingerprint: null,
    ageMs: 0,
    retention: { forMs: 3_600_000 },
    leaseMs: 60_000,
    labels: { account: "acme", key, operation: "POST /x", runId: "r" },
  };
}

describe("4.11 a full disk", () => {
  it("fails those that do not fit, and neither their neighbours nor what comes later", async () => {
    const store = await opened({ maxPages: 400 });
    const [large, small] = [claimOf("large"), claimOf("small")];
    await Promise.all([store.claim(large), store.claim(small)]);
    const [failed, completed, claimed] = await Promise.allSettled([
      store.complete(large.id, large.fence, { status: 200, payload: new Uint8Array(4_000_000) }),
      store.complete(small.id, small.fence, { status: 200, payload: new Uint8Array(10) }),
      store.claim(claimOf()),
    ]);
    expect(failed).toMatchObject({ reason: { code: "store_unavailable", message: expect.stringMatching(/full/) } });
    expect(completed).toMatchObject({ value: true });
    expect(claimed).toMatchObject({ value: { outcome: "claimed" } });
    expect((await store.find(large.id))?.record.state).toBe("running");
    expect(await store.complete(large.id, large.fence, { status: 200, payload: new Uint8Array(10) })).toBe(true);
  });

  it("is over once there is room again", async () => {
    const store = await opened({ maxPages: 120 });
    const held: ClaimRequest[] = [];
    for (;;) {
      const request = claimOf();
      const done = await store
        .claim(request)
        .then(() => store.complete(request.id, request.fence, { status: 200, payload: new Uint8Array(20_000) }))
        .catch((error: { code: string }) => error.code);
      held.push(request);
      if (done === "store_unavailable") break;
      expect(held.length).toBeLessThan(1_000);
    }
    const last = held.at(-1) ?? claimOf();
    expect(await store.release(last.id, last.fence)).toBe(true);
    // What runs can be released, what is done expires.
    const counted = (await store.list({ limit: 1_000 })).items.length;
    expect(counted).toBe(held.length - 1);
    change(`UPDATE onceward_records SET expires_at = 1`);
    expect(await store.purge(1_000)).toBe(counted);
    const request = claimOf();
    expect((await store.claim(request)).outcome).toBe("claimed");
    expect(await store.complete(request.id, request.fence, { status: 200, payload: new Uint8Array(20_000) })).toBe(
      true,
    );
  });
});

describe("neighbours", () => {
  it("are not failed by a value that the database refuses", async () => {
    const store = await opened();
    const requests = Array.from({ length: 20 }, () => claimOf());
    const bad = { ...claimOf(), retention: { forMs: Number.NaN } };
    const results = await Promise.allSettled([...requests, bad].map((request) => store.claim(request)));
    expect(results.pop()?.status).toBe("rejected");
    for (const result of results) expect(result).toMatchObject({ value: { outcome: "claimed" } });
    expect(await store.find(bad.id)).toBeNull();
  });

  it("share commits", async () => {
    const store = await opened();
    change("PRAGMA wal_checkpoint(TRUNCATE)");
    await Promise.all(Array.from({ length: 500 }, () => store.claim(claimOf())));
    const commits = frames(path).filter((size) => size > 0);
    expect(commits.length).toBeGreaterThan(0);
    expect(commits.length).toBeLessThan(10);
  });
});

/** The sizes of the database that frames of the log say after a commit; 0 in frames that end no commit. */
function frames(file: string): readonly number[] {
  const log = readFileSync(`${file}-wal`);
  const pageSize = log.readUInt32BE(8);
  const salt = log.readBigUInt64BE(16);
  const sizes: number[] = [];
  for (let at = 32; at + 24 + pageSize <= log.length; at += 24 + pageSize) {
    if (log.readBigUInt64BE(at + 8) === salt) sizes.push(log.readUInt32BE(at + 4));
  }
  return sizes;
}

describe("4.11 another process that holds the write lock", () => {
  it("is waited for", async () => {
    const store = await opened();
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const claim = store.claim(claimOf());
    await new Promise((resolve) => setTimeout(resolve, 50));
    other.exec("COMMIT");
    expect((await claim).outcome).toBe("claimed");
    other.close();
  });

  it("for too long makes operations fail with store_unavailable, without effect, and then they work again", async () => {
    const store = await opened({ busyTimeoutMs: 50 });
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const requests = [claimOf(), claimOf(), claimOf()];
    for (const result of await Promise.allSettled(requests.map((request) => store.claim(request)))) {
      expect(result).toMatchObject({
        reason: { code: "store_unavailable", message: expect.stringMatching(/write lock/) },
      });
    }
    expect(await store.find(requests[0]?.id ?? "")).toBeNull();
    other.exec("COMMIT");
    other.close();
    for (const request of requests) expect((await store.claim(request)).outcome).toBe("claimed");
  });

  it("does not keep readers from reading", async () => {
    const store = await opened({ busyTimeoutMs: 5_000 });
    const request = claimOf();
    await store.claim(request);
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    expect((await store.find(request.id))?.record.fence).toBe(request.fence);
    expect((await store.list({ limit: 1 })).items).toHaveLength(1);
    other.exec("COMMIT");
    other.close();
  });
});

describe("4.11 an operation that waits", () => {
  it("for too long is rejected, and has no effect if it was not begun", async () => {
    const store = await opened({ maxWaitMs: 100, busyTimeoutMs: 400, gathering: { maxBatch: 1 } });
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const requests = [claimOf(), claimOf(), claimOf()];
    const results = await Promise.allSettled(requests.map((request) => store.claim(request)));
    for (const result of results) {
      expect(result).toMatchObject({ reason: { code: "store_unavailable", message: expect.stringMatching(/100 ms/) } });
    }
    other.exec("COMMIT");
    other.close();
    const later = claimOf();
    expect((await store.claim(later).catch(() => store.claim(later))).outcome).toBe("claimed");
    for (const { id } of requests.slice(1)) expect(await store.find(id)).toBeNull();
  });

  it("for a lock that somebody else keeps does not keep the store from closing, and has no effect then", async () => {
    const workers: Worker[] = [];
    process.once("worker", (worker) => workers.push(worker as unknown as Worker));
    const store = await opened({ maxWaitMs: 100, busyTimeoutMs: 600_000 });
    const ended = once(workers[0] as Worker, "exit");
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const requests = [claimOf(), claimOf()];
    const claims = Promise.allSettled(requests.map((request) => store.claim(request)));
    await store.close();
    for (const result of await claims) expect(result).toMatchObject({ reason: { code: "store_unavailable" } });
    await ended;
    other.exec("COMMIT");
    other.close();
    const next = await opened();
    for (const { id } of requests) expect(await next.find(id)).toBeNull();
  });

  it("in too long a queue is rejected at once", async () => {
    const store = await opened({ maxQueued: 10 });
    const results = await Promise.allSettled(Array.from({ length: 15 }, () => store.claim(claimOf())));
    const rejected = results.filter(({ status }) => status === "rejected");
    expect(rejected).toHaveLength(5);
    expect(rejected[0]).toMatchObject({ reason: { code: "store_unavailable" } });
  });
});

describe("a thread that dies", () => {
  const workers: Worker[] = [];
  const onWorker = (worker: Worker) => void workers.push(worker);
  beforeEach(() => {
    workers.length = 0;
    process.on("worker", onWorker as never);
  });
  afterEach(() => {
    process.off("worker", onWorker as never);
  });

  // A message that it does not know is an error that it did not foresee. Worker.terminate() would do, but the packaged
  // driver aborts the process where it is inside SQLite at that moment.
  const kill = (worker: Worker | undefined) => worker?.postMessage(null);

  it("rejects what was under way, and the store goes on with another", async () => {
    const store = await opened();
    const kept = claimOf();
    await store.claim(kept);
    for (let round = 0; round < 10; round++) {
      const requests = Array.from({ length: 100 }, () => claimOf());
      const claims = requests.map((request) => store.claim(request));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
      kill(workers.at(-1));
      const results = await Promise.allSettled(claims);
      const acknowledged = requests.filter((_, index) => results[index]?.status === "fulfilled");
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "store_unavailable" });
      }
      // It is not started more often than a few times a second.
      await expect.poll(() => store.find(kept.id).catch(() => null), { timeout: 5_000 }).not.toBeNull();
      for (const { id, fence } of acknowledged) expect((await store.find(id))?.record.fence).toBe(fence);
    }
    expect(workers.length).toBeGreaterThan(5);
  });

  it("while the store is idle is noticed too", async () => {
    const store = await opened();
    kill(workers[0]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
  });

  it("does not keep the store from closing", async () => {
    const store = await opened();
    kill(workers[0]);
    await store.close();
    await expect(store.find("a".repeat(64))).rejects.toMatchObject({ code: "store_closed" });
  });
});

describe("a file that goes while the store is open", () => {
  it("is missed, and no new one is made in its place", async () => {
    const store = await opened();
    const request = claimOf();
    await store.claim(request);
    renameSync(path, `${path}.away`);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await expect(store.claim(claimOf())).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(/removed or replaced/),
    });
    renameSync(`${path}.away`, path);
    expect((await store.find(request.id))?.record.fence).toBe(request.fence);
  });
});

describe("two stores of one process on one file", () => {
  it("take turns, and neither starves", async () => {
    const [one, two] = [await opened(), await opened()];
    const counts = [0, 0];
    const until = Date.now() + 1_500;
    await Promise.all(
      [one, two].flatMap((store, index) =>
        Array.from({ length: 8 }, async () => {
          while (Date.now() < until) {
            await store.claim(claimOf());
            counts[index] = (counts[index] ?? 0) + 1;
          }
        }),
      ),
    );
    expect(Math.min(...counts)).toBeGreaterThan(0);
    expect((await one.list({ limit: 1 })).items).toHaveLength(1);
  });
});

function change(sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

describe("4.3 the store's clock", () => {
  it("is the machine's, unless a test gives another", async () => {
    const store = await opened();
    const before = Date.now();
    const result = await store.claim(claimOf());
    const now = result.outcome === "full" ? 0 : result.now;
    expect(now).toBeGreaterThanOrEqual(before);
    expect(now).toBeLessThanOrEqual(Date.now());
  });
});

describe("a batch in which one fails", () => {
  it("costs its neighbours a few commits, not one each, and they know the instants that were kept", async () => {
    const store = await opened();
    change("PRAGMA wal_checkpoint(TRUNCATE)");
    const claims = Array.from({ length: 200 }, () => store.claim(claimOf()));
    const listing = store.list({ limit: 1, cursor: "no cursor" });
    await expect(listing).rejects.toMatchObject({ code: "request_invalid" });
    for (const result of await Promise.all(claims)) {
      if (result.outcome !== "claimed") throw new Error(result.outcome);
      expect((await store.find(result.record.id))?.record).toEqual(result.record);
    }
    expect(frames(path).filter((size) => size > 0).length).toBeLessThan(30);
  });

  it("is not needed for a queue that is never empty to be answered whole", async () => {
    const store = await opened({ gathering: { maxBatch: 8 } });
    let answered = 0;
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        for (let turn = 0; turn < 40; turn++) {
          await store.claim(claimOf());
          answered += 1;
        }
      }),
    );
    expect(answered).toBe(64 * 40);
  });
});
