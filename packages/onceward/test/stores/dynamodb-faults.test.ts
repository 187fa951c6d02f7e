// The DynamoDB store while its server dies, freezes and loses answers: at most one run a key, and an answer for everybody.

import { setTimeout as sleep } from "node:timers/promises";
import { DynamoDB, type DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";
import { type FaultProxy, faultProxy, type PrivateServer, startDynamodb } from "@onceward/services";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../../src/core/store.js";
import { type DynamoDBStoreOptions, dynamodbStore } from "../../src/stores/dynamodb.js";
import { clientOptions } from "./dynamodb-client.js";
import { driveThroughFaults } from "./fault-drive.js";

const SKEW_MS = 200;

let server: PrivateServer;
let relay: FaultProxy;
let table = 0;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startDynamodb();
  relay = await faultProxy(server);
});
afterAll(async () => {
  await relay.close();
  await server.remove();
});
beforeEach(() => {
  table++;
});
afterEach(async () => {
  relay.heal();
  for (const close of closing.splice(0).reverse()) await close();
});

/** Two nodes on one table, whose clocks are as far apart as they may be. */
async function nodes(client: DynamoDBClientConfig = {}): Promise<readonly Store[]> {
  return [await node(client), await node(client, { now: () => Date.now() - SKEW_MS })];
}

/** Short of patience, as a node under load is to be; nodes of one test share a table. */
async function node(client: DynamoDBClientConfig = {}, options: Partial<DynamoDBStoreOptions> = {}): Promise<Store> {
  const dynamodb = new DynamoDB({
    ...clientOptions(relay.through(server.url)),
    requestHandler: { requestTimeout: 1_500, throwOnRequestTimeout: true, connectionTimeout: 1_500 },
    ...client,
  });
  const store = dynamodbStore({
    client: dynamodb,
    table: `faults-${table}`,
    maxClockSkewMs: SKEW_MS,
    maxWaitMs: 4_000,
    onWarning: () => {},
    ...options,
  });
  await store.open();
  closing.push(
    () => dynamodb.destroy(),
    () => store.close(),
  );
  return store;
}

describe("P1 P2 P5 under hold no key runs twice, none is wedged, and every request is answered", {
  timeout: 120_000,
}, () => {
  for (const maxAttempts of [1, 3]) {
    const sdk = `while the SDK tries ${maxAttempts === 1 ? "once" : `${maxAttempts} times`}`;

    it(`while the server is killed and started again, ${sdk}`, async () => {
      const stores = await nodes({ maxAttempts });
      const report = await driveThroughFaults({
        stores,
        keys: 15,
        copies: 3,
        spreadMs: 2_500,
        async trouble() {
          for (let round = 0; round < 3; round++) {
            await sleep(400);
            await server.kill();
            await sleep(100);
            await server.start();
          }
        },
      });
      expect(report.runs).toBeGreaterThan(0);
      expect(report.put).toBeGreaterThan(0);
    });

    it(`while connections are cut in the middle of answers, ${sdk}`, async () => {
      const stores = await nodes({ maxAttempts });
      const report = await driveThroughFaults({
        stores,
        keys: 15,
        copies: 3,
        spreadMs: 2_500,
        async trouble() {
          for (let round = 0; round < 60; round++) {
            relay.cutAtNextAnswer();
            await sleep(40);
          }
          relay.heal();
        },
      });
      expect(report.runs).toBeGreaterThan(0);
    });
  }

  it("while answers come later than anybody waits for them", async () => {
    const stores = await nodes();
    const report = await driveThroughFaults({
      stores,
      keys: 15,
      copies: 3,
      spreadMs: 2_500,
      async trouble() {
        for (let round = 0; round < 2; round++) {
          await sleep(300);
          relay.delayAnswers(2_500);
          await sleep(700);
          relay.delayAnswers(0);
        }
      },
    });
    expect(report.put).toBeGreaterThan(0);
  });

  it("while the server stands still and goes on", async () => {
    const stores = await nodes();
    await driveThroughFaults({
      stores,
      keys: 15,
      copies: 3,
      spreadMs: 2_500,
      async trouble() {
        for (let round = 0; round < 2; round++) {
          await sleep(300);
          server.pause();
          await sleep(2_000);
          server.resume();
        }
      },
    });
  });

  it("while the server is away for longer than a lease, and operations end meanwhile", async () => {
    const stores = await nodes();
    await driveThroughFaults({
      stores,
      keys: 15,
      copies: 2,
      spreadMs: 1_000,
      lease: "2s",
      async trouble() {
        await sleep(300);
        relay.refuse();
        await sleep(3_500);
        relay.heal();
      },
    });
  });
});

describe("P1 what was acknowledged", () => {
  it("is there after the server was killed between claim and completion, and the claim still holds", async () => {
    const store = await node();
    const request = {
      id: "ab".repeat(32),
      fence: "cd".repeat(16),
      fingerprint: null,
      ageMs: 0,
      retention: { forMs: 3_600_000 },
      leaseMs: 60_000,
      labels: { account: "acme", key: "k", operation: "POST /x", runId: "r" },
    };
    expect((await store.claim(request)).outcome).toBe("claimed");
    await server.kill();
    await expect(
      store.complete(request.id, request.fence, { status: 200, payload: new Uint8Array(1) }),
    ).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(
        /cannot be reached \(ECONNRESET|cannot be reached \(ECONNREFUSED|has not answered/,
      ),
    });
    await server.start();
    expect((await store.claim({ ...request, fence: "ef".repeat(16) })).outcome).toBe("found");
    expect(await store.complete(request.id, request.fence, { status: 200, payload: new Uint8Array(1) })).toBe(true);
    expect((await store.find(request.id))?.record.state).toBe("done");
  });
});
