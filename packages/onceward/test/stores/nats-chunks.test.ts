// The NATS store with what is longer than a message, and that nothing grows for ever.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { ClaimRequest } from "../../src/core/store.js";
import { describePrivateNats, manager } from "./nats-client.js";
import { answer, claimOf, HOUR, natsBench, newFence, SECOND, text } from "./nats-node.js";

const MAX_PAYLOAD = 64 * 1024;

describePrivateNats("the NATS store where messages are small", () => {
  const bench = natsBench({ max_payload: MAX_PAYLOAD });
  const { connected, node, keys } = bench;

  describe("answers and steps that are longer than a message", () => {
    test("5.1 are cut to what the server takes, come back whole, and leave nothing behind when they expire", async () => {
      let now = Date.now();
      const store = await node({ now: () => now });
      for (const bytes of [MAX_PAYLOAD - 2_000, MAX_PAYLOAD, 3 * MAX_PAYLOAD + 17, 2_000_000]) {
        const request = claimOf();
        await store.claim(request);
        const given = answer(bytes);
        expect(await store.complete(request.id, request.fence, given)).toBe(true);
        expect(text((await store.find(request.id))?.record.payload) === text(given.payload)).toBe(true);
        const again = await store.claim(claimOf({ id: request.id }));
        if (again.outcome !== "found") throw new Error(again.outcome);
        expect(text(again.record.payload) === text(given.payload)).toBe(true);
      }
      expect((await keys()).filter((key) => key.startsWith("c.")).length).toBeGreaterThan(30);
      now += 2 * HOUR;
      expect(await store.purge(100)).toBe(4);
      await expect.poll(keys).toEqual([]);
    });

    test("7.2 a step log grows beyond one message, is read whole, and goes when the record is done", async () => {
      const store = await node();
      const request = claimOf();
      await store.claim(request);
      const entries = Array.from({ length: 12 }, () => new Uint8Array(randomBytes(20_000)));
      for (const entry of entries) expect(await store.appendStep(request.id, request.fence, entry)).toBe(true);
      for (const reader of [store, await node()]) {
        const log = await reader.readSteps(request.id, request.fence);
        expect(log?.map(text).join() === entries.map(text).join()).toBe(true);
      }
      expect(await store.complete(request.id, request.fence, answer(10))).toBe(true);
      await expect.poll(keys).toEqual([`r.${request.id}`]);
    });

    test("4.2 of two who record different long answers at once, both under the claim's fence, one is kept whole", async () => {
      const stores = [await node(), await node()];
      for (let round = 0; round < 5; round++) {
        const request = claimOf();
        await stores[0]?.claim(request);
        const answers = [answer(200_000), answer(200_000), answer(200_000), answer(200_000)];
        const told = await Promise.all(
          answers.map((given, index) => stores[index % 2]?.complete(request.id, request.fence, given)),
        );
        expect(told).toEqual([true, true, true, true]);
        const kept = (await stores[1]?.find(request.id))?.record.payload;
        expect(answers.some(({ payload }) => text(payload) === text(kept))).toBe(true);
      }
    });

    test("4.12 the same long answer recorded twice at once is kept whole", async () => {
      const stores = [await node(), await node()];
      for (let round = 0; round < 10; round++) {
        const request = claimOf();
        await stores[0]?.claim(request);
        const given = answer(150_000);
        await Promise.all([0, 1, 0, 1].map((index) => stores[index]?.complete(request.id, request.fence, given)));
        await sleep(5);
        expect(text((await stores[1]?.find(request.id))?.record.payload) === text(given.payload)).toBe(true);
      }
    });

    test("chunks that a dead process left without a head are purged, and those of records stay", async () => {
      const store = await node();
      const kept = claimOf();
      await store.claim(kept);
      const given = answer(200_000);
      await store.complete(kept.id, kept.fence, given);
      const running = claimOf();
      await store.claim(running);
      const own = await connected();
      const orphan = async (id: string, fence: string) => {
        const note = own.headers();
        note.set("Onceward", "c.");
        await own.jetstream.publish(`$KV.${bench.bucket}.c.${id}.${fence}.${"0".repeat(32)}.0`, "x", { headers: note });
      };
      await orphan(randomBytes(32).toString("hex"), newFence());
      await orphan(kept.id, kept.fence);
      await orphan(running.id, newFence());
      await orphan(running.id, running.fence);
      const before = (await keys()).length;
      const other = await node();
      expect(await other.purge(100)).toBe(0);
      const after = await keys();
      expect(after.length).toBe(before - 3);
      // The owner of a running record may be about to write its head.
      expect(after).toContain(`c.${running.id}.${running.fence}.${"0".repeat(32)}.0`);
      expect(text((await other.find(kept.id))?.record.payload) === text(given.payload)).toBe(true);
    });

    test("a chunk that is gone is store_corrupt, and says of which record", async () => {
      const store = await node();
      const request = claimOf();
      await store.claim(request);
      await store.complete(request.id, request.fence, answer(200_000));
      const { connection } = await connected();
      const chunk = (await keys()).find((key) => key.startsWith("c."));
      await (await manager(connection)).streams.purge(`KV_${bench.bucket}`, { filter: `$KV.${bench.bucket}.${chunk}` });
      const corrupt = { code: "store_corrupt", message: expect.stringContaining(request.id) };
      await expect(store.find(request.id)).rejects.toMatchObject(corrupt);
      await expect(store.claim(claimOf({ id: request.id }))).rejects.toMatchObject(corrupt);
    });
  });

  describe("growth", () => {
    test("4.5 keys that are claimed and released leave nothing in the stream", async () => {
      const store = await node();
      const id = randomBytes(32).toString("hex");
      for (let round = 0; round < 50; round++) {
        const request = claimOf(round % 2 === 0 ? { id } : {});
        expect((await store.claim(request)).outcome).toBe("claimed");
        expect(await store.release(request.id, request.fence)).toBe(true);
      }
      expect(await keys()).toEqual([]);
    });

    test("P1 a record that is purged is never one that was made anew meanwhile", async () => {
      let now = Date.now();
      const store = await node({ now: () => now });
      const other = await node({ now: () => now });
      const ids = Array.from({ length: 200 }, () => randomBytes(32).toString("hex"));
      const retention = { forMs: SECOND };
      for (const id of ids) await store.claim(claimOf({ id, retention, leaseMs: SECOND }));
      now += 2 * SECOND;
      const purging = store.purge(1_000);
      const claims = await Promise.all(ids.map((id) => other.claim(claimOf({ id }))));
      await purging;
      expect(claims.every(({ outcome }) => outcome === "claimed")).toBe(true);
      for (const id of ids) expect((await other.find(id))?.record.state).toBe("running");
    });

    test("a key that another KV client deleted is absent, can be claimed, and its marker is purged", async () => {
      const store = await node();
      const requests = [claimOf(), claimOf()] as const;
      const own = await connected();
      for (const request of requests) {
        await store.claim(request);
        const marker = own.headers();
        marker.set("KV-Operation", "DEL");
        await own.jetstream.publish(`$KV.${bench.bucket}.r.${request.id}`, "", { headers: marker });
        expect(await store.find(request.id)).toBeNull();
        expect(await store.complete(request.id, request.fence, answer(1))).toBe(false);
      }
      expect((await store.list({ limit: 10 })).items).toEqual([]);
      expect((await store.claim(claimOf({ id: requests[0].id }))).outcome).toBe("claimed");
      expect(await store.purge(10)).toBe(0);
      expect(await keys()).toEqual([`r.${requests[0].id}`]);
    });

    test("9.4 a bucket that has reached its own bounds is full, and says so", async () => {
      const store = await node();
      const { connection } = await connected();
      const jsm = await manager(connection);
      await jsm.streams.update(`KV_${bench.bucket}`, { max_bytes: 5_000 });
      const requests = Array.from({ length: 20 }, () => claimOf());
      const outcomes = [];
      for (const request of requests) outcomes.push(await store.claim(request));
      expect(outcomes[0]?.outcome).toBe("claimed");
      expect(outcomes.at(-1)).toEqual({ outcome: "full", limit: "store" });
      const [first] = requests as [ClaimRequest];
      await expect(store.complete(first.id, first.fence, answer(6_000))).rejects.toMatchObject({
        code: "store_unavailable",
        message: expect.stringContaining("max_bytes"),
      });
      await jsm.streams.update(`KV_${bench.bucket}`, { max_bytes: -1 });
      expect(await store.complete(first.id, first.fence, answer(6_000))).toBe(true);
    });
  });
});
