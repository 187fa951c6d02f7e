// Cases of claiming: what is found, what is one's own, when a key is free again.

import assert from "node:assert/strict";
import type { Store } from "../../core/store.js";
import { answerOf, claimOf, DAY, HOUR, newFence, recordIn, SECOND, type SuiteCase } from "./suite-case.js";

export const claimCases: readonly SuiteCase[] = [
  {
    title: "4.1 a claim of an absent key makes the record, with all that was said of it",
    async run({ store }) {
      const request = claimOf({ fingerprint: "exact:abc", account: "acme", key: "k", operation: "PUT /x", runId: "r" });
      const result = await store.claim(request);
      assert.equal(result.outcome, "claimed");
      const { now } = result as { now: number };
      const expected = {
        ...{ id: request.id, state: "running", fence: request.fence, fingerprint: "exact:abc" },
        ...{ account: "acme", key: "k", operation: "PUT /x", runId: "r" },
        ...{ createdAt: now, expiresAt: now + HOUR, leaseUntil: now + 60 * SECOND },
        ...{ endedAt: null, status: null, payload: null },
      };
      assert.deepEqual({ ...recordIn(result) }, expected);
      assert.deepEqual({ ...(await store.find(request.id))?.record }, expected);
    },
  },
  {
    title: "4.1 a claim of a key that somebody holds answers the record and changes nothing",
    async run({ store }) {
      const first = claimOf({ fingerprint: null });
      await store.claim(first);
      const before = await store.find(first.id);
      const result = await store.claim(claimOf({ id: first.id, account: "other", key: "other" }));
      assert.equal(result.outcome, "found");
      assert.deepEqual(recordIn(result), before?.record);
      assert.deepEqual((await store.find(first.id))?.record, before?.record);
    },
  },
  {
    title: "4.1 a claim of a done key answers the recorded status and payload",
    async run(bench) {
      const { id } = await bench.done({}, answerOf("paid", 201));
      const result = await bench.store.claim(claimOf({ id }));
      assert.equal(result.outcome, "found");
      const { state, status, payload, leaseUntil } = recordIn(result);
      assert.deepEqual({ state, status, leaseUntil }, { state: "done", status: 201, leaseUntil: 0 });
      assert.deepEqual(payload, answerOf("paid").payload);
    },
  },
  {
    title: "4.12 repeating a claim whose answer was lost finds it as one's own and begins its lease anew",
    async run(bench) {
      const request = claimOf();
      const first = recordIn(await bench.store.claim(request));
      await bench.advance(20 * SECOND);
      const again = await bench.store.claim({ ...request, ageMs: 20 * SECOND });
      assert.equal(again.outcome, "claimed");
      const record = recordIn(again);
      assert.ok(record.leaseUntil >= first.leaseUntil + 20 * SECOND);
      assert.deepEqual({ ...record, leaseUntil: 0 }, { ...first, leaseUntil: 0 });
      assert.deepEqual(await bench.found(request.id), record);
    },
  },
  {
    title: "4.12 a repeated claim is not one's own once it is done or unknown",
    async run(bench) {
      const done = claimOf();
      await bench.store.claim(done);
      await bench.store.complete(done.id, done.fence, answerOf("done"));
      assert.equal((await bench.store.claim(done)).outcome, "found");
      const unknown = claimOf();
      await bench.store.claim(unknown);
      await bench.store.interrupt(unknown.id, unknown.fence, 504, "owner");
      assert.equal((await bench.store.claim(unknown)).outcome, "found");
    },
  },
  {
    title: "4.10 retention counts from the request's arrival",
    async run({ store }) {
      const request = claimOf({ ageMs: 1_500.4, retention: { forMs: HOUR } });
      const result = await store.claim(request);
      const { createdAt, expiresAt } = recordIn(result);
      const { now } = result as { now: number };
      assert.ok(Number.isInteger(createdAt) && Math.abs(now - 1_500.4 - createdAt) < 1, `created at ${createdAt}`);
      assert.equal(expiresAt, createdAt + HOUR);
    },
  },
  {
    title: "8.1 a request can choose the instant at which its key expires",
    async run(bench) {
      const { createdAt } = await bench.claimed();
      const untilMs = createdAt + 30 * DAY + 123;
      const record = await bench.claimed({ ageMs: 5_000, retention: { untilMs } });
      assert.equal(record.expiresAt, untilMs);
      assert.equal((await bench.found(record.id))?.expiresAt, untilMs);
    },
  },
  {
    title: "4.10 at the expiry instant the key is free, and a millisecond before it is not",
    needs: "fake clock",
    async run(bench) {
      const { id } = await bench.done({ retention: { forMs: 10 * SECOND } });
      await bench.advance(10 * SECOND - 1);
      assert.equal((await bench.found(id))?.state, "done");
      assert.equal((await bench.store.claim(claimOf({ id }))).outcome, "found");
      assert.deepEqual(await bench.listed({}), [id]);
      await bench.advance(1);
      assert.equal(await bench.found(id), null);
      assert.deepEqual(await bench.listed({}), []);
      const next = await bench.claimed({ id, key: "second life" });
      assert.equal(next.key, "second life");
      assert.equal((await bench.found(id))?.fence, next.fence);
    },
  },
  {
    title: "4.10 expiry agrees with the clock that the store answers",
    async run(bench) {
      const { id, expiresAt } = await bench.done({ retention: { forMs: 200 } });
      for (;;) {
        const result = await bench.store.claim(claimOf({ id }));
        const { outcome, now } = result as { outcome: string; now: number };
        if (outcome === "claimed") {
          assert.ok(now >= expiresAt, `free at ${now}, ${expiresAt - now} ms early`);
          return;
        }
        assert.ok(now < expiresAt, `held at ${now}, ${now - expiresAt} ms late`);
        await bench.advance(bench.capabilities.clock === "fake" ? 1 : 0);
      }
    },
  },
  {
    title: "4.10 a record whose lease is live does not expire, and does so with its lease",
    needs: "fake clock",
    async run(bench) {
      const record = await bench.claimed({ retention: { forMs: 5 * SECOND }, leaseMs: 20 * SECOND });
      await bench.advance(20 * SECOND - 1);
      assert.equal((await bench.store.claim(claimOf({ id: record.id }))).outcome, "found");
      assert.equal((await bench.found(record.id))?.fence, record.fence);
      assert.equal(await bench.store.renew(record.id, record.fence, 10 * SECOND), true);
      await bench.advance(10 * SECOND - 1);
      assert.equal((await bench.found(record.id))?.fence, record.fence);
      await bench.advance(1);
      assert.equal(await bench.found(record.id), null);
      assert.equal(await bench.store.renew(record.id, record.fence, SECOND), false);
      assert.equal((await bench.store.claim(claimOf({ id: record.id }))).outcome, "claimed");
    },
  },
  {
    title: "4.10 a record that completes after its retention is done and gone",
    async run(bench) {
      const record = await bench.claimed({ retention: { forMs: SECOND }, leaseMs: 20 * SECOND });
      await bench.advance(2 * SECOND);
      assert.equal(await bench.store.complete(record.id, record.fence, answerOf("late")), true);
      assert.equal(await bench.found(record.id), null);
    },
  },
  {
    title: "4.10 a retention of 400 days is kept",
    async run(bench) {
      assert.ok(bench.store.info.maxRetentionMs >= 400 * DAY);
      const { id, createdAt, expiresAt } = await bench.done({ retention: { forMs: 400 * DAY } });
      assert.equal(expiresAt, createdAt + 400 * DAY);
      await bench.advance(400 * DAY - 10 * SECOND);
      assert.equal((await bench.found(id))?.state, "done");
      await bench.advance(10 * SECOND);
      assert.equal(await bench.found(id), null);
    },
  },
  {
    title: "S4 ids that differ in one digit never meet",
    async run(bench) {
      const id = "ab".repeat(32);
      const ids = [id, `${id.slice(0, -1)}c`, `0${id.slice(1)}`, `${id.slice(0, 32)}00${id.slice(34)}`];
      for (const other of ids) assert.equal((await bench.store.claim(claimOf({ id: other }))).outcome, "claimed");
      for (const other of ids) assert.equal((await bench.found(other))?.id, other);
    },
  },
  {
    title: "4.2 a stalled owner may renew and complete what a finder called unknown",
    async run(bench) {
      const { store } = bench;
      const record = await bench.claimed();
      await bench.advance(61 * SECOND);
      assert.equal(await store.interrupt(record.id, record.fence, 500, "finder"), true);
      assert.equal((await bench.found(record.id))?.state, "unknown");
      assert.equal(await store.renew(record.id, record.fence, 60 * SECOND), true);
      assert.equal(await store.takeOver(record.id, record.fence, nextOf()), false, "its lease is live again");
      assert.equal(await store.complete(record.id, record.fence, answerOf("after all")), true);
      const found = await bench.found(record.id);
      assert.deepEqual([found?.state, found?.status], ["done", 200]);
      assert.deepEqual(found?.payload, answerOf("after all").payload);
    },
  },
  {
    title: "4.2 a stalled owner has lost its claim once somebody took over",
    async run(bench) {
      const { store } = bench;
      const record = await bench.claimed();
      await bench.advance(61 * SECOND);
      const next = nextOf();
      assert.equal(await store.takeOver(record.id, record.fence, next), true);
      await assertPowerless(store, record.id, record.fence);
      assert.equal(await store.complete(record.id, next.fence, answerOf("second")), true);
      await assertPowerless(store, record.id, record.fence);
      assert.deepEqual((await bench.found(record.id))?.payload, answerOf("second").payload);
    },
  },
  {
    title: "4.14 a stalled owner has lost its claim once somebody settled",
    async run(bench) {
      const { store } = bench;
      const record = await bench.claimed();
      await store.interrupt(record.id, record.fence, 502, "owner");
      const next = { fence: newFence(), answer: answerOf("settled", 402) };
      assert.equal(await store.settle(record.id, record.fence, next), true);
      await assertPowerless(store, record.id, record.fence);
      const found = await bench.found(record.id);
      assert.deepEqual([found?.state, found?.status, found?.fence], ["done", 402, next.fence]);
    },
  },
  {
    title: "4.12 writes whose answer was lost can be repeated",
    async run(bench) {
      const { store } = bench;
      const taken = await bench.claimed();
      await bench.advance(61 * SECOND);
      const owner = nextOf();
      assert.equal(await store.takeOver(taken.id, taken.fence, owner), true);
      assert.equal(await store.takeOver(taken.id, taken.fence, owner), true);
      const before = { ...(await bench.found(taken.id)) };
      assert.deepEqual([before.state, before.fence], ["running", owner.fence]);
      assert.equal(await store.complete(taken.id, owner.fence, answerOf("one")), true);
      assert.equal(await store.complete(taken.id, owner.fence, answerOf("two", 500)), true);
      assert.deepEqual((await bench.found(taken.id))?.payload, answerOf("one").payload, "the first answer stays");
      assert.equal((await bench.found(taken.id))?.status, 200);
      assert.equal(await store.takeOver(taken.id, taken.fence, owner), false, "it is done by now");

      const settled = await bench.claimed();
      await store.interrupt(settled.id, settled.fence, 504, "owner");
      assert.equal(await store.interrupt(settled.id, settled.fence, 500, "owner"), true);
      assert.equal((await bench.found(settled.id))?.status, 504, "the first status stays");
      const verdict = { fence: newFence(), answer: answerOf("verdict") };
      assert.equal(await store.settle(settled.id, settled.fence, verdict), true);
      assert.equal(await store.settle(settled.id, settled.fence, verdict), true);
      const late = { fence: newFence(), answer: answerOf("another") };
      assert.equal(await store.settle(settled.id, settled.fence, late), false);
      assert.deepEqual((await bench.found(settled.id))?.payload, answerOf("verdict").payload);
    },
  },
  {
    title: "4.5 a released key is unused: the next claim makes a new record",
    async run(bench) {
      const record = await bench.claimed({ key: "first" });
      assert.equal(await bench.store.release(record.id, record.fence), true);
      assert.equal(await bench.found(record.id), null);
      assert.equal(await bench.store.release(record.id, record.fence), false);
      const next = await bench.claimed({ id: record.id, key: "second", fingerprint: null });
      assert.deepEqual([next.key, next.fingerprint], ["second", null]);
      await assertPowerless(bench.store, record.id, record.fence);
    },
  },
];

function nextOf(): { readonly fence: string; readonly leaseMs: number } {
  return { fence: newFence(), leaseMs: 60 * SECOND };
}

/** No operation with this fence does anything. */
export async function assertPowerless(store: Store, id: string, fence: string): Promise<void> {
  const before = await store.find(id);
  const attempts: Readonly<Record<string, Promise<boolean>>> = {
    renew: store.renew(id, fence, SECOND),
    complete: store.complete(id, fence, answerOf("stale", 599)),
    interruptByOwner: store.interrupt(id, fence, 599, "owner"),
    interruptByFinder: store.interrupt(id, fence, 599, "finder"),
    takeOver: store.takeOver(id, fence, nextOf()),
    settle: store.settle(id, fence, { fence: newFence(), answer: answerOf("stale", 599) }),
    release: store.release(id, fence),
    appendStep: store.appendStep(id, fence, new Uint8Array(1)),
    readSteps: store.readSteps(id, fence).then((entries) => entries !== null),
  };
  for (const [name, attempt] of Object.entries(attempts)) assert.equal(await attempt, false, `${name} had an effect`);
  assert.deepEqual((await store.find(id))?.record, before?.record);
}
