// The sealed store: the shared suite over two stores, and that what it keeps can be neither read, changed nor swapped.

import { randomBytes } from "node:crypto";
import type { Store } from "onceward";
import { decodeResponse } from "onceward/http";
import { memoryStore } from "onceward/stores/memory";
import { type SealingKey, sealedStore, sealingKeyOf } from "onceward/stores/sealed";
import { fakeClock, storeSuite } from "onceward/testing";
import { describe, expect, it } from "vitest";
import { sqlitePlace } from "./places.js";

const one: SealingKey = { id: "2026-01", key: randomBytes(32) };
const two: SealingKey = { id: "2026-07", key: randomBytes(32) };
const secret = new TextEncoder().encode("IBAN DE89 3704 0044 0532 0130 00");
const A = "a".repeat(64);
const B = "b".repeat(64);
const FENCE = "f".repeat(32);

storeSuite({
  name: "sealed(memory)",
  runner: { describe, it },
  capabilities: { shared: false, history: true, clock: "fake" },
  setUp() {
    const clock = fakeClock();
    return {
      create: (options = {}) => sealedStore(memoryStore({ ...options, clock }), { keys: [one] }),
      advance: (ms) => clock.advance(ms),
    };
  },
});

storeSuite({
  name: "sealed(sqlite)",
  runner: { describe, it },
  capabilities: { shared: true, history: true, clock: "fake" },
  setUp: () => sqlitePlace({ key: randomBytes(32).toString("hex") }),
});

storeSuite({
  name: "sealed(sqlite in a database of one's own)",
  runner: { describe, it },
  capabilities: { shared: true, history: true, transactions: true, clock: "fake" },
  setUp: () => sqlitePlace({ own: true, key: randomBytes(32).toString("hex") }),
});

async function complete(store: Store, id: string, status = 200, payload: Uint8Array = secret): Promise<void> {
  const labels = { account: "acme", key: "k", operation: "POST /x", runId: "r" };
  await store.claim({
    id,
    fence: FENCE,
    fingerprint: null,
    ageMs: 0,
    retention: { forMs: 60_000 },
    leaseMs: 1_000,
    labels,
  });
  await store.complete(id, FENCE, { status, payload });
}

async function raw(store: Store, id: string): Promise<Uint8Array> {
  return (await store.find(id))?.record.payload ?? new Uint8Array();
}

/** The stored bytes of a record, put where another record's are. */
async function swapped(change: (payload: Uint8Array) => Uint8Array, id: string, status = 200): Promise<Store> {
  const source = memoryStore();
  await complete(sealedStore(source, { keys: [one] }), A);
  const target = memoryStore();
  await complete(target, id, status, change(await raw(source, A)));
  return sealedStore(target, { keys: [two, one] });
}

describe("9.1 sealed answers", () => {
  it("are not readable beneath, and are beside it", async () => {
    const store = memoryStore();
    const sealed = sealedStore(store, { keys: [one] });
    await complete(sealed, A);
    expect(Buffer.from(await raw(store, A)).includes("IBAN")).toBe(false);
    expect(Buffer.from(await raw(store, A)).includes("2026-01")).toBe(true);
    expect(await raw(sealed, A)).toEqual(secret);
    expect(sealingKeyOf(await raw(store, A))).toBe("2026-01");
    expect(sealingKeyOf(secret)).toBeNull();
    expect(sealingKeyOf(new Uint8Array())).toBeNull();
    const beneath = await raw(store, A);
    expect(() => decodeResponse(200, beneath)).toThrow("it is sealed; set `encryption`");
  });

  it("differ each time, also for the same answer", async () => {
    const stores = [memoryStore(), memoryStore()];
    for (const store of stores) await complete(sealedStore(store, { keys: [one] }), A);
    const [first, second] = await Promise.all(stores.map((store) => raw(store, A)));
    expect(first).not.toEqual(second);
  });

  it("are opened by every key and sealed by the first", async () => {
    const store = memoryStore();
    await complete(sealedStore(store, { keys: [one] }), A);
    const rotated = sealedStore(store, { keys: [two, one] });
    await complete(rotated, B);
    expect(await raw(rotated, A)).toEqual(secret);
    expect(await raw(rotated, B)).toEqual(secret);
    const later = sealedStore(store, { keys: [two] });
    expect(await raw(later, B)).toEqual(secret);
    await expect(later.find(A)).rejects.toMatchObject({
      code: "store_corrupt",
      message: expect.stringMatching(/"2026-01"/),
      details: { recordId: A, sealedWith: "2026-01" },
    });
    expect((await later.list({ limit: 10 })).items).toHaveLength(2);
  });

  it("can be moved to no other record, nor to another status", async () => {
    const same = (payload: Uint8Array) => payload;
    expect(await raw(await swapped(same, A), A)).toEqual(secret);
    await expect(raw(await swapped(same, B), B)).rejects.toMatchObject({ code: "store_corrupt" });
    await expect(raw(await swapped(same, A, 201), A)).rejects.toMatchObject({ code: "store_corrupt" });
  });

  it("are refused with any byte changed, cut off or added", async () => {
    const { byteLength } = await raw(await sealedBeneath(), A);
    for (let at = 0; at < byteLength; at++) {
      const flip = (payload: Uint8Array) => payload.map((byte, index) => (index === at ? byte ^ 1 : byte));
      await expect(raw(await swapped(flip, A), A), `byte ${at}`).rejects.toMatchObject({ code: "store_corrupt" });
      const cut = (payload: Uint8Array) => payload.slice(0, at);
      await expect(raw(await swapped(cut, A), A), `cut at ${at}`).rejects.toMatchObject({ code: "store_corrupt" });
    }
    const longer = (payload: Uint8Array) => Uint8Array.of(...payload, 0);
    await expect(raw(await swapped(longer, A), A)).rejects.toMatchObject({ code: "store_corrupt" });
  });

  it("that were never sealed are refused, unless the user is just turning it on", async () => {
    const store = memoryStore();
    await complete(store, A);
    await expect(sealedStore(store, { keys: [one] }).find(A)).rejects.toMatchObject({
      code: "store_corrupt",
      message: expect.stringMatching(
        /recorded before encryption was set, .*`unsealed: "accept"` .*`acceptUnsealed: true`/,
      ),
      details: { recordId: A, sealedWith: null },
    });
    expect(await raw(sealedStore(store, { keys: [one], unsealed: "accept" }), A)).toEqual(secret);
  });
});

