// What travels together to Redis, what wakes waiters, and what that costs.

import { setTimeout as sleep } from "node:timers/promises";
import { type PrivateServer, type PrivateServers, startRedis, startRedisCluster } from "@onceward/services";
import { Cluster, Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Store } from "../../src/core/store.js";
import { createLayer } from "../../src/http/handle.js";
import type { RedisStoreOptions } from "../../src/stores/redis.js";
import { answerOf, claimOf, recordIn } from "../../src/testing/store-suite/suite-case.js";
import { requestOf, response } from "../http/layer-kit.js";
import { type NodeKind, nodesBench, until } from "./redis-kit.js";
import { noRedis } from "./redis-place.js";

const KINDS: readonly NodeKind[] = ["ioredis", "node-redis"];

describe.skipIf(noRedis !== null)("redis, gathering and waiting", () => {
  const bench = nodesBench();
  let server: PrivateServer;
  let admin: Redis;
  beforeAll(async () => {
    server = await startRedis({ settings: { appendonly: "no" } });
    admin = new Redis(server.url);
  });
  afterAll(async () => {
    admin?.disconnect();
    await server?.remove();
  });
  const target = () => ({ url: server.url });

  /** A node whose scripts are counted, and may be held. */
  async function watched(options: Partial<RedisStoreOptions> = {}) {
    const client = new Redis(server.url);
    bench.after(() => client.disconnect());
    const watch = { calls: 0, hold: Promise.resolve() };
    const send = client.callBuffer.bind(client) as (...command: unknown[]) => Promise<unknown>;
    client.callBuffer = (async (...command: unknown[]) => {
      if (String(command[0]).startsWith("eval")) watch.calls++;
      await watch.hold;
      return send(...command);
    }) as typeof client.callBuffer;
    const store = await bench.node("ioredis", target(), { ...options, client });
    await store.claim(claimOf());
    watch.calls = 0;
    return { store, watch };
  }

  describe("what arrives together travels together", () => {
    it("4.1 two hundred claims cost one call, and as many completions another", async () => {
      const { store, watch } = await watched();
      const requests = Array.from({ length: 200 }, () => claimOf());
      const results = await Promise.all(requests.map((request) => store.claim(request)));
      expect(results.every(({ outcome }) => outcome === "claimed")).toBe(true);
      expect(watch.calls).toBe(1);
      const held = await Promise.all(
        requests.map(({ id, fence }) => store.complete(id, fence, { status: 200, payload: Buffer.from(id) })),
      );
      expect(held.every(Boolean)).toBe(true);
      // The first time in full, since the server did not know that script yet.
      expect(watch.calls).toBeLessThanOrEqual(3);
      for (const { id } of requests)
        expect(Buffer.from((await store.find(id))?.record.payload ?? []).toString()).toBe(id);
    });

    it("4.1 what arrives while a call is under way gathers for the next, up to a cap", async () => {
      const { store, watch } = await watched({ gathering: { maxBatch: 10, longestWaitMs: 60_000 } });
      let go = (): void => {};
      watch.hold = new Promise((resolve) => {
        go = resolve;
      });
      const first = store.claim(claimOf());
      await until("the first is sent", () => watch.calls === 1);
      const later = Array.from({ length: 25 }, () => store.claim(claimOf()));
      await sleep(50);
      expect(watch.calls).toBe(1);
      go();
      await Promise.all([first, ...later]);
      expect(watch.calls).toBe(4);
    });

    it("4.1 one that comes alone waits for nothing", async () => {
      const { store, watch } = await watched({ gathering: { longestWaitMs: 60_000 } });
      const claim = store.claim(claimOf());
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      expect(watch.calls).toBe(1);
      expect((await claim).outcome).toBe("claimed");
    });

    it("5.1 large answers that many ask for at once come in several calls, whole", async () => {
      const { store, watch } = await watched();
      const large = { status: 200, payload: new Uint8Array(1024 * 1024).fill(7) };
      const request = claimOf();
      await store.claim(request);
      await store.complete(request.id, request.fence, large);
      watch.calls = 0;
      const results = await Promise.all(Array.from({ length: 30 }, () => store.claim(claimOf({ id: request.id }))));
      for (const result of results) expect(recordIn(result).payload?.byteLength).toBe(large.payload.byteLength);
      expect(watch.calls).toBeGreaterThan(2);
      expect(watch.calls).toBeLessThan(10);
    });

    it("9.3 no more wait than may, and the others are refused at once", async () => {
      const { store, watch } = await watched({ maxQueued: 5, gathering: { longestWaitMs: 60_000 } });
      let go = (): void => {};
      watch.hold = new Promise((resolve) => {
        go = resolve;
      });
      const first = store.claim(claimOf());
      await until("the first is sent", () => watch.calls === 1);
      const later = Array.from({ length: 8 }, () => store.claim(claimOf()).catch((error) => error));
      go();
      await first;
      const results = await Promise.all(later);
      expect(results.filter(({ outcome }) => outcome === "claimed").length).toBe(5);
      expect(results.filter(({ code }) => code === "store_unavailable").length).toBe(3);
    });
  });

  describe.each(KINDS)("waiting through %s", (kind) => {
    const changes: Readonly<Record<string, (store: Store, request: ReturnType<typeof claimOf>) => Promise<unknown>>> = {
      complete: (store, { id, fence }) => store.complete(id, fence, answerOf("done")),
      release: (store, { id, fence }) => store.release(id, fence),
      interrupt: (store, { id, fence }) => store.interrupt(id, fence, 500, "owner"),
      "take-over": (store, { id, fence }) =>
        store.takeOver(id, fence, { fence: "ab".repeat(16), leaseMs: 1_000, runId: "r" }),
    };
    it.each(Object.entries(changes))("4.13 a %s at one node is heard of at another", async (name, change) => {
      const [here, there] = [await bench.node(kind, target()), await bench.node(kind, target())];
      const request = claimOf({ leaseMs: name === "take-over" ? 1 : 60_000 });
      await here.claim(request);
      let heard = 0;
      const unwatch = there.waiting?.watch(request.id, () => heard++);
      bench.after(() => unwatch?.());
      await until("it is known that somebody waits", async () => {
        return (await admin.zscore(`${bench.prefix}waiting`, request.id)) !== null;
      });
      expect(heard).toBe(0);
      await change(here, request);
      await until("the change is heard of", () => heard === 1);
    });

    it("4.13 listening goes on after its connection was killed", async () => {
      const [here, there] = [await bench.node(kind, target()), await bench.node(kind, target())];
      const requests = [claimOf(), claimOf()];
      for (const request of requests) await here.claim(request);
      const heard = new Set<string>();
      for (const { id } of requests) bench.after(there.waiting?.watch(id, () => heard.add(id)) ?? (() => {}));
      await until("it is known that somebody waits", async () => (await admin.zcard(`${bench.prefix}waiting`)) === 2);
      const subscribers = async () => Number((await admin.pubsub("NUMSUB", `${bench.prefix}changes`))[1]);
      expect(await subscribers()).toBe(1);
      await admin.call("CLIENT", "KILL", "TYPE", "pubsub");
      await until("it listens again", async () => (await subscribers()) === 1);
      for (const { id, fence } of requests) await here.complete(id, fence, answerOf("done"));
      await until("both are heard of", () => heard.size === 2);
    });
  });

  it("4.13 what nobody waits for is not published", async () => {
    const store = await bench.node("ioredis", target());
    const published: string[] = [];
    const subscriber = new Redis(server.url);
    bench.after(() => subscriber.disconnect());
    await subscriber.subscribe(`${bench.prefix}changes`);
    subscriber.on("message", (_, message) => published.push(message));
    const [waited, other] = [claimOf(), claimOf()];
    for (const request of [waited, other]) await store.claim(request);
    const unwatch = store.waiting?.watch(waited.id, () => {});
    await until("it is known that somebody waits", async () => {
      return (await admin.zscore(`${bench.prefix}waiting`, waited.id)) !== null;
    });
    await Promise.all([other, waited].map(({ id, fence }) => store.complete(id, fence, answerOf("done"))));
    await until("the change is published", () => published.length > 0);
    expect(published).toEqual([waited.id]);
    unwatch?.();
    expect(await admin.pttl(`${bench.prefix}waiting`)).toBeGreaterThan(0);
  });

  it("4.13 two hundred duplicates on one key cost a bounded number of calls, and get the answer once it is there", async () => {
    const owner = createLayer({ store: await bench.node("ioredis", target()) });
    const { store, watch } = await watched();
    const layer = createLayer({ store, maxWaitersPerKey: 500 });
    const request = () => requestOf({ key: "storm", policy: { whileRunning: { wait: "20s" } } });
    const begun = await owner.begin(request());
    if (begun.kind !== "run") throw new Error(begun.kind);
    const waiting = Array.from({ length: 200 }, () => layer.begin(request()));
    await until("it is known that somebody waits", async () => (await admin.zcard(`${bench.prefix}waiting`)) === 1);
    await sleep(1_000);
    const before = watch.calls;
    await begun.claim.finish(response("done", 201));
    for (const answer of await Promise.all(waiting)) {
      expect(answer).toMatchObject({ kind: "answer", response: { status: 201 } });
    }
    // Claims in one call, one that says somebody waits, a poller that slows down; then one look. The history is written too.
    expect(before).toBeLessThan(25);
    expect(watch.calls - before).toBeLessThan(10);
  });
});

