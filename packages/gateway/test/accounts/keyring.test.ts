import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Store } from "onceward";
import type { HeaderList } from "onceward/http";
import { sqliteStore } from "onceward/stores/sqlite";
import { type FakeClock, fakeClock, faultStore } from "onceward/testing";
import { afterEach, describe, expect, test } from "vitest";
import type { Accounts } from "../../src/accounts/accounts.js";
import { ACTIVATION_MS, REFRESH_MS, SHARED_NAME } from "../../src/accounts/keyring.js";
import { accountFor, accountsOf, HOUR_MS, openMemory } from "./make.js";

const run = promisify(execFile);
const HEADERS: HeaderList = [["Authorization", "Bearer sk_live_1"]];
const child = fileURLToPath(new URL("./account-process.mjs", import.meta.url));

const folders: string[] = [];
const stores: Store[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function databasePath(): string {
  const folder = mkdtempSync(join(tmpdir(), "onceward-accounts-"));
  folders.push(folder);
  return join(folder, "onceward.db");
}

/** A store as several gateways share it, so that new keys wait for all of them. */
async function openShared(path = databasePath()): Promise<Store> {
  const store = sqliteStore({ path });
  await store.open();
  stores.push(store);
  return store;
}

const gateway = (
  store: Store,
  secret: string | null,
  clock: FakeClock,
  longestRetentionMs = 24 * HOUR_MS,
): Promise<Accounts> =>
  accountsOf({ from: "credential", changingCredentials: "reject", secret }, { store, clock, longestRetentionMs });

/** All names under which records of the account are looked for, the one in use first. */
async function namesOf(accounts: Accounts): Promise<string[]> {
  const { account, previous = [] } = await accountFor(accounts, HEADERS);
  return [account, ...previous];
}

test("S1 8 gateways that start at once on one store agree on the account key", async () => {
  const store = await openMemory();
  const clock = fakeClock();
  const gateways = await Promise.all(Array.from({ length: 8 }, () => gateway(store, null, clock)));
  const names = new Set((await Promise.all(gateways.map(namesOf))).map((list) => list.join()));
  expect(names.size).toBe(1);
  expect([...names][0]).not.toContain(",");
});

test("S1 processes that start at once on one SQLite file agree on the account key", async () => {
  const path = databasePath();
  const answers = await Promise.all([1, 2, 3].map(() => run(process.execPath, [child, path])));
  const accounts = new Set(answers.map(({ stdout }) => stdout.trim()));
  expect([...accounts]).toEqual([expect.stringMatching(/^credential:[0-9a-f]{64}$/)]);
  const again = await gateway(await openShared(path), null, fakeClock(Date.now()));
  expect((await namesOf(again))[0]).toBe([...accounts][0]);
});

test("S1 gateways with the same secret agree, and the secret is not in the store", async () => {
  const one = await openMemory();
  const two = await openMemory();
  const names = await Promise.all(
    [one, two].map(async (store) => namesOf(await gateway(store, "correct horse", fakeClock()))),
  );
  expect(names[0]).toEqual(names[1]);
  const bytes = Buffer.from((await one.getShared(SHARED_NAME)) ?? []);
  expect(bytes.length).toBeGreaterThan(0);
  for (const encoding of ["utf8", "base64", "hex", "base64url"] as const) {
    expect(bytes.toString()).not.toContain(Buffer.from("correct horse").toString(encoding).replace(/=+$/, ""));
  }
});

test("S1 a gateway without a secret goes on with the stored key", async () => {
  const store = await openMemory();
  const names = await namesOf(await gateway(store, "correct horse", fakeClock()));
  expect(await namesOf(await gateway(store, null, fakeClock()))).toEqual(names);
});

describe("S1 replacing the secret", () => {
  test("S1 the replaced key is accepted for one retention, newest first, then dropped", async () => {
    const store = await openMemory();
    const clock = fakeClock();
    const [first] = await namesOf(await gateway(store, null, clock));
    clock.advance(HOUR_MS);
    const [second, ...afterOne] = await namesOf(await gateway(store, "one", clock));
    expect(afterOne).toEqual([first]);
    clock.advance(HOUR_MS);
    const third = await gateway(store, "two", clock);
    const [newest, ...afterTwo] = await namesOf(third);
    expect(new Set([first, second, newest]).size).toBe(3);
    expect(afterTwo).toEqual([second, first]);

    clock.advance(23 * HOUR_MS - 1);
    expect(await namesOf(third)).toEqual([newest, second, first]);
    clock.advance(HOUR_MS / 2);
    expect(await namesOf(third)).toEqual([newest, second]);
    clock.advance(HOUR_MS);
    expect(await namesOf(third)).toEqual([newest]);
    expect(await namesOf(await gateway(store, null, clock))).toEqual([newest]);
  });

  test("S1 on a shared store no gateway uses the new key before all of them look for it", async () => {
    const store = await openShared();
    const clock = fakeClock();
    const older = await gateway(store, "one", clock);
    const [old] = await namesOf(older);
    const newer = await gateway(store, "two", clock);
    const [inUse, waiting] = await namesOf(newer);
    expect(inUse).toBe(old);
    expect(waiting).toEqual(expect.any(String));
    expect(await namesOf(older)).toEqual([old]);

    clock.advance(REFRESH_MS);
    expect(await namesOf(older)).toEqual([old, waiting]);
    clock.advance(ACTIVATION_MS - REFRESH_MS);
    expect(await namesOf(older)).toEqual([waiting, old]);
    expect(await namesOf(newer)).toEqual([waiting, old]);
  });

  test("S1 a gateway that is started with the old secret again still finds what was recorded under the new one", async () => {
    const store = await openShared();
    const clock = fakeClock();
    const [one] = await namesOf(await gateway(store, "one", clock));
    await gateway(store, "two", clock);
    clock.advance(ACTIVATION_MS);
    const back = await gateway(store, "one", clock);
    const [two, ...others] = await namesOf(back);
    expect(others).toEqual([one]);
    clock.advance(ACTIVATION_MS);
    expect(await namesOf(back)).toEqual([one, two]);
  });

  test("S1 the longest retention of any gateway counts, also of one that starts after the change", async () => {
    const store = await openMemory();
    const clock = fakeClock();
    const [first] = await namesOf(await gateway(store, null, clock, HOUR_MS));
    await gateway(store, "one", clock, HOUR_MS);
    const patient = await gateway(store, null, clock, 48 * HOUR_MS);
    clock.advance(47 * HOUR_MS);
    expect((await namesOf(patient)).slice(1)).toEqual([first]);
    clock.advance(2 * HOUR_MS);
    expect((await namesOf(patient)).slice(1)).toEqual([]);
  });

  test("S1 two gateways that replace it at once both end up with all keys", async () => {
    const store = await openMemory();
    const clock = fakeClock();
    await gateway(store, null, clock);
    const both = await Promise.all(["one", "two"].map((secret) => gateway(store, secret, clock)));
    clock.advance(REFRESH_MS);
    const [left, right] = await Promise.all(both.map(namesOf));
    expect(left).toHaveLength(3);
    expect(left).toEqual(right);
  });

  test("S1 9.3 secrets replaced without end are refused at start, with the fix", async () => {
    const store = await openMemory();
    const clock = fakeClock();
    const replaceAll = async (): Promise<void> => {
      for (let count = 0; count < 20; count += 1) await gateway(store, `secret ${count}`, clock);
    };
    await expect(replaceAll()).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringContaining("account.accountKey"),
    });
  });
});

test("S1 while the store is out of reach the key at hand is used", async () => {
  const memory = await openMemory();
  const store = faultStore(memory, () => undefined);
  const clock = fakeClock();
  const accounts = await gateway(store, null, clock);
  const names = await namesOf(accounts);
  store.plan = () => ({ kind: "fail" });
  clock.advance(REFRESH_MS);
  expect(await namesOf(accounts)).toEqual(names);
});

test("S1 a store that cannot be reached at start, or holds something else by that name, is an error at start", async () => {
  const memory = await openMemory();
  const failing = faultStore(memory, () => ({ kind: "fail" }));
  await expect(gateway(failing, null, fakeClock())).rejects.toMatchObject({ code: "store_unavailable" });
  await memory.setShared(SHARED_NAME, new TextEncoder().encode('{"version":2}'), null);
  await expect(gateway(memory, null, fakeClock())).rejects.toMatchObject({ code: "store_corrupt" });
});

test("S1 a request is answered without waiting while the key at hand is fresh", async () => {
  const accounts = await gateway(await openMemory(), null, fakeClock());
  expect(accounts.resolve(HEADERS)).not.toBeInstanceOf(Promise);
});
