// What the DynamoDB store asks of DynamoDB: how often, under which conditions, and what it makes of lost and refused answers.

import { describe, expect, it } from "vitest";
import { Engine } from "../../src/core/engine.js";
import type { Store } from "../../src/core/store.js";
import { type FrontAnswer, keyOf, type SeenRequest } from "./dynamodb-front.js";
import { aboutRecords, answer, claimOf, dynamodbKit, fence, PATIENCE } from "./dynamodb-kit.js";

const kit = dynamodbKit();

/** What an operation came to, and the requests about records that it took. */
async function asked<T>(operation: () => Promise<T>): Promise<[T, string[]]> {
  const since = kit.front.seen.length;
  const value = await operation();
  return [value, aboutRecords(kit.front, since)];
}

/** Answers the first so many requests of an operation about records so. */
function fate(operation: string, times: number, what: FrontAnswer): void {
  let left = times;
  kit.front.plan = (request) => {
    if (request.operation !== operation || isOwn(request) || left === 0) return undefined;
    left--;
    return what;
  };
}

const isOwn = (request: SeenRequest): boolean => /^#(census|onceward)/.test(keyOf(request).pk ?? "#census");

async function lapsed(store: Store): Promise<ReturnType<typeof claimOf>> {
  const request = claimOf({ leaseMs: 1 });
  await store.claim(request);
  await new Promise((resolve) => setTimeout(resolve, 5));
  return request;
}

