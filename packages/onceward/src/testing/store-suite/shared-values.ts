// Cases of shared values, and of closing.

import assert from "node:assert/strict";
import { isIdempotencyError } from "../../core/errors.js";
import { answerOf, claimOf, newFence, SECOND, type SuiteCase, together } from "./suite-case.js";

const bytes = (text: string) => new TextEncoder().encode(text);

export const sharedValueCases: readonly SuiteCase[] = [
  {
    title: "S1 a shared value is set only where it is what was expected",
    async run({ store }) {
      assert.equal(await store.getShared("accountKey"), null);
      assert.equal(await store.setShared("accountKey", bytes("one"), bytes("zero")), false);
      assert.equal(await store.getShared("accountKey"), null);
      assert.equal(await store.setShared("accountKey", bytes("one"), null), true);
      assert.equal(await store.setShared("accountKey", bytes("two"), null), false);
      assert.equal(await store.setShared("accountKey", bytes("two"), bytes("One")), false);
      assert.deepEqual(new Uint8Array((await store.getShared("accountKey")) ?? []), bytes("one"));
      assert.equal(await store.setShared("accountKey", bytes("two"), bytes("one")), true);
      assert.deepEqual(new Uint8Array((await store.getShared("accountKey")) ?? []), bytes("two"));
      assert.equal(await store.getShared("accountkey"), null);
    },
  },
  {
    title: "S1 shared values and their names are kept exactly, empty ones too",
    async run({ store }) {
      for (const name of ["a", "A", "a ", "a\0", "a%", "é", "e\u0301"]) {
        const value = Uint8Array.from({ length: 256 }, (_, index) => (index + name.length) % 256);
        assert.equal(await store.setShared(name, new Uint8Array(0), null), true, JSON.stringify(name));
        assert.equal((await store.getShared(name))?.byteLength, 0);
        assert.equal(await store.setShared(name, value, null), false);
        assert.equal(await store.setShared(name, value, new Uint8Array(0)), true);
        assert.deepEqual(new Uint8Array((await store.getShared(name)) ?? []), value);
        assert.equal(await store.setShared(name, bytes(name), value), true);
      }
    },
  },
  {
    title: "S1 of 64 who set a shared value first one wins, and all then read the same",
    async run({ store }) {
      const wins = await together(64, (index) => store.setShared("first", bytes(`value ${index}`), null));
      assert.equal(wins.filter(Boolean).length, 1);
      assert.deepEqual(new Uint8Array((await store.getShared("first")) ?? []), bytes(`value ${wins.indexOf(true)}`));
    },
  },
];

export const lifecycleCases: readonly SuiteCase[] = [
  {
    title: "4.4 what is under way when a store closes is finished",
    async run(bench) {
      const store = await bench.open();
      const requests = Array.from({ length: 50 }, () => claimOf());
      const claims = requests.map((request) => store.claim(request));
      await store.close();
      for (const { outcome } of await Promise.all(claims)) assert.equal(outcome, "claimed");
      if (!bench.capabilities.shared) return;
      for (const { id, fence } of requests) assert.equal((await bench.found(id))?.fence, fence);
    },
  },
  {
    title: "4.11 a closed store refuses every operation with store_closed",
    async run(bench) {
      const store = await bench.open();
      const request = claimOf();
      await store.claim(request);
      await store.close();
      const { id, fence } = request;
      const attempts: ReadonlyArray<() => Promise<unknown>> = [
        () => store.claim(request),
        () => store.renew(id, fence, SECOND),
        () => store.complete(id, fence, answerOf("")),
        () => store.interrupt(id, fence, 500, "owner"),
        () => store.takeOver(id, fence, { fence: newFence(), leaseMs: SECOND }),
        () => store.settle(id, fence, { fence: newFence(), answer: answerOf("") }),
        () => store.release(id, fence),
        () => store.appendStep(id, fence, bytes("step")),
        () => store.readSteps(id, fence),
        () => store.find(id),
        () => store.list({ limit: 1 }),
        () => store.purge(1),
        () => store.getShared("name"),
        () => store.setShared("name", bytes("value"), null),
        () => store.open(),
      ];
      for (const attempt of attempts) {
        await assert.rejects(attempt, (error) => isIdempotencyError(error, "store_closed"), String(attempt));
      }
      await store.close();
    },
  },
  {
    title: "P1 what was acknowledged is there for whoever opens the data next",
    needs: "shared",
    async run(bench) {
      const first = await bench.open();
      const request = claimOf();
      await first.claim(request);
      await first.complete(request.id, request.fence, answerOf("kept"));
      await first.setShared("name", bytes("value"), null);
      await first.close();
      const second = await bench.open();
      assert.deepEqual((await second.find(request.id))?.record.payload, answerOf("kept").payload);
      assert.deepEqual(new Uint8Array((await second.getShared("name")) ?? []), bytes("value"));
    },
  },
];
