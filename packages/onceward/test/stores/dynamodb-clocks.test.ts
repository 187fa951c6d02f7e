// DynamoDB has no clock: nodes whose clocks are apart, within what is declared and beyond.

import { describe, expect, it } from "vitest";
import type { Store } from "../../src/core/store.js";
import { answer, claimOf, dynamodbKit, fence } from "./dynamodb-kit.js";

const kit = dynamodbKit();
const SKEW_MS = 2_000;
const START = Date.UTC(2026, 5, 1);

interface Nodes {
  readonly one: Store;
  /** Its clock is apart from the other's. */
  readonly two: Store;
  /** Both clocks go on; this is the first node's, from 0 on. */
  at(ms: number): void;
}

async function nodes(apartMs: number, maxClockSkewMs = SKEW_MS): Promise<Nodes> {
  const table = kit.table();
  let now = START;
  const one = await kit.open({ table, maxClockSkewMs, now: () => now });
  const two = await kit.open({ table, maxClockSkewMs, now: () => now + apartMs });
  return {
    one,
    two,
    at(ms) {
      now = START + ms;
    },
  };
}

for (const apartMs of [-SKEW_MS, -1, 0, 1, SKEW_MS]) {
  describe(`4.3 clocks that are ${apartMs} ms apart, where ${SKEW_MS} are declared`, () => {
    it("P1 nobody takes a lease for lapsed before its owner does, and everybody does within twice the skew", async () => {
      const { one, two, at } = await nodes(apartMs);
      const request = claimOf({ leaseMs: 10_000 });
      await one.claim(request);
      const tries = () =>
        Promise.all([
          two.interrupt(request.id, request.fence, 500, "finder"),
          two.settle(request.id, request.fence, { fence: fence(), answer: answer() }),
          two.takeOver(request.id, request.fence, { fence: fence(), leaseMs: 10_000 }),
        ]);
      for (const ms of [0, 5_000, 9_999]) {
        at(ms);
        expect(await tries(), `at ${ms} ms`).toEqual([false, false, false]);
        const found = await two.claim(claimOf({ id: request.id }));
        expect(found.outcome === "found" && found.record.leaseUntil > found.now, `at ${ms} ms`).toBe(true);
      }
      at(10_000 + 2 * SKEW_MS);
      expect(await two.takeOver(request.id, request.fence, { fence: fence(), leaseMs: 10_000 })).toBe(true);
      expect(await one.complete(request.id, request.fence, answer())).toBe(false);
    });

    it("P1 nobody takes a record for expired before its writer does, and everybody does within twice the skew", async () => {
      const { one, two, at } = await nodes(apartMs);
      const request = claimOf({ retention: { forMs: 20_000 }, leaseMs: 1_000 });
      await one.claim(request);
      await one.complete(request.id, request.fence, answer("the one answer"));
      for (const ms of [0, 10_000, 19_999]) {
        at(ms);
        const found = await two.claim(claimOf({ id: request.id }));
        expect(found.outcome === "found" && found.record.payload, `at ${ms} ms`).toEqual(
          answer("the one answer").payload,
        );
        expect(await two.purge(10), `at ${ms} ms`).toBe(0);
        expect((await two.list({ limit: 10 })).items, `at ${ms} ms`).toHaveLength(1);
      }
      at(20_000 + 2 * SKEW_MS);
      expect((await two.claim(claimOf({ id: request.id }))).outcome).toBe("claimed");
    });

    it("4.2 the owner keeps its claim by renewing it a third of the lease apart", async () => {
      const { one, two, at } = await nodes(apartMs);
      const request = claimOf({ leaseMs: 9_000, retention: { forMs: 1_000 } });
      await one.claim(request);
      for (let ms = 3_000; ms < 60_000; ms += 3_000) {
        at(ms);
        expect(await two.takeOver(request.id, request.fence, { fence: fence(), leaseMs: 9_000 })).toBe(false);
        expect((await two.claim(claimOf({ id: request.id }))).outcome).toBe("found");
        expect(await one.renew(request.id, request.fence, 9_000)).toBe(true);
      }
      expect(await one.complete(request.id, request.fence, answer())).toBe(true);
      expect(kit.warnings.filter((warning) => /clock/.test(warning))).toEqual([]);
    });
  });
}

describe("4.3 clocks that are farther apart than declared", () => {
  it("are warned about by the one that is behind, once, with the fix", async () => {
    const { one, two } = await nodes(-5_000);
    for (let round = 0; round < 2; round++) {
      const request = claimOf();
      await one.claim(request);
      await two.claim(claimOf({ id: request.id }));
    }
    expect(kit.warnings.filter((warning) => /clock/.test(warning))).toEqual([
      expect.stringMatching(
        /is 5000 ms or more behind another's .* `maxClockSkewMs` is 2000: synchronise the clocks \(NTP\), or raise it/,
      ),
    ]);
  });

  it("are not taken for apart where another's claim was begun later and was there first", async () => {
    const table = kit.table();
    let now = START;
    const [one, two] = [await kit.open({ table, now: () => now }), await kit.open({ table, now: () => now })];
    const request = claimOf();
    // Between this claim's look at the clock and its arrival.
    kit.front.plan = ({ operation, body }) => {
      if (operation !== "PutItem" || body.Item?.["pk"]?.S !== request.id) return undefined;
      kit.front.plan = () => undefined;
      now += 50;
      void two.claim(claimOf({ id: request.id }));
      return { status: 400, type: "ThrottlingException", message: "" };
    };
    await one.claim(request);
    expect(kit.warnings.filter((warning) => /clock/.test(warning))).toEqual([]);
  });

  it("are not taken for apart where the request was only slow to arrive", async () => {
    const { one, two } = await nodes(-1_000);
    const request = claimOf({ ageMs: 30_000 });
    await one.claim(request);
    await two.claim(claimOf({ id: request.id }));
    expect(kit.warnings.filter((warning) => /clock/.test(warning))).toEqual([]);
  });
});
