// Limits on records too large to be counted by each claim: SPEC §9.4 in PostgreSQL, and the counting behind it.

import type { Store, StoreLimits } from "onceward";
import { describe, expect, it } from "vitest";
import { Room } from "../../src/stores/sql/room.js";
import { claimOf, SECOND } from "../../src/testing/store-suite/suite-case.js";
import { faultBench, missing } from "./postgres-kit.js";

const AT_ONCE = 50;

/** Claims new keys of an account until one is answered full, and says how many records that made. */
async function fill(store: Store, most: number, account: string): Promise<number> {
  let made = 0;
  for (let full = false; !full && made < most; ) {
    const claims = Array.from({ length: AT_ONCE }, () =>
      store.claim(claimOf({ account, retention: { forMs: 10 * SECOND }, leaseMs: SECOND })),
    );
    for (const { outcome } of await Promise.all(claims)) {
      if (outcome === "claimed") made++;
      else full = true;
    }
  }
  return made;
}

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  const bench = faultBench();
  let offset = 0;

  const node = (limits: Partial<StoreLimits>) => bench.node({ limits, now: () => Date.now() + offset });

  it("9.4 an account is full at its limit for the process that filled it, and soon for others; others are not", async () => {
    const limits = { maxRecordsPerAccount: 1_200 };
    const store = await node(limits);
    const made = await fill(store, 2_000, "greedy");
    expect(made).toBeGreaterThanOrEqual(1_200);
    expect(made).toBeLessThanOrEqual(1_200 + AT_ONCE);
    expect(await store.claim(claimOf({ account: "greedy" }))).toEqual({ outcome: "full", limit: "account" });
    expect((await store.claim(claimOf({ account: "modest" }))).outcome).toBe("claimed");
    const other = await node(limits);
    expect(await fill(other, 2_000, "greedy")).toBeLessThanOrEqual(100 + 4 * AT_ONCE);
    expect((await other.claim(claimOf({ account: "modest" }))).outcome).toBe("claimed");
  });

  it("9.4 a store is full at its limit for every account", async () => {
    const store = await node({ maxRecords: 1_500 });
    let made = 0;
    // Records that were made while they were counted count twice, until they are counted again.
    await expect
      .poll(async () => (made += await fill(store, 3_000, "one")), { timeout: 20_000 })
      .toBeGreaterThanOrEqual(1_500);
    expect(made).toBeLessThanOrEqual(1_500 + AT_ONCE);
    expect(await store.claim(claimOf({ account: "two" }))).toEqual({ outcome: "full", limit: "store" });
  });

  it("9.4 a full account has room again once its records expired, purged or not, and answers its keys meanwhile", async () => {
    const store = await node({ maxRecordsPerAccount: 1_001 });
    const known = claimOf({ account: "greedy" });
    await store.claim(known);
    await fill(store, 2_000, "greedy");
    expect((await store.claim(claimOf({ id: known.id, account: "greedy" }))).outcome).toBe("found");
    offset += 11 * SECOND;
    await expect.poll(async () => (await store.claim(claimOf({ account: "greedy" }))).outcome).toBe("claimed");
  });
});

describe("counting in the background", () => {
  const counts: (readonly [string | null, (records: number) => void])[] = [];
  const roomOf = (limits: StoreLimits) => {
    counts.length = 0;
    return new Room(limits, 10, (account) => new Promise((resolve) => counts.push([account, resolve])));
  };
  const answered = async (records: number): Promise<void> => {
    counts.at(-1)?.[1](records);
    await new Promise((resolve) => setImmediate(resolve));
  };

  it("asks seldom where there is much room, and never for limits that claims count themselves", async () => {
    const room = roomOf({ maxRecordsPerAccount: 1_000_000, maxRecords: 10 });
    for (let made = 0; made < 99; made++) room.made("a");
    expect(counts).toEqual([]);
    room.made("a");
    expect(counts.map(([account]) => account)).toEqual(["a"]);
    await answered(100);
    for (let made = 0; made < 60_000; made++) room.made("a");
    expect(counts.length).toBe(1);
  });

  it("believes a count and what was made since, and asks again when full, though not at once", async () => {
    const room = roomOf({ maxRecordsPerAccount: 5, maxRecords: 1_000 });
    room.made("a");
    expect(counts.map(([account]) => account)).toEqual([null]);
    await answered(999);
    expect(room.reached("a")).toBe(null);
    room.made("a");
    expect(room.reached("a")).toBe("store");
    expect(counts.length).toBe(1);
    await expect.poll(() => [room.reached("a"), counts.length]).toEqual(["store", 2]);
    await answered(10);
    expect(room.reached("a")).toBe(null);
  });

  it("goes on where a count fails", async () => {
    let asked = 0;
    const room = new Room({ maxRecordsPerAccount: 1_000_000, maxRecords: 100 }, 10, async () => {
      asked++;
      throw new Error("no");
    });
    room.made("a");
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toBe(1);
    await expect
      .poll(() => {
        room.made("a");
        return asked;
      })
      .toBeGreaterThan(1);
  });
});
