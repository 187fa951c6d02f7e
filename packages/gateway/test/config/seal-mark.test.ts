import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Store } from "onceward";
import { encodeResponse } from "onceward/http";
import { expect, test } from "vitest";
import type { EncryptionKey } from "../../src/config/config.js";
import { loadConfig } from "../../src/config/load.js";
import { markSealing, SEAL_MARK, sealFault } from "../../src/config/seal-mark.js";
import { openStore } from "../../src/stores/open-store.js";
import { folder } from "./help.js";

const { routes } = loadConfig({ text: "upstream: http://h\nretention: 24h\n" });
const [K1, K2]: EncryptionKey[] = ["k1", "k2"].map((id) => ({ id, key: new Uint8Array(randomBytes(32)) }));
const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 0, 1);

/** A gateway's start on the database: opens the store, marks it, records an answer, and closes it. */
async function begin(
  path: string,
  encryption: readonly (EncryptionKey | undefined)[],
  options: { readonly accept?: boolean; readonly at?: number; readonly record?: boolean; readonly mark?: boolean } = {},
): Promise<string[]> {
  const keys = encryption.filter((key) => key !== undefined);
  const config = { encryption: keys, acceptUnsealed: options.accept ?? false, routes };
  const { store } = await openStore(`sqlite:${path}`, config);
  const warnings = options.mark === false ? [] : await markSealing(store, config, options.at ?? NOW);
  if (options.record !== false) await record(store);
  await store.close();
  return warnings;
}

async function record(store: Store): Promise<void> {
  const [id, fence] = [randomBytes(32).toString("hex"), randomBytes(16).toString("hex")];
  const labels = { account: "a", key: "k", operation: "POST /x", runId: "r" };
  const retention = { forMs: 24 * HOUR };
  await store.claim({ id, fence, fingerprint: null, ageMs: 0, retention, leaseMs: 1_000, labels });
  const payload = encodeResponse({ status: 200, headers: [], body: new Uint8Array() });
  await store.complete(id, fence, { status: 200, payload });
}

const UNSEALED =
  "the store holds answers from before `encryption` was set: until they have expired (by 2026-01-02T01:00Z) their retries get 500; set `acceptUnsealed: true` until then to replay them";

test("9.1 encryption set on a store in use is warned about until the last unsealed answer has expired", async () => {
  const path = join(folder(), "x.db");
  expect(await begin(path, [], { at: NOW - 100 * HOUR })).toEqual([]);
  expect(await begin(path, [], { at: NOW - 1 })).toEqual([]);
  expect(await begin(path, [K1])).toEqual([UNSEALED]);
  expect(await begin(path, [K1], { at: NOW + 20 * HOUR })).toEqual([UNSEALED]);
  expect(await begin(path, [K1], { at: NOW + 20 * HOUR, accept: true })).toEqual([]);
  expect(await begin(path, [K1], { at: NOW + 26 * HOUR })).toEqual([]);
  expect(await begin(path, [K1], { at: NOW + 26 * HOUR, accept: true })).toEqual([
    "acceptUnsealed: true is not needed any more: every answer in the store is sealed; remove it",
  ]);
});

test("9.1 encryption removed, or a key of it, is warned about with the ids of the keys that are missing", async () => {
  const path = join(folder(), "x.db");
  await begin(path, [K1], { at: NOW - HOUR });
  expect(await begin(path, [K2, K1], { at: NOW - HOUR })).toEqual([]);
  expect(await begin(path, [K2])).toEqual([
    'the store holds answers that are sealed with keys that are not in `encryption` ("k1"): until they have expired (by 2026-01-02T00:00Z) their retries get 500; list them there too, behind the first',
  ]);
  expect(await begin(path, [])).toEqual([
    'the store holds answers that are sealed with keys that are not in `encryption` ("k2", "k1"): until they have expired (by 2026-01-02T01:00Z) their retries get 500; set it again with them',
  ]);
  expect(await begin(path, [K1, K2], { accept: true })).toEqual([]);
});

test("9.1 a store with nothing in it, and one in memory, are nothing to warn about", async () => {
  const path = join(folder(), "x.db");
  await begin(path, [], { record: false });
  expect(await begin(path, [K1])).toEqual([]);
  const { store: memory } = await openStore("memory");
  await record(memory);
  expect(await markSealing(memory, { encryption: [], acceptUnsealed: false, routes })).toEqual([]);
  expect(await memory.getShared(SEAL_MARK)).toBeNull();
});

test("9.1 of a store that was never marked its newest answer says how it was recorded", async () => {
  const plain = join(folder(), "plain.db");
  await begin(plain, [], { mark: false });
  expect(await begin(plain, [K1])).toEqual([UNSEALED]);
  const sealed = join(folder(), "sealed.db");
  await begin(sealed, [K1], { mark: false });
  expect(await begin(sealed, [])).toEqual([expect.stringContaining('("k1")')]);
  const own = join(folder(), "own.db");
  await begin(own, [K1], { mark: false });
  expect(await begin(own, [K1])).toEqual([]);
});

test("a mark of a newer version is left as it is, and gateways that start at once agree", async () => {
  const path = join(folder(), "x.db");
  const config = { encryption: [K1].filter((key) => key !== undefined), acceptUnsealed: false, routes };
  await begin(path, [], { mark: false });
  const { store } = await openStore(`sqlite:${path}`, config);
  await Promise.all(Array.from({ length: 8 }, () => markSealing(store, config, NOW)));
  const mark = (await store.getShared(SEAL_MARK)) ?? new Uint8Array();
  expect(JSON.parse(new TextDecoder().decode(mark))).toEqual({
    version: 1,
    retentionMs: 24 * HOUR,
    ways: [
      { key: "k1", until: null },
      { key: null, until: NOW + 25 * HOUR },
    ],
  });
  expect(await sealFault(store, [])).toContain('sealed with the key "k1", which is not given here');
  expect(await sealFault(store, config.encryption)).toBeNull();
  const newer = new TextEncoder().encode('{"version":2}');
  expect(await store.setShared(SEAL_MARK, newer, mark)).toBe(true);
  expect(await markSealing(store, config, NOW)).toEqual([]);
  expect(await store.getShared(SEAL_MARK)).toEqual(newer);
  await store.close();
});
