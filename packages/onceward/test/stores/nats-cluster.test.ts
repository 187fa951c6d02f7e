// The NATS store on a cluster of three servers, each with a copy: leaders that die, and none that loses a record.

import { setTimeout as sleep } from "node:timers/promises";
import { type PrivateNatsCluster, startNatsCluster } from "@onceward/services";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { ClaimRequest, Store } from "../../src/core/store.js";
import { type NatsStoreOptions, natsStore } from "../../src/stores/nats.js";
import { driveThroughFaults } from "./fault-drive.js";
import { client, describeReplicatedNats, newBucket } from "./nats-client.js";
import { answer, claimOf, newFence } from "./nats-node.js";

const CLIENT = { timeout: 1_000, pingInterval: 500, maxPingOut: 2 };

describeReplicatedNats("the NATS store on a cluster of three", () => {
  let cluster: PrivateNatsCluster;
  let bucket: string;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    cluster = await startNatsCluster();
  }, 90_000);
  afterAll(() => cluster.remove());
  beforeEach(async () => {
    bucket = newBucket();
    await cluster.ready();
  }, 90_000);
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  /** A node that knows all servers, and begins with another one each. */
  async function node(first: number, options: Partial<NatsStoreOptions> = {}): Promise<Store> {
    const urls = cluster.servers.map((_, index) => cluster.servers[(index + first) % 3]?.url ?? "");
    const own = await client(urls, { ...CLIENT, noRandomize: true }, { timeout: 1_500 });
    const store = natsStore({ ...own, bucket, replicas: 3, maxClockSkewMs: 100, onWarning: () => {}, ...options });
    closing.push(
      () => own.connection.close(),
      () => store.close(),
    );
    await store.open();
    return store;
  }

  /** Kills the server that leads the bucket's stream, and answers what starts it again. */
  async function killLeader(): Promise<() => Promise<void>> {
    let leader = await cluster.leaderOf(`KV_${bucket}`);
    while (leader === null) {
      await sleep(50);
      leader = await cluster.leaderOf(`KV_${bucket}`);
    }
    await leader.kill();
    const killed = leader;
    return () => killed.start();
  }

  /** Asks until the store answers. */
  async function persistently<T>(ask: () => Promise<T>): Promise<T> {
    for (const until = performance.now() + 30_000; ; await sleep(100)) {
      try {
        return await ask();
      } catch (error) {
        if (performance.now() > until) throw error;
      }
    }
  }

  test("P1 what was acknowledged is there when the leader has died", async () => {
    const store = await node(0);
    const requests = Array.from({ length: 50 }, () => claimOf());
    await Promise.all(requests.map((request) => store.claim(request)));
    const [first, ...rest] = requests as [ClaimRequest, ...ClaimRequest[]];
    const long = answer(2_500_000);
    expect(await store.complete(first.id, first.fence, long)).toBe(true);
    const startAgain = await killLeader();
    for (const request of rest) {
      const found = await persistently(() => store.claim({ ...request, fence: newFence() }));
      expect(found.outcome).toBe("found");
      expect(await persistently(() => store.complete(request.id, request.fence, answer(10)))).toBe(true);
    }
    const kept = await persistently(() => store.find(first.id));
    expect(Buffer.compare(kept?.record.payload ?? Buffer.alloc(0), long.payload)).toBe(0);
    await startAgain();
    const page = await persistently(() => store.list({ limit: 100 }));
    expect(page.items.filter(({ state }) => state === "done")).toHaveLength(50);
  }, 120_000);

  test("P1 of many that claim a key, or take it over, at different servers one wins", async () => {
    const clock = { now: Date.now() };
    const nodes = [0, 1, 2].map((first) => node(first, { maxClockSkewMs: 0, now: () => clock.now }));
    const stores = await Promise.all(nodes);
    const all = <T>(ask: (store: Store) => Promise<T>) =>
      Promise.all(Array.from({ length: 24 }, (_, index) => ask(stores[index % 3] as Store)));
    for (let round = 0; round < 20; round++) {
      const { id } = claimOf();
      const retention = { forMs: 60_000 };
      const claims = await all((store) => store.claim(claimOf({ id, retention, leaseMs: 1_000 })));
      expect(claims.filter(({ outcome }) => outcome === "claimed")).toHaveLength(1);
      expect(claims.filter(({ outcome }) => outcome === "found")).toHaveLength(23);
      clock.now += 2_000;
      const { fence } = (await stores[0]?.find(id))?.record ?? { fence: "" };
      const takeOvers = await all((store) => store.takeOver(id, fence, { fence: newFence(), leaseMs: 1_000 }));
      expect(takeOvers.filter(Boolean)).toHaveLength(1);
      clock.now += 120_000;
      const second = await all((store) => store.claim(claimOf({ id })));
      expect(second.filter(({ outcome }) => outcome === "claimed")).toHaveLength(1);
    }
  }, 120_000);

  test("P1 P2 P5 while one leader after the other dies and comes back", async () => {
    const stores = [await node(0), await node(1), await node(2)];
    const report = await driveThroughFaults({
      stores,
      keys: 60,
      copies: 3,
      spreadMs: 6_000,
      async trouble() {
        for (let round = 0; round < 3; round++) {
          await sleep(500);
          const startAgain = await killLeader();
          await sleep(1_000);
          await startAgain();
        }
      },
    });
    expect(report.runs).toBeGreaterThan(0);
  }, 180_000);
});
