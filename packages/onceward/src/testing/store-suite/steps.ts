// Cases of step logs, and of answers that are recorded by a statement of the caller's own transaction.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type Answer, isExpired } from "../../core/record.js";
import type { Store } from "../../core/store.js";
import { answerOf, claimOf, DAY, newFence, SECOND, type SuiteBench, type SuiteCase, together } from "./suite-case.js";
import { SITUATIONS, type Situation } from "./transitions.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const texts = (log: readonly Uint8Array[] | null) => log?.map((entry) => new TextDecoder().decode(entry)) ?? null;

/** The situations in which a record has a step log, and in which an answer can be recorded. */
const OPEN: readonly Situation[] = ["running, lease live", "running, lease lapsed", "unknown", "unknown, lease live"];
const situations = Object.keys(SITUATIONS) as readonly Situation[];

function stepCase(situation: Situation): SuiteCase {
  const open = OPEN.includes(situation);
  return {
    title: `7.2 steps of a record that is ${situation} are ${open ? "appended and read" : "refused"}, and change nothing else`,
    async run(bench) {
      const { id, fence } = await SITUATIONS[situation](bench);
      const before = await bench.found(id);
      assert.equal(await bench.store.appendStep(id, fence, bytes("one")), open);
      assert.deepEqual(texts(await bench.store.readSteps(id, fence)), open ? ["one"] : null);
      assert.deepEqual(await bench.found(id), before);
      assert.equal(await bench.store.appendStep(id, newFence(), bytes("stale")), false);
      assert.equal(await bench.store.readSteps(id, newFence()), null);
      assert.deepEqual(texts(await bench.store.readSteps(id, fence)), open ? ["one"] : null);
    },
  };
}

