// The Redis store on one server that is killed, paused, full, cut off, or that holds what is not the store's.

import { setTimeout as sleep } from "node:timers/promises";
import { type FaultProxy, faultProxy, type PrivateServer, redisCommand, startRedis } from "@onceward/services";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { answerOf, claimOf, newFence } from "../../src/testing/store-suite/suite-case.js";
import { driveThroughFaults } from "./fault-drive.js";
import { type NodeKind, nodesBench } from "./redis-kit.js";
import { noRedis } from "./redis-place.js";

const KINDS: readonly NodeKind[] = ["ioredis", "node-redis"];

describe.skipIf(noRedis !== null)("redis, faults of one server", () => {
  const bench = nodesBench();
  let server: PrivateServer;
  let relay: FaultProxy;
  let admin: Redis;
  beforeAll(async () => {
    server = await startRedis();
    relay = await faultProxy(server);
    admin = new Redis(server.url).on("error", () => {});
  });
  afterEach(() => relay.heal());
  afterAll(async () => {
    admin?.disconnect();
    await relay?.close();
    await server?.remove();
  });
  const direct = () => ({ url: server.url });
  const relayed = () => ({ url: relay.through(server.url) });

  describe.each(KINDS)("%s", (kind) => {
    it("P1 what was acknowledged survives a kill of the server, between claim and completion too", async () => {
      const store = await bench.node(kind, direct());
      const [claimed, done] = [claimOf(), claimOf()];
      for (const request of [claimed, done]) await store.claim(request);
      expect(await store.complete(done.id, done.fence, answerOf("kept"))).toBe(true);
      await server.kill();
      await server.start();
      expect((await store.find(done.id))?.record).toMatchObject({ state: "done", payload: answerOf("kept").payload });
      expect(await store.complete(claimed.id, claimed.fence, answerOf("late"))).toBe(true);
      expect((await store.claim(claimOf({ id: claimed.id }))).outcome).toBe("found");
    });

    it.each(["claim", "complete", "renew", "release"] as const)(
      "4.12 %s, whose answer was cut off, took effect once and can be repeated",
      async (operation) => {
        const store = await bench.node(kind, relayed());
        const request = claimOf();
        const { id, fence } = request;
        if (operation !== "claim") await store.claim(request);
        const operations = {
          claim: async () => (await store.claim(request)).outcome === "claimed",
          complete: () => store.complete(id, fence, answerOf("done")),
          renew: () => store.renew(id, fence, 90_000),
          release: () => store.release(id, fence),
        };
        relay.cutAtNextAnswer();
        // ioredis sends it again by itself once it is connected; through node-redis the caller learns that the word is lost.
        const first = await operations[operation]().catch((error) => error.code);
        expect([operation !== "release", "store_unavailable"]).toContain(first);
        expect(await operations[operation]()).toBe(operation !== "release");
        const state = (await store.find(id))?.record.state;
        expect(state).toBe({ claim: "running", complete: "done", renew: "running", release: undefined }[operation]);
      },
    );

    it("4.11 answers that come too late are store_unavailable, and what they said can be asked again", async () => {
      const store = await bench.node(kind, relayed(), { maxWaitMs: 300 });
      relay.delayAnswers(1_000);
      const request = claimOf();
      await expect(store.claim(request)).rejects.toMatchObject({ code: "store_unavailable" });
      relay.heal();
      await expect
        .poll(() => store.claim(request).catch(() => null), { timeout: 10_000 })
        .toMatchObject({
          outcome: "claimed",
        });
      expect((await store.claim(claimOf({ id: request.id }))).outcome).toBe("found");
    });

    it("4.11 a server that hangs and comes back holds up nothing for good", async () => {
      const store = await bench.node(kind, direct(), { maxWaitMs: 400 });
      server.pause();
      const codes = await Promise.all(
        Array.from({ length: 20 }, () => store.claim(claimOf()).catch((error) => error.code)),
      );
      expect(new Set(codes)).toEqual(new Set(["store_unavailable"]));
      server.resume();
      await expect
        .poll(() => store.claim(claimOf()).catch(() => null), { timeout: 10_000 })
        .toMatchObject({
          outcome: "claimed",
        });
    });

    it("4.11 scripts that the server forgot are sent again", async () => {
      const store = await bench.node(kind, direct());
      const request = claimOf();
      await store.claim(request);
      await admin.script("FLUSH");
      expect(await store.complete(request.id, request.fence, answerOf("done"))).toBe(true);
      expect((await store.claim(claimOf())).outcome).toBe("claimed");
    });
  });

  describe("P1, P5 under hold no key runs twice, none is wedged, and every request is answered", () => {
    const troubles: Readonly<Record<string, () => Promise<void>>> = {
      "while the server is killed and started again": async () => {
        for (let round = 0; round < 3; round++) {
          await sleep(300);
          await server.kill();
          await sleep(100);
          await server.start();
        }
      },
      "while answers are cut off": async () => {
        for (let round = 0; round < 25; round++) {
          relay.cutAtNextAnswer();
          await sleep(80);
        }
      },
      "while all connections are cut and refused": async () => {
        for (let round = 0; round < 5; round++) {
          await sleep(200);
          relay.refuse();
          await sleep(150);
          relay.heal();
        }
      },
      "while answers are late, and do not come": async () => {
        relay.delayAnswers(700);
        await sleep(1_000);
        relay.freezeAnswers();
        await sleep(1_500);
        relay.heal();
      },
      "while the server is paused": async () => {
        for (let round = 0; round < 3; round++) {
          await sleep(300);
          server.pause();
          await sleep(700);
          server.resume();
        }
      },
      "while connections are killed by an administrator": async () => {
        for (let round = 0; round < 15; round++) {
          await admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
          await sleep(100);
        }
      },
    };
    it.each(Object.entries(troubles))("%s", { timeout: 90_000 }, async (_, trouble) => {
      const stores = [
        await bench.node("ioredis", relayed(), { maxWaitMs: 1_000 }),
        await bench.node("node-redis", relayed(), { maxWaitMs: 1_000 }),
      ];
      const report = await driveThroughFaults({
        stores,
        keys: 150,
        copies: 3,
        spreadMs: 2_000,
        storeTimeoutMs: 500,
        lease: "2s",
        trouble,
      });
      expect(report.runs).toBeGreaterThan(100);
    });
  });

  describe("what the server refuses", () => {
    it("9.4 without memory new keys are refused, and answers recorded, renewed and replayed all the same", async () => {
      const store = await bench.node("ioredis", direct());
      const [running, done] = [claimOf(), claimOf()];
      for (const request of [running, done]) await store.claim(request);
      await store.complete(done.id, done.fence, answerOf("kept"));
      bench.after(() => admin.config("SET", "maxmemory", "0"));
      await admin.config("SET", "maxmemory", "100kb");
      await expect(store.claim(claimOf())).rejects.toMatchObject({
        code: "store_unavailable",
        message: expect.stringMatching(/OOM/),
      });
      expect((await store.claim(claimOf({ id: done.id }))).outcome).toBe("found");
      expect(await store.renew(running.id, running.fence, 60_000)).toBe(true);
      expect(await store.appendStep(running.id, running.fence, new Uint8Array(1_000))).toBe(true);
      expect(await store.complete(running.id, running.fence, answerOf("recorded"))).toBe(true);
      expect((await store.find(running.id))?.record.payload).toEqual(answerOf("recorded").payload);
    });

    it("4.11 where a primary must have replicas and has none, nothing is claimed, and what is there is replayed", async () => {
      const store = await bench.node("ioredis", direct());
      const done = claimOf();
      await store.claim(done);
      await store.complete(done.id, done.fence, answerOf("kept"));
      bench.after(() => admin.config("SET", "min-replicas-to-write", "0"));
      await admin.config("SET", "min-replicas-to-write", "1");
      await expect(store.claim(claimOf())).rejects.toMatchObject({ code: "store_unavailable" });
      expect((await store.claim(claimOf({ id: done.id }))).outcome).toBe("found");
    });

    it.each(KINDS)("4.11 a server that became a replica answers nothing, not even what it has (%s)", async (kind) => {
      const other = await startRedis({ settings: { appendonly: "no" } });
      bench.after(() => other.remove());
      const store = await bench.node(kind, direct());
      const request = claimOf();
      await store.claim(request);
      await store.complete(request.id, request.fence, answerOf("done"));
      bench.after(() => redisCommand(server, "REPLICAOF", "NO", "ONE"));
      await redisCommand(server, "REPLICAOF", "127.0.0.1", other.port);
      const refused = { code: "store_unavailable", message: expect.stringMatching(/READONLY/) };
      await expect(store.claim(claimOf({ id: request.id }))).rejects.toMatchObject(refused);
      await expect(store.find(request.id)).rejects.toMatchObject(refused);
      await expect(store.list({ limit: 10 })).rejects.toMatchObject(refused);
    });
  });

  describe("what is not the store's, or not this version's", () => {
    it("4.1 one key that holds something else fails alone, as store_corrupt", async () => {
      const store = await bench.node("ioredis", direct());
      const [text, list, newer] = [claimOf(), claimOf(), claimOf()];
      const key = (id: string) => `${bench.prefix}r:${id}`;
      await admin.set(key(text.id), "hello");
      await admin.lpush(key(list.id), "hello");
      await admin.set(key(newer.id), Buffer.from([9, 1, 2, 3]));
      const others = Array.from({ length: 20 }, () => claimOf());
      const results = await Promise.all(
        [text, list, newer, ...others].map((request) => store.claim(request).catch((error) => error)),
      );
      expect(results.slice(0, 3).map(({ code }) => code)).toEqual([
        "store_corrupt",
        "store_corrupt",
        "store_schema_newer",
      ]);
      expect(results.slice(3).every(({ outcome }) => outcome === "claimed")).toBe(true);
      const found = await Promise.all([text, list, newer].map(({ id }) => store.find(id).catch((error) => error.code)));
      expect(found).toEqual(["store_corrupt", "store_corrupt", "store_schema_newer"]);
      await expect(store.complete(text.id, newFence(), answerOf(""))).rejects.toMatchObject({ code: "store_corrupt" });
      expect(await admin.get(key(text.id))).toBe("hello");
    });

    it("4.10 records that Redis deleted itself, or an eviction dropped, are purged from the counts and listings", async () => {
      const store = await bench.node("ioredis", direct(), { limits: { maxRecordsPerAccount: 3 } });
      const requests = Array.from({ length: 3 }, () => claimOf({ retention: { forMs: 50 }, leaseMs: 50 }));
      for (const request of requests) await store.claim(request);
      expect((await store.claim(claimOf())).outcome).toBe("full");
      const [dropped, released] = requests;
      await admin.unlink(`${bench.prefix}r:${dropped?.id}`);
      expect(await store.release(released?.id ?? "", released?.fence ?? "")).toBe(true);
      expect((await store.list({ limit: 10 })).items.map(({ id }) => id)).toEqual([requests[2]?.id]);
      await sleep(60);
      expect(await store.purge(100)).toBe(2);
      expect(await admin.xlen(`${bench.prefix}records`)).toBe(0);
      expect(await admin.exists(...["expiry", "gone", "unknown"].map((key) => `${bench.prefix}${key}`))).toBe(0);
      expect(await admin.hget(`${bench.prefix}counts`, "t")).toBe("0");
      expect(await admin.hlen(`${bench.prefix}counts`)).toBe(2);
    });

    it("4.10 every record has a time at which Redis deletes it itself: an hour after it has expired", async () => {
      const store = await bench.node("ioredis", direct());
      const [leased, done, renewed] = [
        claimOf({ retention: { forMs: 1_000 }, leaseMs: 60_000 }),
        claimOf({ retention: { forMs: 120_000 }, leaseMs: 1_000 }),
        claimOf({ retention: { forMs: 1_000 }, leaseMs: 1_000 }),
      ];
      for (const request of [leased, done, renewed]) await store.claim(request);
      await store.complete(done.id, done.fence, answerOf(""));
      await store.renew(renewed.id, renewed.fence, 90_000);
      const left = async ({ id }: { readonly id: string }) => (await admin.pttl(`${bench.prefix}r:${id}`)) - 3_600_000;
      expect(await left(leased)).toBeGreaterThan(50_000);
      expect(await left(done)).toBeGreaterThan(110_000);
      expect(await left(renewed)).toBeGreaterThan(80_000);
    });
  });
});
