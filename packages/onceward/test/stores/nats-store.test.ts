// What is particular of the NATS store: clocks, round trips, permissions, waiting.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { startNats } from "@onceward/services";
import { describe, expect, test } from "vitest";
import type { Store } from "../../src/core/store.js";
import { createLayer } from "../../src/http/handle.js";
import { natsStore } from "../../src/stores/nats.js";
import { requestOf, response } from "../http/layer-kit.js";
import { type Client, client, describePrivateNats } from "./nats-client.js";
import { answer, claimOf, HOUR, natsBench, newFence, SECOND } from "./nats-node.js";

describePrivateNats("the NATS store", () => {
  const bench = natsBench();
  const { connected, node, keys, later } = bench;

  describe("4.3 two nodes whose clocks are apart by the declared skew", () => {
    const SKEW = 2 * SECOND;
    for (const [how, offset] of [
      ["ahead", SKEW],
      ["behind", -SKEW],
    ] as const) {
      /** The owner's node, and another whose clock is off. */
      async function nodes(clock: { now: number }): Promise<readonly [Store, Store]> {
        const owner = await node({ maxClockSkewMs: SKEW, now: () => clock.now });
        const judge = await node({ maxClockSkewMs: SKEW, now: () => clock.now + offset });
        return [owner, judge];
      }

      test(`P1 a lease that is live for its owner is not lapsed for a node that is ${how}`, async () => {
        const clock = { now: Date.now() };
        const [owner, judge] = await nodes(clock);
        const request = claimOf({ leaseMs: 10 * SECOND });
        await owner.claim(request);
        clock.now += 10 * SECOND - 1;
        expect(await judge.interrupt(request.id, request.fence, 500, "finder")).toBe(false);
        expect(await judge.takeOver(request.id, request.fence, { fence: newFence(), leaseMs: SECOND })).toBe(false);
        expect((await judge.claim(claimOf({ id: request.id }))).outcome).toBe("found");
        // At most twice the skew later it is lapsed for everybody.
        clock.now += 2 * SKEW + 1;
        expect(await judge.interrupt(request.id, request.fence, 500, "finder")).toBe(true);
      });

      test(`P1 a key is not free for a node that is ${how} before its retention is over for who made it`, async () => {
        const clock = { now: Date.now() };
        const [owner, judge] = await nodes(clock);
        const request = claimOf({ leaseMs: SECOND, retention: { forMs: 10 * SECOND } });
        await owner.claim(request);
        await owner.complete(request.id, request.fence, answer(10));
        clock.now += 10 * SECOND - 1;
        expect((await judge.claim(claimOf({ id: request.id }))).outcome).toBe("found");
        expect(await judge.purge(10)).toBe(0);
        expect((await judge.list({ limit: 10 })).items).toHaveLength(1);
        clock.now += 2 * SKEW + 1;
        expect(await judge.purge(10)).toBe(1);
        expect((await judge.claim(claimOf({ id: request.id }))).outcome).toBe("claimed");
      });

      test(`4.2 whoever takes over on a node that is ${how} has a whole lease on the first one's clock`, async () => {
        const clock = { now: Date.now() };
        const [owner, judge] = await nodes(clock);
        const request = claimOf({ leaseMs: SECOND });
        await owner.claim(request);
        clock.now += 10 * SECOND;
        const next = newFence();
        expect(await judge.takeOver(request.id, request.fence, { fence: next, leaseMs: 10 * SECOND })).toBe(true);
        clock.now += 10 * SECOND - 1;
        expect(await owner.takeOver(request.id, next, { fence: newFence(), leaseMs: SECOND })).toBe(false);
        expect(await judge.renew(request.id, next, 10 * SECOND)).toBe(true);
      });
    }

    test("what a store answers as its clock agrees with how it judged", async () => {
      const clock = { now: Date.now() };
      const store = await node({ maxClockSkewMs: SKEW, now: () => clock.now });
      const request = claimOf({ leaseMs: 10 * SECOND });
      await store.claim(request);
      for (const [passed, lapsed] of [
        [10 * SECOND + SKEW - 1, false],
        [1, true],
      ] as const) {
        clock.now += passed;
        const found = await store.find(request.id);
        expect((found?.record.leaseUntil ?? 0) <= (found?.now ?? 0)).toBe(lapsed);
        expect(await store.interrupt(request.id, request.fence, 500, "finder")).toBe(lapsed);
      }
    });
  });

  describe("requests to the server", () => {
    /** Messages that a client sends while something is done. */
    async function sent({ connection }: Client, work: () => Promise<unknown>): Promise<number> {
      const before = connection.stats().outMsgs;
      await work();
      return connection.stats().outMsgs - before;
    }

    test("4.1 a new key's claim, its renewal and its completion are one each; a duplicate's claim is two", async () => {
      const store = await node();
      const request = claimOf();
      expect(await sent(store.client, () => store.claim(request))).toBe(1);
      expect(await sent(store.client, () => store.renew(request.id, request.fence, SECOND))).toBe(1);
      // The second is what those who wait are told by.
      expect(await sent(store.client, () => store.complete(request.id, request.fence, answer(100)))).toBe(2);
      expect(await sent(store.client, () => store.claim(claimOf({ id: request.id })))).toBe(2);
      expect(await sent(store.client, () => store.find(request.id))).toBe(1);
    });

    test("a purge reads what was written since the last one, and not all of it again", async () => {
      let now = Date.now();
      const store = await node({ now: () => now });
      for (let index = 0; index < 40; index++) await store.claim(claimOf({ retention: { forMs: 10 * HOUR } }));
      await store.purge(100);
      const received = async (work: () => Promise<unknown>) => {
        const before = store.client.connection.stats().inMsgs;
        await work();
        return store.client.connection.stats().inMsgs - before;
      };
      const idle = await received(() => store.purge(100));
      expect(idle).toBeLessThan(10);
      await store.claim(claimOf());
      expect(await received(() => store.purge(100))).toBeLessThan(15);
      now += 11 * HOUR;
      expect(await store.purge(100)).toBe(41);
    });

    test("one operation that gets no answer holds up no other", async () => {
      const own = await connected();
      const stuck = new Set<string>();
      const real = jetstream(own.connection);
      const slow = new Proxy(real, {
        get(target, name) {
          if (name !== "publish") return Reflect.get(target, name);
          return (subject: string, ...rest: [Uint8Array, object]) => {
            if ([...stuck].some((id) => subject.includes(id)))
              return sleep(3_000).then(() => real.publish(subject, ...rest));
            return real.publish(subject, ...rest);
          };
        },
      });
      const gathering = { maxBatch: 4, longestWaitMs: 20 };
      const store = natsStore({ ...own, jetstream: slow, bucket: bench.bucket, maxClockSkewMs: 0, gathering });
      later(() => store.close());
      await store.open();
      const slowOnes = Array.from({ length: 6 }, () => claimOf());
      for (const { id } of slowOnes) stuck.add(id);
      let slowEnded = 0;
      const waiting = slowOnes.map((request) => store.claim(request).finally(() => slowEnded++));
      const quick = await Promise.all(Array.from({ length: 100 }, () => store.claim(claimOf())));
      expect(quick.every(({ outcome }) => outcome === "claimed")).toBe(true);
      expect(slowEnded).toBe(0);
      for (const result of await Promise.all(waiting)) expect(result.outcome).toBe("claimed");
    });
  });

  test("a record that a newer version wrote is store_schema_newer, and is neither changed nor purged", async () => {
    let now = Date.now();
    const store = await node({ now: () => now });
    const own = await connected();
    const request = claimOf();
    const note = own.headers();
    note.set("Onceward", '{"v":2,"something":"else"}');
    await own.jetstream.publish(`$KV.${bench.bucket}.r.${request.id}`, "", { headers: note });
    const newer = { code: "store_schema_newer", message: expect.stringContaining("upgrade this node") };
    await expect(store.claim(request)).rejects.toMatchObject(newer);
    await expect(store.find(request.id)).rejects.toMatchObject(newer);
    now += 1_000 * HOUR;
    expect(await store.purge(10)).toBe(0);
    expect(await keys()).toEqual([`r.${request.id}`]);
  });

  test("a user with no more than the documented permissions can do everything", async () => {
    const permissions = {
      publish: [
        "$KV.onceward.>",
        "$JS.API.STREAM.CREATE.KV_onceward",
        "$JS.API.STREAM.INFO.KV_onceward",
        "$JS.API.STREAM.MSG.GET.KV_onceward",
        "$JS.API.STREAM.PURGE.KV_onceward",
        "$JS.API.CONSUMER.*.KV_onceward.>",
        "$JS.API.CONSUMER.*.KV_onceward",
        "$JS.API.CONSUMER.MSG.NEXT.KV_onceward.>",
        "onceward.changed.*",
      ],
      subscribe: ["_INBOX.>", "onceward.changed.*"],
    };
    const users = [{ user: "onceward", password: "secret", permissions }];
    const strict = await startNats({ settings: { authorization: { users } } });
    later(() => strict.remove());
    const own = await client(strict.url, { user: "onceward", pass: "secret" });
    later(() => own.connection.close());
    const denied: unknown[] = [];
    void (async () => {
      for await (const status of own.connection.status()) if (status.type === "error") denied.push(status);
    })();
    const store = natsStore({ ...own, onWarning: () => {} });
    later(() => store.close());
    await store.open();
    const [done, released] = [claimOf(), claimOf()] as const;
    let told = 0;
    const unwatch = store.waiting?.watch(done.id, () => told++);
    for (const request of [done, released]) await store.claim(request);
    await store.complete(done.id, done.fence, answer(2_000_000));
    await store.release(released.id, released.fence);
    expect((await store.list({ limit: 10 })).items).toHaveLength(1);
    expect((await store.find(done.id))?.record.payload).toHaveLength(2_000_000);
    await store.purge(10);
    await store.setShared("name", new Uint8Array(1), null);
    await expect.poll(() => told).toBe(1);
    unwatch?.();
    expect(denied).toEqual([]);
  });

  test("JetStream of a domain is reached by its prefix, for writes too", async () => {
    const folder = join(bench.server.folder, "domain");
    const hub = await startNats({ settings: { jetstream: { domain: "hub", store_dir: folder } } });
    later(() => hub.remove());
    const { connection, headers } = await client(hub.url);
    later(() => connection.close());
    const store = natsStore({ connection, jetstream: jetstream(connection, { domain: "hub" }), headers });
    later(() => store.close());
    await store.open();
    const request = claimOf();
    expect((await store.claim(request)).outcome).toBe("claimed");
    expect(await store.complete(request.id, request.fence, answer(10))).toBe(true);
    expect((await store.list({ limit: 10 })).items).toMatchObject([{ id: request.id, state: "done" }]);
    expect(await store.purge(10)).toBe(0);
  });

  describe("4.13 waiting", () => {
    test("a duplicate that waits on another node is woken by the word of the change, not by polling", async () => {
      const [owner, other] = [await node(), await node()];
      for (const end of ["complete", "interrupt", "release"] as const) {
        const request = claimOf();
        await owner.claim(request);
        let told = 0;
        const unwatch = other.waiting?.watch(request.id, () => told++);
        const another = claimOf();
        await owner.claim(another);
        await owner.complete(another.id, another.fence, answer(1));
        await other.client.connection.flush();
        if (end === "complete") await owner.complete(request.id, request.fence, answer(1));
        else if (end === "interrupt") await owner.interrupt(request.id, request.fence, 500, "owner");
        else await owner.release(request.id, request.fence);
        await expect.poll(() => told, { timeout: 5_000 }).toBe(1);
        unwatch?.();
      }
    });

    test("a watch lasts through a lost connection", async () => {
      const [owner, other] = [await node(), await node()];
      const request = claimOf();
      await owner.claim(request);
      let told = 0;
      const unwatch = other.waiting?.watch(request.id, () => told++);
      await bench.server.kill();
      await bench.server.start();
      // Both come back on their own.
      await expect.poll(() => owner.find(request.id).catch(() => null), { timeout: 20_000 }).not.toBeNull();
      await expect.poll(() => other.find(request.id).catch(() => null), { timeout: 20_000 }).not.toBeNull();
      await other.client.connection.flush();
      expect(await owner.complete(request.id, request.fence, answer(1))).toBe(true);
      await expect.poll(() => told).toBe(1);
      unwatch?.();
    });

    test("watching over a closed connection throws nothing", async () => {
      const store = await node();
      await store.client.connection.close();
      store.waiting?.watch("ab".repeat(32), () => {})();
    });

    test("200 duplicates that wait for one key cost the server few requests, and all get the answer", async () => {
      const [owner, other] = [await node(), await node()];
      const [first, second] = [createLayer({ store: owner }), createLayer({ store: other, maxWaitersPerKey: 500 })];
      const request = () => requestOf({ key: "one", policy: { whileRunning: { wait: 20_000 } } });
      const begun = await first.begin(request());
      if (begun.kind !== "run") throw new Error(begun.kind);
      const { connection } = other.client;
      const before = connection.stats().outMsgs;
      const duplicates = Array.from({ length: 200 }, () => second.begin(request()));
      await expect.poll(() => connection.stats().outMsgs).toBeGreaterThan(before);
      await begun.claim.finish(response("the answer", 201));
      for (const duplicate of await Promise.all(duplicates)) {
        if (duplicate.kind !== "answer") throw new Error(duplicate.kind);
        expect(new TextDecoder().decode(duplicate.response.body)).toBe("the answer");
      }
      // Two to learn that the key is taken, at most; then one of them asks for all.
      expect(connection.stats().outMsgs - before).toBeLessThanOrEqual(2 * 200 + 20);
    });
  });
});
