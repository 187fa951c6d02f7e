// What the DynamoDB store keeps: long contents in chunks, what is purged and by whom, and how many records there may be.

import { describe, expect, it } from "vitest";
import type { Store } from "../../src/core/store.js";
import { dynamodbTable } from "../../src/stores/dynamodb.js";
import { keyOf, type SeenRequest } from "./dynamodb-front.js";
import { answer, claimOf, dynamodbKit, fence, PATIENCE } from "./dynamodb-kit.js";

const kit = dynamodbKit();
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LONG = new Uint8Array(700_000).map((_, index) => index % 251);

interface Kept {
  readonly table: string;
  readonly store: Store;
  /** The store's clock. */
  now: number;
}

/** On a table with or without time to live, under a clock of the test's own. */
async function kept(timeToLive: boolean): Promise<Kept> {
  const table = kit.table();
  if (!timeToLive) await kit.client().createTable(dynamodbTable({ table }));
  const all = { table, now: Date.UTC(2026, 5, 1), store: undefined as unknown as Store };
  all.store = await kit.open({ table, createTable: timeToLive, now: () => all.now });
  return all;
}

/** Sort keys of a record's items. */
async function itemsOf(table: string, id: string): Promise<string[]> {
  const own = (await kit.items(table)).filter(({ pk }) => pk?.S === id);
  return own.map(({ sk }) => sk?.S ?? "").sort();
}

const isHead = (request: SeenRequest): boolean => keyOf(request).sk === "head";
const same = (one: Uint8Array | null | undefined, other: Uint8Array): boolean => Buffer.from(one ?? []).equals(other);

describe("answers beyond 256 KiB", () => {
  it("5.1 lie in chunks before the head names them, and come back byte for byte", async () => {
    const { table, store } = await kept(false);
    const request = claimOf();
    await store.claim(request);
    const since = kit.front.seen.length;
    expect(await store.complete(request.id, request.fence, answer(LONG))).toBe(true);
    const asked = kit.front.seen.slice(since).filter((seen) => keyOf(seen).pk === request.id);
    expect(asked.map(({ operation }) => operation)).toEqual(["GetItem", "PutItem", "PutItem", "PutItem", "UpdateItem"]);
    expect(await itemsOf(table, request.id)).toHaveLength(4);
    expect(same((await store.find(request.id))?.record.payload, LONG)).toBe(true);
  });

  it("4.2 of a stale owner are not written at all, and those that lose a race are removed", async () => {
    const { table, store } = await kept(false);
    const request = claimOf();
    await store.claim(request);
    expect(await store.complete(request.id, fence(), answer(LONG))).toBe(false);
    expect(await itemsOf(table, request.id)).toEqual(["head"]);
    // Another owner is faster, between the look at the head and its change.
    const rival = await kit.open({ table, createTable: false });
    kit.front.plan = (seen) => {
      if (seen.operation !== "PutItem" || !keyOf(seen).sk?.startsWith("chunk:")) return undefined;
      kit.front.plan = () => undefined;
      void rival.complete(request.id, request.fence, answer("first"));
      return { status: 400, type: "ThrottlingException", message: "" };
    };
    await expect.poll(() => store.complete(request.id, request.fence, answer(LONG)), PATIENCE).toBe(true);
    await expect.poll(async () => (await store.find(request.id))?.record.state, PATIENCE).toBe("done");
    const first = same((await store.find(request.id))?.record.payload, answer("first").payload);
    await expect.poll(() => itemsOf(table, request.id), PATIENCE).toHaveLength(first ? 1 : 4);
  });

  it("4.12 of the same owner at the same moment: one of them is the answer, whole", async () => {
    const { table, store } = await kept(false);
    const request = claimOf();
    await store.claim(request);
    const others = [1, 2, 3].map((value) => new Uint8Array(600_000).fill(value));
    const done = await Promise.all(others.map((one) => store.complete(request.id, request.fence, answer(one))));
    expect(done).toEqual([true, true, true]);
    const payload = (await store.find(request.id))?.record.payload;
    expect(others.some((one) => same(payload, one))).toBe(true);
    await expect.poll(() => itemsOf(table, request.id), PATIENCE).toHaveLength(4);
  });

  it("of an operator's verdict are kept alike", async () => {
    const { store } = await kept(false);
    const request = claimOf();
    await store.claim(request);
    await store.interrupt(request.id, request.fence, 502, "owner");
    expect(await store.settle(request.id, request.fence, { fence: fence(), answer: answer(LONG) })).toBe(true);
    expect(same((await store.find(request.id))?.record.payload, LONG)).toBe(true);
  });

  it("9.1 that miss a chunk, or whose chunk was changed, are store_corrupt", async () => {
    for (const damage of ["missing", "changed"]) {
      const { table, store } = await kept(false);
      const request = claimOf();
      await store.claim(request);
      await store.complete(request.id, request.fence, answer(LONG));
      const [chunk] = (await itemsOf(table, request.id)).filter((sk) => sk.endsWith(".1"));
      const Key = { pk: { S: request.id }, sk: { S: chunk ?? "" } };
      if (damage === "missing") await kit.client().deleteItem({ TableName: table, Key });
      else await kit.client().putItem({ TableName: table, Item: { ...Key, bytes: { B: new Uint8Array(256 * 1024) } } });
      const corrupt = { code: "store_corrupt", details: { recordId: request.id } };
      await expect(store.find(request.id)).rejects.toMatchObject(corrupt);
      await expect(store.claim(claimOf({ id: request.id }))).rejects.toMatchObject(corrupt);
    }
  });
});

