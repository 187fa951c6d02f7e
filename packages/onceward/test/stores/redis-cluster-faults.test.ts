// The Redis store in a cluster that fails over, as planned and not, whose slots are moved, and that loses what it acknowledged.

import { setTimeout as sleep } from "node:timers/promises";
import { type PrivateServer, type PrivateServers, redisCommand, startRedisCluster } from "@onceward/services";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../../src/core/store.js";
import { Places } from "../../src/stores/redis/places.js";
import { answerOf, claimOf } from "../../src/testing/store-suite/suite-case.js";
import { driveThroughFaults } from "./fault-drive.js";
import { type NodeKind, nodesBench, until } from "./redis-kit.js";
import { noRedis } from "./redis-place.js";

const KINDS: readonly NodeKind[] = ["ioredis", "node-redis"];
type Claim = ReturnType<typeof claimOf>;

/** Where records are: a place of each, and its slot. */
const places = new Places({ clustered: true } as ConstructorParameters<typeof Places>[0], "");

describe.skipIf(noRedis !== null)("redis, faults of a cluster", () => {
  const bench = nodesBench();
  let cluster: PrivateServers;
  // One for each, since what they do to it is not undone.
  beforeEach(async () => {
    cluster = await startRedisCluster();
  }, 120_000);
  afterEach(() => cluster?.remove());

  const target = () => ({ cluster: cluster.servers.slice(0, 3).map(({ url }) => url) });
  const nodes = () => Promise.all(KINDS.map((kind) => bench.node(kind, target(), { maxWaitMs: 3_000 })));
  const server = (index: number): PrivateServer => {
    const found = cluster.servers[index];
    if (found === undefined) throw new Error("There is no such server.");
    return found;
  };
  const isPrimary = async (one: PrivateServer) => {
    const info = await redisCommand({ port: one.port, timeoutMs: 1_000 }, "INFO", "replication").catch(() => "");
    return String(info).includes("role:master");
  };
  /** Makes records on all nodes and completes every other one. */
  async function records(stores: readonly Store[], count: number): Promise<readonly Claim[]> {
    const requests = Array.from({ length: count }, () => claimOf());
    await Promise.all(
      requests.map(async (request, index) => {
        const store = stores[index % stores.length] as Store;
        expect((await store.claim(request)).outcome).toBe("claimed");
        if (index % 2 === 0) await store.complete(request.id, request.fence, answerOf(request.id));
      }),
    );
    return requests;
  }
  async function lostOf(store: Store, requests: readonly Claim[]): Promise<readonly Claim[]> {
    const found = await Promise.all(requests.map(({ id }) => store.find(id)));
    return requests.filter((_, index) => found[index] === null);
  }
  async function listed(store: Store): Promise<ReadonlySet<string>> {
    const ids: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page = await store.list(cursor === undefined ? { limit: 500 } : { limit: 500, cursor });
      ids.push(...page.items.map(({ id }) => id));
      cursor = page.next;
    }
    expect(new Set(ids).size).toBe(ids.length);
    return new Set(ids);
  }

  it("P1 planned failovers of all primaries: nothing runs twice, and nothing is lost", {
    timeout: 120_000,
  }, async () => {
    const stores = await nodes();
    const before = await records(stores, 60);
    const report = await driveThroughFaults({
      stores,
      keys: 150,
      copies: 3,
      spreadMs: 4_000,
      storeTimeoutMs: 1_500,
      lease: "4s",
      async trouble() {
        for (const index of [3, 4, 5]) {
          await redisCommand(server(index), "CLUSTER", "FAILOVER");
          await until("the replica is the primary", () => isPrimary(server(index)));
          await sleep(300);
        }
      },
    });
    expect(report.runs).toBeGreaterThan(100);
    for (const store of stores) expect(await lostOf(store, before)).toEqual([]);
  });

  it("P1 slots that are moved under load: nothing runs twice, nothing is lost, all is listed afterwards", {
    timeout: 180_000,
  }, async () => {
    const stores = await nodes();
    const before = await records(stores, 300);
    const [from, to] = [server(0), server(1)];
    const slots = places.all.map(({ slot }) => slot).filter((slot) => slot < 16_384 / 3);
    const report = await driveThroughFaults({
      stores,
      keys: 400,
      copies: 3,
      spreadMs: 8_000,
      storeTimeoutMs: 1_500,
      lease: "4s",
      trouble: () => moveSlots(from, to, slots),
    });
    expect(report.runs).toBeGreaterThan(300);
    for (const store of stores) expect(await lostOf(store, before)).toEqual([]);
    // What was claimed without an index is put into it by the nodes that claimed it.
    const [store] = stores;
    await until(
      "all records are listed",
      async () => (await listed(store as Store)).size === 300 + report.runs,
      60_000,
    );
  });

  it.each(KINDS)("4.1 records of a slot that is half moved are claimed once, through %s", async (kind) => {
    const store = await bench.node(kind, target());
    const [from, to] = [server(0), server(1)];
    const isHere = (request: Claim) => places.of(request.id).slot < 5_000;
    const drawn = Array.from({ length: 2_000 }, () => claimOf()).filter(isHere);
    const place = places.of(drawn[0]?.id ?? "");
    // Of one place, and a key of another that stays.
    const ofPlace: Claim[] = [];
    while (ofPlace.length < 8) {
      const request = claimOf();
      if (places.of(request.id).index === place.index) ofPlace.push(request);
    }
    const [old, fresh] = [ofPlace.slice(0, 4), ofPlace.slice(4)];
    const neighbours = drawn.filter(({ id }) => places.of(id).index !== place.index).slice(0, 20);
    for (const request of old) await store.claim(request);

    await openMove(from, to, place.slot);
    // Half of the records are over there, and so is one of the indexes.
    await moveKeys(from, to, [`${bench.prefix}${place.name}r:${old[0]?.id}`, `${bench.prefix}${place.name}records`]);
    const again = [...old, ...fresh, ...neighbours].map((request) => store.claim(claimOf({ id: request.id })));
    const outcomes = await Promise.all(again.map(async (claim) => (await claim).outcome));
    expect(outcomes.slice(0, 4)).toEqual(["found", "found", "found", "found"]);
    expect(outcomes.slice(4)).toEqual([...fresh, ...neighbours].map(() => "claimed"));
    const duplicates = await Promise.all(fresh.map(({ id }) => store.claim(claimOf({ id }))));
    expect(duplicates.map(({ outcome }) => outcome)).toEqual(fresh.map(() => "found"));
    const [first] = old;
    expect(await store.complete(first?.id ?? "", first?.fence ?? "", answerOf("done"))).toBe(true);
    expect((await store.list({ limit: 100 })).items.length).toBeGreaterThan(15);

    await closeMove(from, to, place.slot);
    expect((await store.find(first?.id ?? ""))?.record.state).toBe("done");
    await until("all records are listed", async () => (await listed(store)).size === 8 + 20);
    expect(await store.purge(100)).toBe(0);
  });

  it("4.1 a node that hangs holds up no claim of another node", async () => {
    const [store] = await nodes();
    const requests = Array.from({ length: 60 }, () => claimOf());
    const isElsewhere = ({ id }: Claim) => places.of(id).slot >= 5_500;
    server(0).pause();
    const hanging = requests.filter((request) => !isElsewhere(request)).map((request) => store?.claim(request));
    const others = await Promise.all(requests.filter(isElsewhere).map((request) => store?.claim(request)));
    expect(others.every((result) => result?.outcome === "claimed")).toBe(true);
    server(0).resume();
    const results = await Promise.allSettled(hanging);
    expect(results.length).toBeGreaterThan(5);
  });

  it("P5 an unplanned failover that loses acknowledged records: they are counted, and nothing else suffers", {
    timeout: 120_000,
  }, async () => {
    const stores = await nodes();
    const [primary, replica] = [server(0), server(3)];
    const safe = await records(stores, 60);
    await until("the replica has all", async () => {
      const offset = async (one: PrivateServer) =>
        /master_repl_offset:(\d+)/.exec(String(await redisCommand(one, "INFO", "replication")))?.[1];
      return (await offset(primary)) === (await offset(replica));
    });
    // The replica hears nothing more: what the primary acknowledges from now on is on it alone.
    replica.pause();
    await redisCommand(primary, "CLIENT", "KILL", "TYPE", "replica");
    const acknowledged = await records(stores, 60);
    await primary.kill();
    replica.resume();
    await until("the replica is the primary", () => isPrimary(replica));
    for (const store of stores)
      await until("the store answers", () =>
        store.claim(claimOf()).then(
          () => true,
          () => false,
        ),
      );

    const lost = await lostOf(stores[0] as Store, acknowledged);
    console.log(`Of ${acknowledged.length} acknowledged records ${lost.length} were lost by an unplanned failover.`);
    const onPrimary = acknowledged.filter(({ id }) => places.of(id).slot < 5_461);
    expect(new Set(lost)).toEqual(new Set(onPrimary));
    expect(lost.length).toBeGreaterThan(5);
    expect(await lostOf(stores[1] as Store, safe)).toEqual([]);

    // A lost claim's owner is told so; the key is free for the client's retry, and no other key is.
    for (const { id, fence } of lost) expect(await stores[0]?.complete(id, fence, answerOf("late"))).toBe(false);
    const retried = await Promise.all(acknowledged.map(({ id }) => stores[1]?.claim(claimOf({ id }))));
    const claimed = acknowledged.filter((_, index) => retried[index]?.outcome === "claimed");
    expect(new Set(claimed)).toEqual(new Set(lost));

    await primary.start();
    await until("the old primary follows the new one", async () => !(await isPrimary(primary)));
    const report = await driveThroughFaults({ stores, keys: 50, copies: 2, spreadMs: 500, trouble: async () => {} });
    expect(report).toMatchObject({ runs: 50, unknown: 0 });
  });
});

