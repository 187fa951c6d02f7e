// Cases of many callers at the same moment, in one process.

import assert from "node:assert/strict";
import type { Store } from "../../core/store.js";
import {
  answerOf,
  claimOf,
  newFence,
  newId,
  recordIn,
  SECOND,
  type SuiteBench,
  type SuiteCase,
  together,
} from "./suite-case.js";

const CALLERS = 64;

/** The stores that callers take turns with: two on the same data where the store is shared. */
async function storesOf(bench: SuiteBench): Promise<readonly [Store, Store]> {
  return [bench.store, bench.capabilities.shared ? await bench.open() : bench.store];
}

export const raceCases: readonly SuiteCase[] = [
  {
    title: `P1 of ${CALLERS} simultaneous claims of a key one wins, and the others find it`,
    async run(bench) {
      const stores = await storesOf(bench);
      for (let round = 0; round < 10; round++) {
        const id = newId();
        const results = await together(CALLERS, (index) => stores[index % 2 === 0 ? 0 : 1].claim(claimOf({ id })));
        const winners = results.filter(({ outcome }) => outcome === "claimed");
        assert.equal(winners.length, 1);
        const fences = new Set(results.map((result) => recordIn(result).fence));
        assert.equal(fences.size, 1, "all of them see the winner's fence");
      }
    },
  },
  {
    title: `P1 of ${CALLERS} simultaneous take-overs of a lapsed claim one wins`,
    async run(bench) {
      const stores = await storesOf(bench);
      const record = await bench.claimed();
      await bench.advance(61 * SECOND);
      const fences = Array.from({ length: CALLERS }, newFence);
      const wins = await together(CALLERS, (index) =>
        stores[index % 2 === 0 ? 0 : 1].takeOver(record.id, record.fence, {
          fence: fences[index] ?? "",
          leaseMs: 60 * SECOND,
        }),
      );
      assert.equal(wins.filter(Boolean).length, 1);
      const found = await bench.found(record.id);
      assert.deepEqual([found?.state, found?.fence], ["running", fences[wins.indexOf(true)]]);
    },
  },
  {
    title: `4.14 of ${CALLERS} simultaneous verdicts on an unknown one holds`,
    async run(bench) {
      const stores = await storesOf(bench);
      const record = await bench.claimed();
      await bench.store.interrupt(record.id, record.fence, 500, "owner");
      const wins = await together(CALLERS, (index) =>
        stores[index % 2 === 0 ? 0 : 1].settle(record.id, record.fence, {
          fence: newFence(),
          answer: answerOf(`verdict ${index}`),
        }),
      );
      assert.equal(wins.filter(Boolean).length, 1);
      assert.deepEqual((await bench.found(record.id))?.payload, answerOf(`verdict ${wins.indexOf(true)}`).payload);
    },
  },
  {
    title: "4.2 owner, finder, successor and operator at the same moment: whoever was told yes last is right",
    async run(bench) {
      const stores = await storesOf(bench);
      for (let round = 0; round < 20; round++) {
        const record = await bench.claimed();
        await bench.advance(61 * SECOND);
        const [one, two] = round % 2 === 0 ? stores : [stores[1], stores[0]];
        const successor = newFence();
        const operator = newFence();
        const [, took, settled, completed] = await Promise.all([
          one.interrupt(record.id, record.fence, 500, "finder"),
          two.takeOver(record.id, record.fence, { fence: successor, leaseMs: 60 * SECOND }),
          one.settle(record.id, record.fence, { fence: operator, answer: answerOf("operator") }),
          two.complete(record.id, record.fence, answerOf("owner")),
        ]);
        assert.equal([took, settled, completed].filter(Boolean).length, 1, "one of them ends the first claim");
        const found = await bench.found(record.id);
        const expected = took
          ? { state: "running", fence: successor }
          : { state: "done", fence: settled ? operator : record.fence };
        assert.deepEqual({ state: found?.state, fence: found?.fence }, expected);
      }
    },
  },
  {
    title: `P1 ${CALLERS} callers with a key each do not disturb each other`,
    async run(bench) {
      const stores = await storesOf(bench);
      const ids = await together(CALLERS, async (index) => {
        const request = claimOf({ key: `key-${index}` });
        const store = stores[index % 2 === 0 ? 0 : 1];
        assert.equal((await store.claim(request)).outcome, "claimed");
        assert.equal(await store.renew(request.id, request.fence, 30 * SECOND), true);
        assert.equal(await store.complete(request.id, request.fence, answerOf(`answer ${index}`)), true);
        return request.id;
      });
      await together(CALLERS, async (index) => {
        assert.deepEqual((await bench.found(ids[index] ?? ""))?.payload, answerOf(`answer ${index}`).payload);
      });
    },
  },
  {
    title: "4.5 a key that is released again and again goes to one caller at a time",
    async run(bench) {
      const stores = await storesOf(bench);
      const id = newId();
      let holders = 0;
      let turns = 0;
      await together(16, async (index) => {
        const store = stores[index % 2 === 0 ? 0 : 1];
        for (let left = 8; left > 0; ) {
          const request = claimOf({ id });
          const { outcome } = await store.claim(request);
          // Turns of the event loop, since a store in memory answers within one, and nobody else would ever get on.
          await new Promise((resolve) => setImmediate(resolve));
          if (outcome !== "claimed") continue;
          holders += 1;
          assert.equal(holders, 1, "two hold the key");
          await new Promise((resolve) => setImmediate(resolve));
          holders -= 1;
          assert.equal(await store.release(id, request.fence), true);
          turns += 1;
          left -= 1;
        }
      });
      assert.equal(turns, 16 * 8);
    },
  },
];