describe("7.2 long steps", () => {
  it("lie in items of their own, so that the head stays small; a thousand fit", async () => {
    const { table, store } = await kept(false);
    const labels = {
      account: "a".repeat(255),
      key: "k".repeat(255),
      operation: `POST /${"x".repeat(8_000)}`,
      runId: "r",
    };
    const request = claimOf({ labels });
    await store.claim(request);
    // As long as a step in the head can be, so many that one by one would take a while.
    const steps = { L: Array.from({ length: 994 }, () => ({ B: new Uint8Array(256).fill(1) })) };
    await kit.client().updateItem({
      TableName: table,
      Key: { pk: { S: request.id }, sk: { S: "head" } },
      UpdateExpression: "SET steps = :steps",
      ExpressionAttributeValues: { ":steps": steps },
    });
    const more = Array.from({ length: 6 }, (_, index) => new Uint8Array(index % 2 === 0 ? 256 : 100_000).fill(index));
    for (const step of more) expect(await store.appendStep(request.id, request.fence, step)).toBe(true);
    const log = (await store.readSteps(request.id, request.fence)) ?? [];
    expect(log).toHaveLength(1_000);
    expect(log.slice(994)).toEqual(more);
    expect(await itemsOf(table, request.id)).toHaveLength(1 + 3);
    expect(await store.complete(request.id, request.fence, answer(LONG))).toBe(true);
  });

  it("9.3 that are too many for a record are refused with the reason, and what was recorded stays", async () => {
    const { store } = await kept(false);
    const request = claimOf();
    await store.claim(request);
    const step = new Uint8Array(256);
    expect(await store.appendStep(request.id, request.fence, step)).toBe(true);
    const said = "Item size to update has exceeded the maximum allowed size";
    kit.front.plan = ({ operation, body }) =>
      operation === "UpdateItem" && body.UpdateExpression?.includes("list_append")
        ? { status: 400, type: "ValidationException", message: said }
        : undefined;
    await expect(store.appendStep(request.id, request.fence, step)).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(/larger than the 400 KB of an item: record fewer steps/),
    });
    expect(await store.readSteps(request.id, request.fence)).toEqual([step]);
    expect(await store.complete(request.id, request.fence, answer())).toBe(true);
  });

  it("outlive the retention of a record whose lease is live, and are purged a week later", async () => {
    const all = await kept(false);
    const request = claimOf({ retention: { forMs: HOUR }, leaseMs: 10 * HOUR });
    await all.store.claim(request);
    const step = new Uint8Array(5_000).fill(9);
    await all.store.appendStep(request.id, request.fence, step);
    all.now += 9 * HOUR;
    expect(await all.store.purge(100)).toBe(0);
    expect(await all.store.readSteps(request.id, request.fence)).toEqual([step]);
    all.now += 8 * DAY;
    expect(await all.store.purge(100)).toBe(1);
    expect(await itemsOf(all.table, request.id)).toEqual([]);
  });
});

