// Parts of the Redis store that must never change, or that must hold for any input: bytes, places, and keys as version 1 wrote them.

import { createHash } from "node:crypto";
import { freePort, type PrivateServer, redisCommand, startRedis } from "@onceward/services";
import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ByteReader, ByteWriter, textBytes } from "../../src/stores/redis/bytes.js";
import { Places } from "../../src/stores/redis/places.js";
import { redisStore } from "../../src/stores/redis.js";
import { answerOf } from "../../src/testing/store-suite/suite-case.js";
import layoutOne from "./fixtures/redis-layout-1.json" with { type: "json" };
import { noRedis } from "./redis-place.js";

/** Any string, lone surrogates too. */
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units)),
);

describe("bytes", () => {
  it("K5 any texts come back as they were written, one behind the other", () => {
    fc.assert(
      fc.property(fc.array(fc.option(anyText)), (texts) => {
        const writer = new ByteWriter(8);
        for (const text of texts) writer.text(text);
        const reader = new ByteReader(writer.take());
        expect(texts.map(() => reader.text())).toEqual(texts);
        expect(reader.atEnd).toBe(true);
      }),
    );
  });

  it("K5 two texts are the same bytes only where they are equal", () => {
    fc.assert(
      fc.property(anyText, anyText, (one, other) => {
        expect(textBytes(one).equals(textBytes(other))).toBe(one === other);
      }),
    );
  });

  it("P2 numbers, digits and blocks come back, also where the memory had to grow", () => {
    const bytes = Uint8Array.from({ length: 1_000 }, (_, index) => index % 256);
    const writer = new ByteWriter(1);
    writer.byte(7).double(1_700_000_000_000).hex("00ff10").block(bytes).ascii("done");
    writer.nested(() => writer.uint32(5));
    const reader = new ByteReader(writer.take());
    expect([reader.byte(), reader.double(), reader.hex(3)]).toEqual([7, 1_700_000_000_000, "00ff10"]);
    expect(new Uint8Array(reader.block())).toEqual(bytes);
    expect([reader.ascii(4), reader.block().readUInt32BE(), reader.atEnd]).toEqual(["done", 5, true]);
    expect(() => reader.uint32()).toThrow(RangeError);
  });
});

describe("places of a cluster", () => {
  const places = new Places({ clustered: true } as ConstructorParameters<typeof Places>[0], "");

  it("P1 are the same in all versions, since the keys have them in their names", () => {
    const names = places.all.map(({ name }) => name);
    expect(names.slice(0, 4)).toEqual(["{460}:", "{491}:", "{3121}:", "{1046}:"]);
    expect(createHash("sha256").update(names.join(" ")).digest("hex")).toMatchInlineSnapshot(
      `"a6d36d139154f1636fb0a8d3669fea7a5ba9086939034a5c25db295bc27cbc0e"`,
    );
  });

  it("P1 each has sixteen slots to itself, and records go to them by the first ten bits of their ids", () => {
    for (const [index, place] of places.all.entries()) {
      expect(place.index).toBe(index);
      expect(Math.floor(place.slot / 16)).toBe(index);
    }
    expect(places.of("0".repeat(64)).index).toBe(0);
    expect(places.of(`004${"0".repeat(61)}`).index).toBe(1);
    expect(places.of("f".repeat(64)).index).toBe(1_023);
  });

  it.skipIf(noRedis !== null)("P1 have the slots that Redis says they have", async () => {
    const node = await startRedis({ settings: { "cluster-enabled": "yes", "cluster-port": await freePort() } });
    for (const { name, slot } of places.all.filter((_, index) => index % 64 === 0)) {
      expect(await redisCommand(node, "CLUSTER", "KEYSLOT", `onceward:${name}r:1`)).toBe(slot);
    }
    await node.remove();
  });
});