describe("4.1 round trips", () => {
  it("one for a new key, one for a duplicate, one for each step after", async () => {
    const store = await kit.open();
    const request = claimOf();
    const [claimed, forNew] = await asked(() => store.claim(request));
    expect([claimed.outcome, forNew]).toEqual(["claimed", ["PutItem"]]);
    const [found, forDuplicate] = await asked(() => store.claim(claimOf({ id: request.id })));
    expect([found.outcome, forDuplicate]).toEqual(["found", ["PutItem"]]);
    expect(await asked(() => store.renew(request.id, request.fence, 60_000))).toEqual([true, ["UpdateItem"]]);
    expect(await asked(() => store.appendStep(request.id, request.fence, new Uint8Array(256)))).toEqual([
      true,
      ["UpdateItem"],
    ]);
    expect(await asked(() => store.complete(request.id, request.fence, answer()))).toEqual([true, ["UpdateItem"]]);
    const [replay, forReplay] = await asked(() => store.claim(claimOf({ id: request.id })));
    expect([replay.outcome === "found" && replay.record.payload, forReplay]).toEqual([answer().payload, ["PutItem"]]);
    expect(await asked(() => store.complete(request.id, request.fence, answer("again")))).toEqual([
      true,
      ["UpdateItem"],
    ]);
    const released = claimOf();
    await store.claim(released);
    expect(await asked(() => store.release(released.id, released.fence))).toEqual([true, ["DeleteItem"]]);
    const one = await lapsed(store);
    expect(await asked(() => store.interrupt(one.id, one.fence, 500, "finder"))).toEqual([true, ["UpdateItem"]]);
    const next = { fence: fence(), leaseMs: 1 };
    expect(await asked(() => store.takeOver(one.id, one.fence, next))).toEqual([true, ["UpdateItem"]]);
    await store.interrupt(one.id, next.fence, 500, "owner");
    const verdict = { fence: fence(), answer: answer() };
    expect(await asked(() => store.settle(one.id, next.fence, verdict))).toEqual([true, ["UpdateItem"]]);
    expect((await asked(() => store.find(one.id)))[1]).toEqual(["GetItem"]);
  });

  it("an answer of 256 KiB is replayed in one, beyond that its chunks are read too", async () => {
    const store = await kit.open();
    for (const [kib, requests] of [
      [256, ["PutItem"]],
      [300, ["PutItem", "GetItem", "GetItem"]],
      [1_024, ["PutItem", "GetItem", "GetItem", "GetItem", "GetItem"]],
    ] as const) {
      const request = claimOf();
      await store.claim(request);
      const payload = new Uint8Array(kib * 1_024).fill(kib);
      expect(await store.complete(request.id, request.fence, answer(payload))).toBe(true);
      const [replay, forReplay] = await asked(() => store.claim(claimOf({ id: request.id })));
      expect(
        replay.outcome === "found" && Buffer.from(payload).equals(replay.record.payload ?? new Uint8Array(0)),
      ).toBe(true);
      expect(forReplay).toEqual(requests);
    }
  });

  it("every write of a record names the fence, or that there is none; every read is strongly consistent", async () => {
    const since = kit.front.seen.length;
    const store = await kit.open();
    const request = claimOf();
    await store.claim(request);
    await store.claim(request);
    await store.appendStep(request.id, request.fence, new Uint8Array(1_000));
    await store.readSteps(request.id, request.fence);
    await store.complete(request.id, request.fence, answer());
    await store.find(request.id);
    const released = claimOf();
    await store.claim(released);
    await store.release(released.id, released.fence);
    const seen = kit.front.seen.slice(since);
    for (const request of seen) {
      const { operation, body } = request;
      if (operation === "GetItem") expect(body.ConsistentRead).toBe(true);
      if (keyOf(request).sk !== "head") continue;
      if (operation === "UpdateItem" || operation === "DeleteItem")
        expect(body.ConditionExpression).toMatch(/#fence = :/);
      if (operation === "PutItem") expect(body.ConditionExpression).toMatch(/^attribute_not_exists\(pk\) OR /);
    }
  });
});

describe("4.12 answers that are lost on the way, while the SDK sends again", () => {
  const sdk = { maxAttempts: 3 };

  it("a claim that took effect meets its own record, and is claimed", async () => {
    const store = await kit.open({}, sdk);
    fate("PutItem", 2, "cut");
    const request = claimOf();
    const [result, requests] = await asked(() => store.claim(request));
    expect([result.outcome, requests]).toEqual(["claimed", ["PutItem", "PutItem", "PutItem"]]);
    expect((await store.find(request.id))?.record.fence).toBe(request.fence);
  });

  it("renewals, verdicts, take-overs and answers that took effect are still true", async () => {
    const store = await kit.open({}, sdk);
    const request = claimOf();
    await store.claim(request);
    fate("UpdateItem", 1, "cut");
    expect(await store.renew(request.id, request.fence, 60_000)).toBe(true);
    fate("UpdateItem", 1, "cut");
    expect(await store.interrupt(request.id, request.fence, 504, "owner")).toBe(true);
    fate("UpdateItem", 1, "cut");
    const next = { fence: fence(), leaseMs: 1 };
    expect(await store.takeOver(request.id, request.fence, next)).toBe(true);
    fate("UpdateItem", 2, "cut");
    expect(await store.complete(request.id, next.fence, answer("first"))).toBe(true);
    expect((await store.find(request.id))?.record.payload).toEqual(answer("first").payload);
    const other = await lapsed(store);
    fate("UpdateItem", 1, "cut");
    expect(await store.interrupt(other.id, other.fence, 500, "finder")).toBe(true);
    fate("UpdateItem", 1, "cut");
    expect(await store.settle(other.id, other.fence, { fence: fence(), answer: answer("verdict", 201) })).toBe(true);
    expect((await store.find(other.id))?.record.status).toBe(201);
  });

  it("an answer in chunks that took effect keeps its chunks", async () => {
    const store = await kit.open({}, sdk);
    const request = claimOf();
    await store.claim(request);
    fate("UpdateItem", 1, "cut");
    const payload = new Uint8Array(600_000).fill(7);
    expect(await store.complete(request.id, request.fence, answer(payload))).toBe(true);
    expect(Buffer.from((await store.find(request.id))?.record.payload ?? []).equals(payload)).toBe(true);
  });

  it("a shared value that took effect is set, and one that somebody else set to the same is not", async () => {
    const store = await kit.open({}, sdk);
    fate("PutItem", 1, "cut");
    expect(await store.setShared("name", Uint8Array.of(1), null)).toBe(true);
    expect(await store.setShared("name", Uint8Array.of(1), null)).toBe(false);
  });

  it("a step may come twice, and a release says false once the record is gone: nobody is told yes who is not sure", async () => {
    const store = await kit.open({}, sdk);
    const request = claimOf();
    await store.claim(request);
    fate("UpdateItem", 1, "cut");
    expect(await store.appendStep(request.id, request.fence, Uint8Array.of(5))).toBe(true);
    expect(await store.readSteps(request.id, request.fence)).toEqual([Uint8Array.of(5), Uint8Array.of(5)]);
    fate("DeleteItem", 1, "cut");
    expect(await store.release(request.id, request.fence)).toBe(false);
    expect(await store.find(request.id)).toBeNull();
  });

  it("without the SDK's retries the operation fails, and is found as one's own when it is repeated", async () => {
    const store = await kit.open();
    fate("PutItem", 1, "cut");
    const request = claimOf();
    await expect(store.claim(request)).rejects.toMatchObject({ code: "store_unavailable" });
    const [again, requests] = await asked(() => store.claim(request));
    // The lease begins anew, which is a second request.
    expect([again.outcome, requests]).toEqual(["claimed", ["PutItem", "UpdateItem"]]);
    fate("UpdateItem", 1, "cut");
    await expect(store.complete(request.id, request.fence, answer())).rejects.toMatchObject({
      code: "store_unavailable",
    });
    expect(await store.complete(request.id, request.fence, answer())).toBe(true);
  });
});

describe("4.11 throttling", () => {
  const throttled = (type: string): FrontAnswer => ({ status: 400, type, message: "too fast" });

  for (const type of [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TransactionConflictException",
  ]) {
    it(`what is refused with ${type} had no effect and is sent again`, async () => {
      const store = await kit.open();
      fate("PutItem", 4, throttled(type));
      const [result, requests] = await asked(() => store.claim(claimOf()));
      expect([result.outcome, requests.length]).toEqual(["claimed", 5]);
    });
  }

  it("what is refused for as long as an operation may take is store_unavailable, and says why", async () => {
    const store = await kit.open({ maxWaitMs: 1_500 });
    fate("PutItem", 1_000, throttled("ProvisionedThroughputExceededException"));
    await expect(store.claim(claimOf())).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(/is throttled \(ProvisionedThroughputExceededException\): raise its capacity/),
    });
  });

  it("one key that is throttled holds up no other", async () => {
    const store = await kit.open();
    const [hot, cold] = [claimOf(), claimOf()];
    let refused = 0;
    kit.front.plan = ({ body }) => {
      if (body.Item?.["pk"]?.S !== hot.id || ++refused > 8) return undefined;
      return throttled("ThrottlingException");
    };
    const order: string[] = [];
    await Promise.all([
      store.claim(hot).then(() => order.push("hot")),
      store.claim(cold).then(() => order.push("cold")),
    ]);
    expect(order).toEqual(["cold", "hot"]);
  });
});