describe("4.10 purging without time to live", () => {
  it("deletes records with their chunks, and chunks that no head ever named", async () => {
    const all = await kept(false);
    const done = claimOf();
    await all.store.claim(done);
    await all.store.complete(done.id, done.fence, answer(LONG));
    const lost = claimOf();
    await all.store.claim(lost);
    kit.front.plan = (seen) =>
      seen.operation === "UpdateItem" && isHead(seen)
        ? { status: 500, type: "InternalServerError", message: "" }
        : undefined;
    await expect(all.store.complete(lost.id, lost.fence, answer(LONG))).rejects.toMatchObject({
      code: "store_unavailable",
    });
    kit.front.plan = () => undefined;
    expect(await itemsOf(all.table, lost.id)).toHaveLength(4);
    all.now += HOUR;
    expect(await all.store.purge(100)).toBe(2);
    expect(await all.store.find(done.id)).toBeNull();
    // Chunks are kept an hour longer than the head that may name them.
    expect(await itemsOf(all.table, lost.id)).toHaveLength(3);
    all.now += HOUR;
    expect(await all.store.purge(100)).toBe(0);
    expect(await itemsOf(all.table, lost.id)).toEqual([]);
    expect(await itemsOf(all.table, done.id)).toEqual([]);
  });

  it("leaves a key that was claimed anew while the index still had the old record", async () => {
    const all = await kept(false);
    const old = claimOf({ retention: { forMs: 1_000 }, leaseMs: 1_000 });
    await all.store.claim(old);
    all.now += 2_000;
    const next = claimOf({ id: old.id });
    kit.front.plan = ({ operation, body }) => {
      if (operation !== "DeleteItem" || body.Key?.["pk"]?.S !== old.id) return undefined;
      kit.front.plan = () => undefined;
      // Before this deletion gets to the table.
      void all.store.claim(next);
      return { status: 400, type: "ThrottlingException", message: "" };
    };
    await all.store.purge(100);
    await expect.poll(async () => (await all.store.find(old.id))?.record.fence, PATIENCE).toBe(next.fence);
  });

  it("does not walk the index again and again to find nothing", async () => {
    const all = await kept(false);
    for (let index = 0; index < 40; index++) await all.store.claim(claimOf());
    await all.store.purge(100);
    kit.front.count();
    for (let round = 0; round < 10; round++) expect(await all.store.purge(100)).toBe(0);
    expect(kit.front.count()["Query"] ?? 0).toBe(0);
    all.now += 1_000;
    await all.store.purge(100);
    expect(kit.front.count()["Query"] ?? 0).toBe(16);
  });
});

describe("4.10 time to live", () => {
  it("is told of records once they are done and of chunks, an hour after their end, and never of a record that may be running", async () => {
    const { table, store, now } = await kept(true);
    const request = claimOf();
    await store.claim(request);
    const head = async () => (await kit.items(table)).find(({ pk, sk }) => pk?.S === request.id && sk?.S === "head");
    expect((await head())?.["ttl"]).toBeUndefined();
    await store.interrupt(request.id, request.fence, 500, "owner");
    expect((await head())?.["ttl"]).toBeUndefined();
    await store.complete(request.id, request.fence, answer(LONG));
    const end = (now + HOUR) / 1_000;
    expect((await head())?.["ttl"]).toEqual({ N: String(end + 3_600) });
    const chunks = (await kit.items(table)).filter(({ sk }) => sk?.S?.startsWith("chunk:"));
    expect(chunks.map((chunk) => chunk["ttl"])).toEqual(chunks.map(() => ({ N: String(end + 2 * 3_600) })));
  });

  it("has three days to delete records that are done; the others are purged at once", async () => {
    const all = await kept(true);
    const [done, unknown] = [claimOf(), claimOf()];
    for (const { id, fence } of [done, unknown].map((request) => request)) {
      await all.store.claim({ ...claimOf({ id, fence }) });
    }
    await all.store.complete(done.id, done.fence, answer(LONG));
    await all.store.interrupt(unknown.id, unknown.fence, 500, "owner");
    all.now += 2 * HOUR;
    expect(await all.store.purge(100)).toBe(1);
    expect(await itemsOf(all.table, unknown.id)).toEqual([]);
    expect(await itemsOf(all.table, done.id)).toHaveLength(4);
    expect(await all.store.find(done.id)).toBeNull();
    all.now += 3 * DAY;
    expect(await all.store.purge(100)).toBe(1);
    expect(await itemsOf(all.table, done.id)).toEqual([]);
  });
});

