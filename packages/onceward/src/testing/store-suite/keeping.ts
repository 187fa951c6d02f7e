// Cases of bounds, purging and listings.

import assert from "node:assert/strict";
import { IdempotencyError } from "../../core/errors.js";
import type { ClaimResult, Store } from "../../core/store.js";
import { answerOf, type ClaimChange, claimOf, DAY, HOUR, SECOND, type SuiteCase, together } from "./suite-case.js";

/** Claims new keys until one is answered full, at most `most` of them. */
async function fill(store: Store, most: number, change: ClaimChange): Promise<{ claimed: number; last: ClaimResult }> {
  for (let claimed = 0; ; claimed++) {
    const last = await store.claim(claimOf({ ...change, key: `key-${claimed}` }));
    if (last.outcome !== "claimed" || claimed === most) return { claimed, last };
  }
}

export const limitCases: readonly SuiteCase[] = [
  {
    title: "9.4 an account at its limit is full, and others are not",
    async run(bench) {
      const store = await bench.open({ limits: { maxRecordsPerAccount: 10 } });
      const { claimed, last } = await fill(store, 20, { account: "greedy" });
      assert.equal(claimed, 10);
      assert.deepEqual(last, { outcome: "full", limit: "account" });
      assert.equal((await store.claim(claimOf({ account: "modest" }))).outcome, "claimed");
    },
  },
  {
    title: "9.4 a store at its limit is full for every account",
    async run(bench) {
      const store = await bench.open({ limits: { maxRecords: 10 } });
      let claimed = 0;
      for (; claimed < 20; claimed++) {
        const result = await store.claim(claimOf({ account: `account-${claimed}` }));
        if (result.outcome === "claimed") continue;
        assert.deepEqual(result, { outcome: "full", limit: "store" });
        break;
      }
      assert.equal(claimed, 10);
    },
  },
  {
    title: "9.4 a full store answers the keys that it has",
    async run(bench) {
      const store = await bench.open({ limits: { maxRecordsPerAccount: 2 } });
      const done = claimOf();
      const running = claimOf();
      for (const request of [done, running]) assert.equal((await store.claim(request)).outcome, "claimed");
      assert.equal(await store.complete(done.id, done.fence, answerOf("kept")), true);
      assert.equal((await store.claim(claimOf())).outcome, "full");
      assert.equal((await store.claim(claimOf({ id: done.id }))).outcome, "found");
      assert.equal((await store.claim(running)).outcome, "claimed", "a repeated claim is one's own");
      assert.equal((await store.claim(claimOf())).outcome, "full");
    },
  },
  {
    title: "9.4 a released key makes room",
    async run(bench) {
      const store = await bench.open({ limits: { maxRecordsPerAccount: 1 } });
      for (let round = 0; round < 3; round++) {
        const request = claimOf();
        assert.equal((await store.claim(request)).outcome, "claimed");
        assert.equal((await store.claim(claimOf())).outcome, "full");
        assert.equal(await store.release(request.id, request.fence), true);
      }
    },
  },
  {
    title: "9.4 expired records make room before a claim is refused, without a purge",
    async run(bench) {
      const store = await bench.open({ limits: { maxRecordsPerAccount: 5, maxRecords: 5 } });
      const change = { retention: { forMs: 10 * SECOND }, leaseMs: SECOND };
      assert.equal((await fill(store, 9, change)).claimed, 5);
      await bench.advance(11 * SECOND);
      assert.equal((await fill(store, 9, change)).claimed, 5);
    },
  },
  {
    title: "9.4 an expired key of a full account can be claimed again",
    async run(bench) {
      const store = await bench.open({ limits: { maxRecordsPerAccount: 1 } });
      const request = claimOf({ retention: { forMs: 10 * SECOND }, leaseMs: SECOND });
      assert.equal((await store.claim(request)).outcome, "claimed");
      await bench.advance(11 * SECOND);
      assert.equal((await store.claim(claimOf({ id: request.id }))).outcome, "claimed");
      assert.equal((await store.claim(claimOf())).outcome, "full");
    },
  },
];

