// Heads do what the store in memory does, whatever happens in which order; and clocks that differ harm nobody.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StoredRecord } from "../../../src/core/record.js";
import { decodeEntries } from "../../../src/core/step-log.js";
import type { ClaimRequest, Store } from "../../../src/core/store.js";
import { type Head, momentAt } from "../../../src/stores/heads/head.js";
import * as heads from "../../../src/stores/heads/transitions.js";
import { memoryStore } from "../../../src/stores/memory.js";

const ID = "ab".repeat(32);
const FENCES = ["a", "b", "c"].map((digit) => digit.repeat(32));

function request(fence: string, change: Partial<ClaimRequest> = {}): ClaimRequest {
  const labels = { account: "acme", key: "k", operation: "POST /x", runId: `run of ${fence[0]}` };
  const rest = { fingerprint: null, ageMs: 0, retention: { forMs: 100 }, leaseMs: 30 };
  return { id: ID, fence, ...rest, labels, ...change };
}

/** One record, kept as a head by the simplest loop there can be. */
class Loop {
  head: Head | null = null;

  claim(now: number, claim: ClaimRequest, skewMs = 0): string {
    const move = heads.claim(this.head, momentAt(now, skewMs), claim);
    if (move.met !== "other") this.head = move.next;
    return move.met === "other" ? "found" : "claimed";
  }

  apply(move: heads.Move<boolean>): boolean {
    if (move.next === "delete") this.head = null;
    else if (move.next !== "unchanged") this.head = move.next;
    return move.answer;
  }

  record(now: number, skewMs = 0): StoredRecord | null {
    const found = heads.live(this.head, momentAt(now, skewMs));
    if (found === null) return null;
    const { record, content } = found;
    return record.state === "done" ? { ...record, payload: content.inline } : record;
  }

  steps(now: number, fence: string): readonly Uint8Array[] | null {
    const head = heads.stepsOf(this.head, momentAt(now, 0), fence);
    return head === null ? null : decodeEntries(head.content.inline);
  }
}

type Operation = (loop: Loop, store: Store, now: number) => Promise<readonly [unknown, unknown]>;

const fence = fc.constantFrom(...FENCES);
const byte = fc.integer({ min: 0, max: 255 }).map((value) => Uint8Array.of(value));
const leaseMs = fc.constantFrom(5, 30, 200);

const operations: fc.Arbitrary<Operation> = fc.oneof(
  fc.tuple(fence, leaseMs, fc.constantFrom(0, 10, 100)).map(([f, lease, forMs]): Operation => {
    const claim = request(f, { leaseMs: lease, retention: { forMs } });
    return async (loop, store, now) => [loop.claim(now, claim), (await store.claim(claim)).outcome];
  }),
  fc.tuple(fence, leaseMs).map(([f, lease]): Operation => {
    return async (loop, store, now) => [
      loop.apply(heads.renew(loop.head, momentAt(now, 0), f, lease)),
      await store.renew(ID, f, lease),
    ];
  }),
  fc.tuple(fence, byte).map(([f, payload]): Operation => {
    const answer = { status: 200, payload };
    return async (loop, store, now) => [
      loop.apply(heads.complete(loop.head, momentAt(now, 0), f, answer)),
      await store.complete(ID, f, answer),
    ];
  }),
  fc.tuple(fence, fc.constantFrom("owner" as const, "finder" as const)).map(([f, by]): Operation => {
    return async (loop, store, now) => [
      loop.apply(heads.interrupt(loop.head, momentAt(now, 0), f, 500, by)),
      await store.interrupt(ID, f, 500, by),
    ];
  }),
  fc.tuple(fence, fence, leaseMs, fc.option(fc.constant("next run"))).map(([f, next, lease, runId]): Operation => {
    const change = { fence: next, leaseMs: lease, ...(runId === null ? {} : { runId }) };
    return async (loop, store, now) => [
      loop.apply(heads.takeOver(loop.head, momentAt(now, 0), f, change)),
      await store.takeOver(ID, f, change),
    ];
  }),
  fc.tuple(fence, fence, byte).map(([f, next, payload]): Operation => {
    const change = { fence: next, answer: { status: 201, payload } };
    return async (loop, store, now) => [
      loop.apply(heads.settle(loop.head, momentAt(now, 0), f, change)),
      await store.settle(ID, f, change),
    ];
  }),
  fence.map((f): Operation => {
    return async (loop, store, now) => [
      loop.apply(heads.release(loop.head, momentAt(now, 0), f)),
      await store.release(ID, f),
    ];
  }),
  fc.tuple(fence, byte).map(([f, entry]): Operation => {
    return async (loop, store, now) => [
      loop.apply(heads.appendStep(loop.head, momentAt(now, 0), f, entry)),
      await store.appendStep(ID, f, entry),
    ];
  }),
);

test("4 every operation, in any order and at any time, answers and leaves what the store in memory does", async () => {
  const schedule = fc.array(fc.tuple(fc.constantFrom(0, 1, 5, 29, 30, 100), operations), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(schedule, async (events) => {
      let now = 1_000_000;
      const loop = new Loop();
      const store = memoryStore({ clock: { now: () => now } });
      for (const [pauseMs, operation] of events) {
        now += pauseMs;
        const [mine, reference] = await operation(loop, store, now);
        expect(mine).toEqual(reference);
        expect(loop.record(now)).toEqual((await store.find(ID))?.record ?? null);
        for (const f of FENCES) expect(loop.steps(now, f)).toEqual(await store.readSteps(ID, f));
      }
    }),
    { numRuns: 500 },
  );
});

describe("4.3 with clocks that differ by the largest skew", () => {
  const SKEW = 20;
  const LEASE = 30;
  const START = 1_000_000;
  /** What the judge's clock shows beside the owner's. */
  const JUDGES = { ahead: SKEW, level: 0, behind: -SKEW };

  for (const [how, offset] of Object.entries(JUDGES)) {
    test(`a lease is not lapsed on a clock that is ${how} before it is on its owner's, and at most twice the skew after`, () => {
      const loop = new Loop();
      loop.claim(START, request(FENCES[0] ?? "", { leaseMs: LEASE }), SKEW);
      let lapsedAt: number | null = null;
      for (let passed = 0; lapsedAt === null; passed++) {
        const judge = momentAt(START + passed + offset, SKEW);
        if (heads.interrupt(loop.head, judge, FENCES[0] ?? "", 500, "finder").answer) lapsedAt = passed;
      }
      expect(lapsedAt).toBe(LEASE + SKEW - offset);
      expect(lapsedAt).toBeGreaterThanOrEqual(LEASE);
    });

    test(`P1 a key is not free on a clock that is ${how} before its retention is over on its writer's`, () => {
      const loop = new Loop();
      const first = request(FENCES[0] ?? "", { leaseMs: 1, retention: { forMs: 100 } });
      loop.claim(START, first, SKEW);
      loop.apply(
        heads.complete(loop.head, momentAt(START, SKEW), first.fence, { status: 200, payload: new Uint8Array() }),
      );
      let freeAt: number | null = null;
      for (let passed = 0; freeAt === null; passed++) {
        const met = heads.claim(loop.head, momentAt(START + passed + offset, SKEW), request(FENCES[1] ?? "")).met;
        if (met === "new") freeAt = passed;
      }
      expect(freeAt).toBe(100 + SKEW - offset);
      expect(freeAt).toBeGreaterThanOrEqual(100);
    });
  }
});