describe.skipIf(noRedis !== null)("14.5 keys as version 1 of the layout wrote them", () => {
  let server: PrivateServer;
  let redis: Redis;
  const { prefix } = layoutOne;
  const hex = (text: string) => Buffer.from(text, "hex");
  const id = (number: number) => `0${number}`.repeat(32);
  const fence = (number: number) => (number + 100).toString(16).repeat(16);

  beforeAll(async () => {
    server = await startRedis({ settings: { appendonly: "no" } });
    redis = new Redis(server.url);
    for (const [name, [type, value]] of Object.entries(
      layoutOne.keys as unknown as Record<string, [string, unknown]>,
    )) {
      const key = hex(name);
      const items = Array.isArray(value) ? value : [value];
      if (type === "string") await redis.set(key, hex(value as string));
      else if (type === "hash") await redis.callBuffer("hset", [key, ...items.map(hex)]);
      else if (type === "set") await redis.sadd(key, ...items.map(hex));
      else if (type === "stream") for (const entry of items) await redis.callBuffer("xadd", [key, ...entry.map(hex)]);
      else {
        for (let at = 0; at < items.length; at += 2)
          await redis.zadd(key, hex(items[at + 1]).toString(), hex(items[at]));
      }
    }
  });
  afterAll(async () => {
    redis?.disconnect();
    await server?.remove();
  });

  it("are read, counted, listed, completed and purged by this one", async () => {
    let now = layoutOne.now;
    const limits = { maxRecordsPerAccount: 4 };
    const store = redisStore({ client: redis, prefix, limits, now: () => now, onWarning: () => {} });
    await store.open();
    expect((await store.find(id(1)))?.record).toMatchObject({
      ...{ state: "done", status: 201, payload: Uint8Array.of(0, 255, 1), fingerprint: "exact:1" },
      ...{ account: "acme", key: "key-1", operation: "POST /v1/transfers", runId: "run-1", createdAt: now - 3_000 },
    });
    expect((await store.find(id(4)))?.record).toMatchObject({ account: "\ud800é", key: "k\0", fingerprint: null });
    expect((await store.list({ limit: 10 })).items.map((record) => record.id)).toEqual([5, 4, 3, 2, 1].map(id));
    expect((await store.list({ limit: 10, state: "unknown" })).items.map((record) => record.id)).toEqual([id(3)]);
    expect(await store.readSteps(id(2), fence(2))).toEqual([Uint8Array.of(1, 2, 3)]);
    expect(await store.complete(id(2), fence(2), answerOf("done"))).toBe(true);
    const settled = { fence: "ee".repeat(16), answer: answerOf("settled") };
    expect(await store.settle(id(3), fence(3), settled)).toBe(true);
    expect((await store.list({ limit: 10, state: "unknown" })).items).toEqual([]);

    const request = {
      ...{ id: id(9), fence: fence(9), fingerprint: null, ageMs: 0, retention: { forMs: 1_000 }, leaseMs: 1_000 },
      labels: { account: "acme", key: "key-9", operation: "POST /", runId: "run-9" },
    };
    expect(await store.claim(request)).toEqual({ outcome: "full", limit: "account" });
    now += 10_000;
    expect((await store.claim(request)).outcome).toBe("claimed");
    expect((await store.claim({ ...request, id: id(8) })).outcome).toBe("full");
    expect((await store.list({ limit: 10 })).items.map((record) => record.id)).toEqual([9, 4, 3, 2, 1].map(id));

    expect(await store.getShared("accountKey")).toEqual(Uint8Array.of(1, 2, 255));
    expect((await store.history?.listRuns({ limit: 10 }))?.items).toMatchObject([{ key: "key-1", status: 201 }]);
    expect((await store.history?.listAudit({ limit: 10 }))?.items).toMatchObject([{ who: "ops", key: "key-3" }]);
    now += 100_000_000;
    expect(await store.purge(100)).toBe(5);
    expect(await redis.hget(`${prefix}counts`, "t")).toBe("0");
    await store.close();
  });
});
