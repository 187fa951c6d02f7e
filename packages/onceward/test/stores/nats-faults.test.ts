// The NATS store while its server dies, freezes and loses answers: at most one run a key, and an answer for everybody.

import { setTimeout as sleep } from "node:timers/promises";
import { type FaultProxy, faultProxy, type PrivateServer, startNats } from "@onceward/services";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Store } from "../../src/core/store.js";
import { createLayer } from "../../src/http/handle.js";
import { type NatsStoreOptions, natsStore } from "../../src/stores/nats.js";
import { requestOf, response } from "../http/layer-kit.js";
import { driveThroughFaults } from "./fault-drive.js";
import { client, describePrivateNats, newBucket } from "./nats-client.js";
import { answer, claimOf, newFence } from "./nats-node.js";

/** Of one request; short of patience, as a node under load is to be. */
const TIMEOUT_MS = 1_000;

describePrivateNats("the NATS store under faults", () => {
  let server: PrivateServer;
  let relay: FaultProxy;
  let bucket: string;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    server = await startNats();
    relay = await faultProxy(server);
  });
  afterAll(async () => {
    await relay.close();
    await server.remove();
  });
  beforeEach(() => {
    bucket = newBucket();
  });
  afterEach(async () => {
    relay.heal();
    for (const close of closing.splice(0).reverse()) await close();
  });

  /** Nodes of one test share a bucket; each has a connection through the relay. */
  async function node(options: Partial<NatsStoreOptions> = {}): Promise<Store> {
    const patience = { timeout: TIMEOUT_MS, pingInterval: 500, maxPingOut: 2 };
    const own = await client(relay.through(server.url), patience, { timeout: TIMEOUT_MS });
    const store = natsStore({ ...own, bucket, maxClockSkewMs: 100, onWarning: () => {}, ...options });
    closing.push(
      () => own.connection.close(),
      () => store.close(),
    );
    await store.open();
    return store;
  }

  /** Until the nodes are connected again. */
  async function reconnected(...stores: readonly Store[]): Promise<void> {
    for (const store of stores) {
      await expect.poll(() => store.getShared("any").catch(() => "away"), { timeout: 20_000 }).toBeNull();
    }
  }

  describe("P1 P2 P5 under hold no key runs twice, none is wedged, and every request is answered", () => {
    const drive = async (trouble: () => Promise<void>, change: { lease?: string } = {}) => {
      const stores = [await node(), await node()];
      return driveThroughFaults({ stores, keys: 40, copies: 3, spreadMs: 2_500, trouble, ...change });
    };

    test("while the server is killed and started again", async () => {
      const report = await drive(async () => {
        for (let round = 0; round < 3; round++) {
          await sleep(400);
          await server.kill();
          await sleep(100);
          await server.start();
        }
      });
      expect(report.runs).toBeGreaterThan(0);
      expect(report.put).toBeGreaterThan(0);
    }, 120_000);

    test("while connections are cut in the middle of answers", async () => {
      const report = await drive(async () => {
        for (let round = 0; round < 30; round++) {
          relay.cutAtNextAnswer();
          await sleep(100);
        }
        relay.heal();
      });
      expect(report.runs).toBeGreaterThan(0);
    }, 120_000);

    test("while answers come later than anybody waits for them", async () => {
      const report = await drive(async () => {
        for (let round = 0; round < 2; round++) {
          await sleep(300);
          relay.delayAnswers(2_000);
          await sleep(700);
          relay.delayAnswers(0);
        }
      });
      expect(report.put).toBeGreaterThan(0);
    }, 120_000);

    test("while the server stands still and goes on", async () => {
      await drive(async () => {
        for (let round = 0; round < 2; round++) {
          await sleep(300);
          server.pause();
          await sleep(1_500);
          server.resume();
        }
      });
    }, 120_000);

    test("while the server is away for longer than a lease, and operations end meanwhile", async () => {
      await drive(
        async () => {
          await sleep(300);
          relay.refuse();
          await sleep(3_500);
          relay.heal();
        },
        { lease: "2s" },
      );
    }, 120_000);
  });

  describe("the word of one operation is lost, its effect is not", () => {
    type Lost = (store: Store, request: ReturnType<typeof claimOf>) => Promise<unknown>;
    const operations: [string, Lost, unknown][] = [
      ["complete", (store, { id, fence }) => store.complete(id, fence, answer(100)), true],
      ["renew", (store, { id, fence }) => store.renew(id, fence, 60_000), true],
      ["interrupt", (store, { id, fence }) => store.interrupt(id, fence, 500, "owner"), true],
      ["appendStep", (store, { id, fence }) => store.appendStep(id, fence, new Uint8Array(3)), true],
      // A key that was given back is not there to be given back again.
      ["release", (store, { id, fence }) => store.release(id, fence), false],
    ];
    test.each(operations)("4.12 %s: store_unavailable, and it can be repeated", async (_name, operation, again) => {
      const store = await node();
      const request = claimOf();
      await store.claim(request);
      relay.cutAtNextAnswer();
      await expect(operation(store, request)).rejects.toMatchObject({ code: "store_unavailable" });
      await reconnected(store);
      expect(await operation(store, request)).toBe(again);
    });

    test("4.12 claim: store_unavailable; repeated with the same fence it finds the record as its own", async () => {
      const store = await node();
      const request = claimOf();
      relay.cutAtNextAnswer();
      await expect(store.claim(request)).rejects.toMatchObject({ code: "store_unavailable" });
      await reconnected(store);
      expect((await store.claim(claimOf({ id: request.id }))).outcome).toBe("found");
      expect((await store.claim(request)).outcome).toBe("claimed");
    });

    test("4.12 a long answer whose chunks were written and whose head was not is recorded by repeating it", async () => {
      const store = await node();
      const request = claimOf();
      await store.claim(request);
      const given = answer(3_000_000);
      for (let attempt = 0; attempt < 4; attempt++) {
        const cut = sleep(attempt * 10).then(() => relay.cut());
        await store.complete(request.id, request.fence, given).catch(() => {});
        await cut;
        await reconnected(store);
      }
      expect(await store.complete(request.id, request.fence, given)).toBe(true);
      const kept = (await store.find(request.id))?.record.payload;
      expect(Buffer.compare(kept ?? Buffer.alloc(0), given.payload)).toBe(0);
    });
  });

  test("P1 what was acknowledged is there after the server was killed, and the claim still holds", async () => {
    const store = await node();
    const requests = Array.from({ length: 50 }, () => claimOf());
    for (const request of requests) expect((await store.claim(request)).outcome).toBe("claimed");
    await server.kill();
    const [first] = requests as [ReturnType<typeof claimOf>];
    await expect(store.complete(first.id, first.fence, answer(1))).rejects.toMatchObject({ code: "store_unavailable" });
    await server.start();
    await reconnected(store);
    for (const request of requests) {
      expect((await store.claim({ ...request, fence: newFence() })).outcome).toBe("found");
      expect(await store.complete(request.id, request.fence, answer(10))).toBe(true);
      expect((await store.find(request.id))?.record.state).toBe("done");
    }
  });

  test("4.11 a server that is away lets nothing run, and the layer says so in time", async () => {
    const store = await node();
    const layer = createLayer({ store, storeTimeoutMs: 500 });
    relay.refuse();
    const begun = await layer.begin(requestOf({ key: "away" }));
    if (begun.kind !== "answer") throw new Error(begun.kind);
    expect(begun.response.status).toBe(503);
    relay.heal();
    await reconnected(store);
    await layer.drain(20_000);
    const next = await layer.begin(requestOf({ key: "away" }));
    if (next.kind !== "run") throw new Error(next.kind);
    expect((await next.claim.finish(response("ran", 201))).status).toBe(201);
  });

  test("a scan whose server freezes ends with store_unavailable, and the next one works", async () => {
    const store = await node();
    for (let index = 0; index < 20; index++) await store.claim(claimOf());
    relay.freezeAnswers();
    await expect(store.list({ limit: 5 })).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(store.purge(5)).rejects.toMatchObject({ code: "store_unavailable" });
    relay.heal();
    await reconnected(store);
    expect((await store.list({ limit: 5 })).items).toHaveLength(5);
  });

  test("4.11 a connection that its user closed is store_unavailable, and closing the store still ends", async () => {
    const own = await client(server.url);
    const store = natsStore({ ...own, bucket, onWarning: () => {} });
    await store.open();
    await own.connection.close();
    await expect(store.claim(claimOf())).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringContaining("closed connection"),
    });
    await store.close();
  });
});