describe.skipIf(noRedis !== null)("redis cluster, gathering and waiting", () => {
  const bench = nodesBench();
  let servers: PrivateServers;
  beforeAll(async () => {
    servers = await startRedisCluster({ settings: { appendonly: "no" } });
  }, 120_000);
  afterAll(() => servers?.remove());
  const target = () => ({ cluster: servers.servers.slice(0, 3).map(({ url }) => url) });

  it("4.1 three hundred claims cost one call for each node", async () => {
    const client = new Cluster([...target().cluster]);
    bench.after(() => client.disconnect());
    const store = await bench.node("ioredis", target(), { client });
    const claims = (count: number) =>
      Promise.all(Array.from({ length: count }, () => store.claim(claimOf()))).then((results) =>
        results.every(({ outcome }) => outcome === "claimed"),
      );
    expect(await claims(100)).toBe(true);
    const evalsha = async () => {
      const stats = await Promise.all(client.nodes("master").map((node) => node.info("commandstats")));
      return stats.map((text) => Number(/cmdstat_evalsha:calls=(\d+)/.exec(text)?.[1] ?? 0));
    };
    const before = await evalsha();
    expect(await claims(300)).toBe(true);
    const after = await evalsha();
    for (const [index, calls] of after.entries()) {
      // A node's share may be above the cap of a batch.
      expect(calls - (before[index] ?? 0)).toBeLessThanOrEqual(2);
      expect(calls).toBeGreaterThan(before[index] ?? 0);
    }
  });

  it("9.4 of many claims at once no more are made than the limits of an account and of the store allow", async () => {
    const limits = { maxRecordsPerAccount: 10, maxRecords: 25 };
    const store = await bench.node("ioredis", target(), { limits });
    const outcomes = async (account: string) =>
      (await Promise.all(Array.from({ length: 64 }, () => store.claim(claimOf({ account }))))).map((result) =>
        result.outcome === "full" ? result.limit : result.outcome,
      );
    const of = (results: readonly string[], outcome: string) => results.filter((result) => result === outcome).length;
    const [first, second, third] = [await outcomes("a"), await outcomes("b"), await outcomes("c")];
    for (const results of [first, second]) expect([of(results, "claimed"), of(results, "account")]).toEqual([10, 54]);
    expect([of(third, "claimed"), of(third, "store")]).toEqual([5, 59]);
  });

  it.each(KINDS)("4.13 a completion at one node is heard of at another (%s)", async (kind) => {
    const [here, there] = [await bench.node(kind, target()), await bench.node(kind, target())];
    // On all nodes of the cluster.
    const requests = Array.from({ length: 12 }, () => claimOf());
    await Promise.all(requests.map((request) => here.claim(request)));
    const heard = new Set<string>();
    for (const { id } of requests) bench.after(there.waiting?.watch(id, () => heard.add(id)) ?? (() => {}));
    const admin = new Cluster([...target().cluster]);
    bench.after(() => admin.disconnect());
    await until("it is known that somebody waits", async () => {
      let known = 0;
      for (const node of admin.nodes("master")) {
        for (const key of await node.keys(`${bench.prefix}*waiting`)) known += await node.zcard(key);
      }
      return known === requests.length;
    });
    await Promise.all(requests.map(({ id, fence }) => here.complete(id, fence, answerOf("done"))));
    await until("all changes are heard of", () => heard.size === requests.length);
  });
});