export const purgeCases: readonly SuiteCase[] = [
  {
    title: "4.10 purge deletes what has expired, up to its limit, and nothing else",
    async run(bench) {
      const short = { retention: { forMs: 10 * SECOND }, leaseMs: 5 * SECOND };
      await together(30, () => bench.done(short));
      const kept = [await bench.done(), await bench.claimed(), await bench.claimed({ ...short, leaseMs: 2 * HOUR })];
      assert.equal(await bench.store.purge(100), 0);
      await bench.advance(11 * SECOND);
      assert.equal(await bench.store.purge(10), 10);
      assert.equal(await bench.store.purge(100), 20);
      assert.equal(await bench.store.purge(100), 0);
      for (const { id } of kept) assert.equal((await bench.found(id))?.id, id);
    },
  },
  {
    title: "4.10 purging a lot in the background serves claims meanwhile",
    async run(bench) {
      const expired = 1_500;
      await together(expired, () => bench.claimed({ retention: { forMs: SECOND }, leaseMs: SECOND }));
      const kept = await bench.done({ retention: { forMs: 10 * DAY } });
      await bench.advance(2 * SECOND);
      let purging = true;
      const purge = bench.store.purge(10_000).finally(() => {
        purging = false;
      });
      let served = 0;
      do {
        const { id } = await bench.done();
        assert.equal((await bench.found(id))?.state, "done");
        assert.equal((await bench.found(kept.id))?.state, "done");
        served += 1;
      } while (purging);
      // A claim may clear expired records away too.
      const purged = await purge;
      assert.ok(purged <= expired && purged > 0, `purged ${purged}`);
      assert.equal(await bench.store.purge(10_000), 0);
      assert.equal((await bench.listed({}, 1_000)).length, served + 1);
    },
  },
];

export const listCases: readonly SuiteCase[] = [
  {
    title: "4.14 records are listed newest first, page by page",
    async run(bench) {
      const ids: string[] = [];
      for (let index = 0; index < 7; index++) {
        ids.unshift((await bench.claimed({ key: `key-${index}` })).id);
        await bench.advance(SECOND);
      }
      for (const limit of [1, 2, 3, 7, 100]) assert.deepEqual(await bench.listed({}, limit), ids);
      const page = await bench.store.list({ limit: 3 });
      assert.deepEqual([page.items.length, typeof page.next], [3, "string"]);
    },
  },
  {
    title: "4.14 paging neither skips nor repeats records while others are made, done, released and expire",
    async run(bench) {
      const records = [];
      for (let index = 0; index < 10; index++) {
        records.unshift(await bench.claimed());
        await bench.advance(SECOND);
      }
      const seen: string[] = [];
      for (let cursor: string | undefined; ; ) {
        const page = await bench.store.list({ limit: 3, ...(cursor === undefined ? {} : { cursor }) });
        seen.push(...page.items.map(({ id }) => id));
        const last = page.items.at(-1);
        if (last === undefined || page.next === null) break;
        cursor = page.next;
        await bench.claimed();
        assert.equal(await bench.store.complete(last.id, last.fence, answerOf("done")), true);
        const first = page.items[0];
        if (first !== undefined) assert.equal(await bench.store.release(first.id, first.fence), true);
      }
      assert.deepEqual(
        seen,
        records.map(({ id }) => id),
      );
    },
  },
  {
    title: "4.14 listings are filtered by state, account and key, all that are given",
    async run(bench) {
      const done = await bench.done({ account: "a", key: "1" });
      const running = await bench.claimed({ account: "a", key: "2" });
      const unknown = await bench.claimed({ account: "b", key: "1" });
      await bench.store.interrupt(unknown.id, unknown.fence, 502, "owner");
      const released = await bench.claimed({ account: "a", key: "1" });
      await bench.store.release(released.id, released.fence);
      assert.deepEqual(await bench.listed({ state: "done" }), [done.id]);
      assert.deepEqual(await bench.listed({ state: "running" }), [running.id]);
      assert.deepEqual(await bench.listed({ state: "unknown" }), [unknown.id]);
      assert.deepEqual(await bench.listed({ account: "a" }), [running.id, done.id]);
      assert.deepEqual(await bench.listed({ key: "1" }), [unknown.id, done.id]);
      assert.deepEqual(await bench.listed({ key: "1", account: "a" }), [done.id]);
      assert.deepEqual(await bench.listed({ key: "1", account: "a", state: "unknown" }), []);
    },
  },
  {
    title: "4.14 a filter that few of many records match finds them all",
    async run(bench) {
      const needles: string[] = [];
      for (let index = 0; index < 4; index++) {
        await together(700, () => bench.claimed({ key: "hay" }));
        needles.unshift((await bench.done({ key: "needle" })).id);
      }
      assert.deepEqual(await bench.listed({ key: "needle" }, 3), needles);
      assert.deepEqual(await bench.listed({ state: "done" }, 3), needles);
      assert.equal((await bench.listed({ key: "hay", state: "running" }, 1_000)).length, 2_800);
    },
  },
  {
    title: "4.10 what has expired is not listed, purged or not",
    async run(bench) {
      await bench.done({ retention: { forMs: SECOND } });
      await bench.claimed({ retention: { forMs: SECOND }, leaseMs: SECOND });
      const kept = await bench.claimed({ retention: { forMs: SECOND } });
      await bench.advance(2 * SECOND);
      assert.deepEqual(await bench.listed({}), [kept.id]);
    },
  },
  {
    title: "4.14 a cursor that no listing gave is refused",
    async run(bench) {
      await bench.claimed();
      await assert.rejects(bench.store.list({ limit: 10, cursor: "'; --" }), (error) => {
        return error instanceof IdempotencyError && error.code === "request_invalid";
      });
    },
  },
];