/** As `redis-cli --cluster reshard` does it: https://redis.io/docs/latest/commands/cluster-setslot/ */
async function openMove(from: PrivateServer, to: PrivateServer, slot: number): Promise<void> {
  const [fromId, toId] = [await redisCommand(from, "CLUSTER", "MYID"), await redisCommand(to, "CLUSTER", "MYID")];
  await redisCommand(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", String(fromId));
  await redisCommand(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", String(toId));
}

async function moveKeys(from: PrivateServer, to: PrivateServer, keys: readonly string[]): Promise<void> {
  if (keys.length > 0) await redisCommand(from, "MIGRATE", to.host, to.port, "", 0, 5_000, "KEYS", ...keys);
}

async function closeMove(from: PrivateServer, to: PrivateServer, slot: number): Promise<void> {
  const toId = String(await redisCommand(to, "CLUSTER", "MYID"));
  for (;;) {
    const keys = await redisCommand(from, "CLUSTER", "GETKEYSINSLOT", slot, 10);
    if (!Array.isArray(keys) || keys.length === 0) break;
    await moveKeys(from, to, keys);
  }
  await redisCommand(to, "CLUSTER", "SETSLOT", slot, "NODE", toId);
  await redisCommand(from, "CLUSTER", "SETSLOT", slot, "NODE", toId);
}

async function moveSlots(from: PrivateServer, to: PrivateServer, slots: readonly number[]): Promise<void> {
  // Several at a time, so that much of what happens meanwhile meets one of them.
  for (let start = 0; start < slots.length; start += 40) {
    const some = slots.slice(start, start + 40);
    for (const slot of some) await openMove(from, to, slot);
    await sleep(300);
    for (const slot of some) await closeMove(from, to, slot);
  }
}