describe("9.4 limits", () => {
  const claims = async (store: Store, count: number, account = "acme"): Promise<string[]> => {
    const outcomes: string[] = [];
    for (let index = 0; index < count; index++) {
      const labels = { account, key: `k${index}`, operation: "POST /x", runId: "r" };
      const result = await store.claim(claimOf({ labels }));
      outcomes.push(result.outcome === "full" ? result.limit : result.outcome);
    }
    return outcomes;
  };

  it("of one node are exact, also for those that claim at the same moment", async () => {
    const store = await kit.open({ limits: { maxRecordsPerAccount: 20 } });
    await claims(store, 1);
    const results = await Promise.all(Array.from({ length: 60 }, () => store.claim(claimOf())));
    expect(results.filter(({ outcome }) => outcome === "claimed")).toHaveLength(19);
  });

  it("hold for what other nodes made, once they were counted", async () => {
    const table = kit.table();
    let now = Date.now();
    const options = { table, limits: { maxRecordsPerAccount: 10, maxRecords: 15 }, now: () => now };
    const [one, two] = [await kit.open(options), await kit.open(options)];
    expect(await claims(one, 10)).toEqual(Array(10).fill("claimed"));
    now += 2_000;
    expect(await claims(two, 1)).toEqual(["account"]);
    expect(await claims(two, 5, "other")).toEqual(Array(5).fill("claimed"));
    now += 2_000;
    // It knows of ten; that it comes near the limit makes it count, and its claims do not wait for that.
    await expect.poll(() => claims(one, 1, "third"), PATIENCE).toEqual(["store"]);
    expect((await one.list({ limit: 100 })).items.length).toBeLessThanOrEqual(20);
  });

  it("are counted by one node for all: a new one reads what was counted", async () => {
    const table = kit.table();
    const now = Date.now();
    const one = await kit.open({ table, now: () => now });
    await claims(one, 3);
    const counted = async () => (await kit.items(table)).some((item) => item["count"] !== undefined);
    await expect.poll(counted, PATIENCE).toBe(true);
    const two = await kit.open({ table, now: () => now });
    kit.front.count();
    await claims(two, 3);
    await two.close();
    expect(kit.front.count()["Query"] ?? 0).toBe(0);
  });

  it("cost no claim its answer where counting fails, unless only counting could tell", async () => {
    const store = await kit.open();
    kit.front.plan = ({ operation }) =>
      operation === "Query" ? { status: 400, type: "AccessDeniedException", message: "" } : undefined;
    kit.front.count();
    expect(await claims(store, 5)).toEqual(Array(5).fill("claimed"));
    expect(kit.front.count()["Query"]).toBe(1);
    const strict = await kit.open({ limits: { maxRecords: 3 } });
    await expect(strict.claim(claimOf())).rejects.toMatchObject({ code: "store_unavailable" });
  });
});

describe("what somebody else wrote", () => {
  it("P4 a head that is not Onceward's is store_corrupt, and not run over", async () => {
    const { table, store } = await kept(false);
    const { id } = claimOf();
    const Item = { pk: { S: id }, sk: { S: "head" }, expires: { N: "9999999999999" } };
    await kit.client().putItem({ TableName: table, Item });
    const message = expect.stringMatching(/has no `state` that Onceward wrote/);
    await expect(store.claim(claimOf({ id }))).rejects.toMatchObject({ code: "store_corrupt", message });
    await expect(store.find(id)).rejects.toMatchObject({ code: "store_corrupt" });
  });
});