export const stepCases: readonly SuiteCase[] = [
  ...situations.map(stepCase),
  {
    title: "7.2 steps come back byte for byte in the order of appending: empty ones, any byte, long ones, many",
    async run(bench) {
      const { id, fence } = await bench.claimed();
      assert.deepEqual(await bench.store.readSteps(id, fence), []);
      const entries = [
        new Uint8Array(0),
        new Uint8Array(1),
        Uint8Array.from({ length: 256 }, (_, index) => index),
        Uint8Array.of(0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80),
        new Uint8Array(randomBytes(200_000)),
        new Uint8Array(randomBytes(5_000)).subarray(17, 4_017),
        ...Array.from({ length: 40 }, (_, index) => bytes(`step ${index}`)),
        new Uint8Array(0),
      ];
      for (const entry of entries) assert.equal(await bench.store.appendStep(id, fence, entry), true);
      const log = await bench.store.readSteps(id, fence);
      assert.deepEqual(
        log?.map((entry) => new Uint8Array(entry)),
        entries.map((entry) => new Uint8Array(entry)),
      );
    },
  },
  {
    title: "P2 what callers do to the bytes of a step that they gave or got changes no step",
    async run(bench) {
      const { id, fence } = await bench.claimed();
      const entry = bytes("as it was");
      const appending = bench.store.appendStep(id, fence, entry);
      entry.fill(0);
      await appending;
      const first = await bench.store.readSteps(id, fence);
      assert.deepEqual(texts(first), ["as it was"]);
      first?.[0]?.fill(0);
      assert.deepEqual(texts(await bench.store.readSteps(id, fence)), ["as it was"]);
    },
  },
  {
    title: "7.2 steps outlive renewal, interruption and take-over, after which only the new owner has them",
    async run(bench) {
      const { store } = bench;
      const request = claimOf();
      await store.claim(request);
      const { id, fence } = request;
      await store.appendStep(id, fence, bytes("one"));
      assert.equal((await store.claim(request)).outcome, "claimed");
      await store.renew(id, fence, 60 * SECOND);
      await store.appendStep(id, fence, bytes("two"));
      await bench.advance(61 * SECOND);
      await store.interrupt(id, fence, 500, "finder");
      assert.equal(await store.appendStep(id, fence, bytes("three")), true, "nobody took over yet");
      const next = newFence();
      assert.equal(await store.takeOver(id, fence, { fence: next, leaseMs: 60 * SECOND }), true);
      assert.equal(await store.appendStep(id, fence, bytes("stale")), false);
      assert.equal(await store.readSteps(id, fence), null);
      assert.equal(await store.appendStep(id, next, bytes("four")), true);
      assert.deepEqual(texts(await store.readSteps(id, next)), ["one", "two", "three", "four"]);
    },
  },
  {
    title: "7.2 a record that is done or settled has no steps any more",
    async run(bench) {
      const { store } = bench;
      const done = await bench.claimed();
      await store.appendStep(done.id, done.fence, bytes("one"));
      await store.complete(done.id, done.fence, answerOf("done"));
      assert.equal(await store.readSteps(done.id, done.fence), null);
      const settled = await bench.claimed();
      await store.appendStep(settled.id, settled.fence, bytes("one"));
      await store.interrupt(settled.id, settled.fence, 500, "owner");
      const next = { fence: newFence(), answer: answerOf("settled") };
      await store.settle(settled.id, settled.fence, next);
      assert.equal(await store.readSteps(settled.id, next.fence), null);
    },
  },
  {
    title: "7.2 a new life of a key begins without steps: after its release, and over an expired record",
    async run(bench) {
      const { store } = bench;
      const released = await bench.claimed();
      await store.appendStep(released.id, released.fence, bytes("of the first life"));
      await store.release(released.id, released.fence);
      const second = await bench.claimed({ id: released.id });
      assert.deepEqual(await store.readSteps(second.id, second.fence), []);

      const expiring = await bench.claimed({ retention: { forMs: 10 * SECOND }, leaseMs: 5 * SECOND });
      await store.appendStep(expiring.id, expiring.fence, bytes("of the first life"));
      await bench.advance(11 * SECOND);
      assert.equal(await store.appendStep(expiring.id, expiring.fence, bytes("late")), false);
      // The same fence again, so that only the record tells one life from the other.
      const next = await bench.claimed({ id: expiring.id, fence: expiring.fence });
      assert.deepEqual(await store.readSteps(next.id, next.fence), []);
    },
  },
  {
    title: "7.2 of steps that are appended at the same moment none is lost",
    async run(bench) {
      const other = bench.capabilities.shared ? await bench.open() : bench.store;
      const { id, fence } = await bench.claimed({ retention: { forMs: DAY } });
      const appended = await together(40, (index) =>
        (index % 2 === 0 ? bench.store : other).appendStep(id, fence, bytes(`step ${index}`)),
      );
      assert.ok(appended.every(Boolean));
      const log = texts(await bench.store.readSteps(id, fence)) ?? [];
      assert.equal(log.length, 40);
      assert.equal(new Set(log).size, 40);
    },
  },
  {
    title: "7.2 a step that races a take-over or the answer is recorded before it or refused",
    async run(bench) {
      const other = bench.capabilities.shared ? await bench.open() : bench.store;
      for (let round = 0; round < 10; round++) {
        const { id, fence } = await bench.claimed();
        await bench.advance(61 * SECOND);
        const next = newFence();
        const [appended, took] = await Promise.all([
          bench.store.appendStep(id, fence, bytes("racing")),
          other.takeOver(id, fence, { fence: next, leaseMs: 60 * SECOND }),
        ]);
        assert.equal(took, true);
        assert.deepEqual(texts(await other.readSteps(id, next)), appended ? ["racing"] : []);
        const [, completed] = await Promise.all([
          other.appendStep(id, next, bytes("second")),
          bench.store.complete(id, next, answerOf("done")),
        ]);
        assert.equal(completed, true);
        assert.deepEqual((await bench.found(id))?.payload, answerOf("done").payload);
      }
    },
  },
];