describe("gathering: operations side by side", () => {
  it("9.3 no more requests than the bound are under way, and all operations are served", async () => {
    const store = await kit.open({ gathering: { maxBatch: 5, longestWaitMs: 10_000 } });
    let [most, underWay] = [0, 0];
    const client = kit.client();
    const putItem = client.putItem.bind(client);
    const counted = await kit.open({
      maxWaitMs: 60_000,
      gathering: { maxBatch: 5, longestWaitMs: 10_000 },
      client: Object.assign(client, {
        async putItem(...args: Parameters<typeof putItem>) {
          most = Math.max(most, ++underWay);
          return (putItem(...args) as unknown as Promise<unknown>).finally(() => underWay--);
        },
      }),
    });
    const results = await Promise.all(Array.from({ length: 100 }, () => counted.claim(claimOf())));
    expect(results.every(({ outcome }) => outcome === "claimed")).toBe(true);
    // Counting records in the background puts one item.
    expect(most).toBeLessThanOrEqual(6);
    await store.close();
  });

  it("one whose answer never comes is store_unavailable after the longest wait, and holds up nobody", async () => {
    const store = await kit.open({ maxWaitMs: 2_000, gathering: { maxBatch: 2, longestWaitMs: 20 } });
    const stuck = [claimOf(), claimOf(), claimOf()];
    const ids = stuck.map(({ id }) => id);
    kit.front.plan = (seen) => (ids.includes(keyOf(seen).pk ?? "") ? "silence" : undefined);
    const failing = Promise.allSettled(stuck.map((request) => store.claim(request)));
    const fine = await Promise.all(Array.from({ length: 10 }, () => store.claim(claimOf())));
    expect(fine.every(({ outcome }) => outcome === "claimed")).toBe(true);
    for (const one of await failing) {
      const message = expect.stringMatching(/has not answered within 2000 ms/);
      expect(one).toMatchObject({ status: "rejected", reason: { code: "store_unavailable", message } });
    }
    kit.front.plan = () => undefined;
    // They had taken effect; whoever repeats them finds them as its own.
    for (const request of stuck) expect((await store.claim(request)).outcome).toBe("claimed");
  });
});

describe("4.13 waiting", () => {
  it("200 duplicates that wait for one key on two nodes cost a bounded number of requests", async () => {
    const table = kit.table();
    const engines = [0, 1].map(
      async () => new Engine({ store: await kit.open({ table }), maxWaitersPerKey: 200, storeTimeoutMs: 60_000 }),
    );
    const [one, two] = (await Promise.all(engines)) as [Engine, Engine];
    const { id, labels } = claimOf();
    const request = () => ({
      id,
      labels,
      fingerprint: null,
      retention: { forMs: 3_600_000 },
      arrivedAtMonotonicMs: performance.now(),
      leaseMs: 120_000,
      waitMs: 60_000,
      rules: { onMismatch: "reject", duplicates: "replay", waits: true, onInterrupted: "hold" } as const,
      refusal: null,
      ask: null,
    });
    const owner = await one.begin(request());
    if (owner.kind !== "owned") throw new Error("a new key is not owned");
    const since = kit.front.seen.length;
    const waiting = Array.from({ length: 200 }, (_, index) => (index % 2 === 0 ? one : two).begin(request()));
    await expect.poll(() => one.waiting + two.waiting, PATIENCE).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await owner.claim.complete(answer())).toBe("recorded");
    const begun = await Promise.all(waiting);
    expect(begun.every(({ kind }) => kind === "replay")).toBe(true);
    expect(aboutRecords(kit.front, since).length).toBeLessThan(100);
  }, 60_000);
});