describe("9.1 sealed steps", () => {
  const claim = async (store: Store, id: string): Promise<Store> => {
    const labels = { account: "acme", key: "k", operation: "POST /x", runId: "r" };
    const retention = { forMs: 60_000 };
    await store.claim({ id, fence: FENCE, fingerprint: null, ageMs: 0, retention, leaseMs: 1_000, labels });
    return store;
  };

  it("are not readable beneath, and are beside it, with every key that is given", async () => {
    const store = await claim(memoryStore(), A);
    expect(await sealedStore(store, { keys: [one] }).appendStep(A, FENCE, secret)).toBe(true);
    const [beneath] = (await store.readSteps(A, FENCE)) ?? [];
    expect(Buffer.from(beneath ?? []).includes("IBAN")).toBe(false);
    expect(await sealedStore(store, { keys: [two, one] }).readSteps(A, FENCE)).toEqual([secret]);
    await expect(sealedStore(store, { keys: [two] }).readSteps(A, FENCE)).rejects.toMatchObject({
      code: "store_corrupt",
      message: expect.stringMatching(/step log of record a+ cannot be opened: .*"2026-01"/),
      details: { recordId: A, sealedWith: "2026-01" },
    });
  });

  it("can be moved to no other record, and be neither changed nor passed off as an answer", async () => {
    const source = await claim(memoryStore(), A);
    await sealedStore(source, { keys: [one] }).appendStep(A, FENCE, secret);
    const [entry = new Uint8Array()] = (await source.readSteps(A, FENCE)) ?? [];
    const target = await claim(await claim(memoryStore(), A), B);
    const sealed = sealedStore(target, { keys: [one] });
    await target.appendStep(B, FENCE, entry);
    await expect(sealed.readSteps(B, FENCE)).rejects.toMatchObject({ code: "store_corrupt" });
    await target.appendStep(A, FENCE, entry.with(-1, (entry.at(-1) ?? 0) ^ 1));
    await expect(sealed.readSteps(A, FENCE)).rejects.toMatchObject({ code: "store_corrupt" });
    await target.complete(A, FENCE, { status: 200, payload: entry });
    await expect(sealed.find(A)).rejects.toMatchObject({ code: "store_corrupt" });
  });

  it("cannot be an answer that was put there", async () => {
    const store = memoryStore();
    await complete(sealedStore(store, { keys: [one] }), A);
    const answer = await raw(store, A);
    const other = await claim(memoryStore(), A);
    await other.appendStep(A, FENCE, answer);
    await expect(sealedStore(other, { keys: [one] }).readSteps(A, FENCE)).rejects.toMatchObject({
      code: "store_corrupt",
    });
  });

  it("that were never sealed are refused, unless the user is just turning it on", async () => {
    const store = await claim(memoryStore(), A);
    await store.appendStep(A, FENCE, secret);
    await expect(sealedStore(store, { keys: [one] }).readSteps(A, FENCE)).rejects.toMatchObject({
      code: "store_corrupt",
    });
    expect(await sealedStore(store, { keys: [one], unsealed: "accept" }).readSteps(A, FENCE)).toEqual([secret]);
  });
});

async function sealedBeneath(): Promise<Store> {
  const store = memoryStore();
  await complete(sealedStore(store, { keys: [one] }), A);
  return store;
}

describe("sealing keys", () => {
  const refused = (keys: readonly SealingKey[]) =>
    expect(() => sealedStore(memoryStore(), { keys })).toThrow(expect.objectContaining({ code: "config_invalid" }));

  it("are refused where there is none, one is too short, or two have one name", () => {
    refused([]);
    refused([{ id: "short", key: randomBytes(16) }]);
    refused([{ id: "", key: randomBytes(32) }]);
    refused([{ id: "x".repeat(256), key: randomBytes(32) }]);
    refused([one, { id: one.id, key: randomBytes(32) }]);
  });

  it("may be wiped by whoever gave them", async () => {
    const key = new Uint8Array(randomBytes(32));
    const sealed = sealedStore(memoryStore(), { keys: [{ id: "wiped", key }] });
    await complete(sealed, A);
    key.fill(0);
    expect(await raw(sealed, A)).toEqual(secret);
  });
});