/** Runs the statement that records an answer on the place's database, and answers how many rows it changed. */
async function complete(bench: SuiteBench, id: string, fence: string, answer: Answer): Promise<number> {
  const { execute } = bench.place;
  if (execute === undefined)
    throw new Error("The place of a store with transactions says how a statement is executed.");
  return execute.call(bench.place, transactionsOf(bench.store).completion(id, fence, answer));
}

function transactionsOf({ transactions }: Store): NonNullable<Store["transactions"]> {
  if (transactions === undefined) throw new Error("The store has no transactions.");
  return transactions;
}

function completionCase(situation: Situation): SuiteCase {
  const open = OPEN.includes(situation);
  return {
    title: `7.1 the completing statement on a record that is ${situation} ${open ? "records the answer" : "changes no row"}`,
    needs: "transactions",
    async run(bench) {
      const record = await SITUATIONS[situation](bench);
      const { id, fence } = record;
      await bench.store.appendStep(id, fence, bytes("a step"));
      const before = await bench.found(id);
      assert.equal(await complete(bench, id, newFence(), answerOf("stale")), 0);
      assert.deepEqual(await bench.found(id), before);
      assert.equal(await complete(bench, id, fence, answerOf("recorded", 201)), open ? 1 : 0);
      const after = await bench.found(id);
      if (!open) return assert.deepEqual(after, before);
      const { endedAt, ...ended } = after ?? record;
      const { payload } = answerOf("recorded");
      assert.deepEqual(ended, { ...ended, ...{ id, fence, state: "done", status: 201, payload, leaseUntil: 0 } });
      assert.ok(endedAt !== null && Math.abs(endedAt - ((await bench.store.find(id))?.now ?? 0)) < 10 * SECOND);
      assert.equal(await bench.store.readSteps(id, fence), null);
      assert.equal(await bench.store.complete(id, fence, answerOf("again")), true, "it can be asked whether it holds");
      assert.deepEqual((await bench.found(id))?.payload, payload);
      assert.equal(await complete(bench, id, fence, answerOf("again")), 0, "no transaction commits it twice");
    },
  };
}

export const transactionCases: readonly SuiteCase[] = [
  ...situations.map(completionCase),
  {
    title: "7.1 the completing statement records payloads byte for byte",
    needs: "transactions",
    async run(bench) {
      const payloads = [
        new Uint8Array(0),
        Uint8Array.from({ length: 256 }, (_, index) => index),
        new Uint8Array(randomBytes(1024 * 1024)),
        new Uint8Array(randomBytes(10_000)).subarray(17, 4_017),
      ];
      for (const payload of payloads) {
        const { id, fence } = await bench.claimed();
        assert.equal(await complete(bench, id, fence, { status: 200, payload }), 1);
        assert.deepEqual(new Uint8Array((await bench.found(id))?.payload ?? [1, 2]), new Uint8Array(payload));
      }
    },
  },
  {
    title: "7.1 of the completing statement and a take-over at the same moment one has its way",
    needs: "transactions",
    async run(bench) {
      for (let round = 0; round < 20; round++) {
        const { id, fence } = await bench.claimed();
        await bench.advance(61 * SECOND);
        const next = newFence();
        const [rows, took] = await Promise.all([
          complete(bench, id, fence, answerOf("owner")),
          bench.store.takeOver(id, fence, { fence: next, leaseMs: 60 * SECOND }),
        ]);
        assert.equal(rows, took ? 0 : 1);
        const found = await bench.found(id);
        assert.deepEqual([found?.state, found?.fence], took ? ["running", next] : ["done", fence]);
      }
    },
  },
  {
    title: "7.1 the completing statement is judged by the database's clock, when it runs",
    needs: "transactions",
    async run(bench) {
      const record = await bench.claimed({ retention: { forMs: 2 * SECOND }, leaseMs: SECOND });
      assert.ok(!isExpired(record, record.createdAt));
      await bench.advance(3 * SECOND);
      assert.equal(await complete(bench, record.id, record.fence, answerOf("late")), 0);
      assert.equal(await bench.found(record.id), null);
    },
  },
];
