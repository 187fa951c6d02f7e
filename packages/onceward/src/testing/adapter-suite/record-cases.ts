// Cases of SPEC §4: what becomes of a key while its operation runs, and after it.

import assert from "node:assert/strict";
import { type AdapterBench, type AdapterCase, assertProblem, assertReplay, gate, json, text, until } from "./bench.js";
import { claimOf } from "./claim-of.js";
import { fieldOf } from "./http-client.js";

/** Requests that are not the one before, under the same key. */
const OTHERS: readonly (readonly [
  what: string,
  request: Parameters<Awaited<ReturnType<AdapterBench["node"]>>["send"]>[0],
])[] = [
  ["body", { body: '{"amount":2}' }],
  ["path", { path: "/orders" }],
  ["query", { path: "/transfers?dry=1" }],
  ["method", { method: "PUT" }],
  ["media type", { type: "text/plain" }],
];

export const recordCases: readonly AdapterCase[] = [
  {
    title: "P1 P2 a duplicate gets the first answer, and nothing runs",
    async run(bench) {
      const node = await bench.node();
      const first = await node.send();
      assert.deepEqual([first.status, first.text], [201, '{"run":1}']);
      for (let again = 0; again < 3; again += 1) assertReplay(first, await node.send());
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "P2 a duplicate that reaches another node gets it too",
    async run(bench) {
      const [one, other] = [await bench.node(), await bench.node()];
      assertReplay(await one.send(), await other.send());
      assert.equal(bench.runs, 1);
    },
  },
  ...OTHERS.map(([what, request]) => ({
    title: `4 a used key with another ${what} is refused`,
    async run(bench: AdapterBench) {
      const node = await bench.node({ options: { methods: ["POST", "PUT"] } });
      const first = await node.send();
      assertProblem(await node.send(request), 422, "key_reused");
      assert.equal(bench.runs, 1);
      assertReplay(first, await node.send());
    },
  })),
  {
    title: "4 onMismatch: replay gives the first answer to whatever comes under the key",
    async run(bench) {
      const node = await bench.node({ options: { onMismatch: "replay" } });
      assertReplay(await node.send(), await node.send({ body: '{"amount":2}' }));
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4 duplicates: reject refuses what is done already",
    async run(bench) {
      const node = await bench.node({ options: { duplicates: "reject" } });
      await node.send();
      assertProblem(await node.send(), 409, "duplicate");
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4 while the first runs a duplicate is told to come back, another request that the key is used",
    async run(bench) {
      const held = gate();
      const node = await bench.node({
        options: { retryAfter: "2s" },
        handle: async () => {
          await held.opened;
          return json(201, { done: true });
        },
      });
      const first = node.open();
      await until("the first runs", () => bench.runs === 1);
      const duplicate = await node.send();
      assertProblem(duplicate, 409, "in_progress");
      assert.equal(fieldOf(duplicate, "retry-after"), "2");
      assertProblem(await node.send({ body: '{"amount":2}' }), 422, "key_reused");
      held.open();
      assertReplay(await first.whole, await node.send());
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4.13 a duplicate may wait for the running operation, on the same node and on another",
    async run(bench) {
      const held = gate();
      const options = { whileRunning: { wait: "10s" } } as const;
      const handle = async () => {
        await held.opened;
        return json(201, { done: true });
      };
      const [one, other] = [await bench.node({ options, handle }), await bench.node({ options, handle })];
      const first = one.open();
      await until("the first runs", () => bench.runs === 1);
      const waiting = [one.open(), one.open(), other.open()];
      held.open();
      for (const duplicate of waiting) assertReplay(await first.whole, await duplicate.whole);
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4.13 a duplicate that waited in vain is told to come back",
    async run(bench) {
      const held = gate();
      const node = await bench.node({
        options: { whileRunning: { wait: "100ms" } },
        handle: async () => {
          await held.opened;
          return json(201, {});
        },
      });
      const first = node.open();
      await until("the first runs", () => bench.runs === 1);
      assertProblem(await node.send(), 409, "in_progress");
      held.open();
      assert.equal((await first.whole).status, 201);
    },
  },
  {
    title: "P1 of many requests at once one runs, and all that are answered get its answer",
    async run(bench) {
      const nodes = [await bench.node(), await bench.node()];
      const sent = Array.from({ length: 24 }, (_, index) => (nodes[index % 2] ?? nodes[0])?.send());
      const answers = await Promise.all(sent);
      assert.equal(bench.runs, 1);
      for (const answer of answers) assert.ok(answer?.text === '{"run":1}' || answer?.status === 409, answer?.text);
    },
  },
  {
    title: "4.3 the lease is renewed while the operation runs",
    async run(bench) {
      const held = gate();
      const options = { lease: "300ms" } as const;
      const node = await bench.node({
        options,
        handle: async () => {
          await held.opened;
          return json(201, {});
        },
      });
      const startedAt = bench.now();
      const first = node.open();
      await until("the first runs", () => bench.runs === 1);
      await until("three leases are over", () => bench.now() > startedAt + 900);
      assertProblem(await node.send(), 409, "in_progress");
      held.open();
      assertReplay(await first.whole, await node.send());
    },
  },
  {
    title: "4.4 the answer is recorded before its first byte is sent",
    async run(bench) {
      const node = await bench.node({ handle: () => text(200, "recorded first") });
      bench.store.plan = ({ operation }) => (operation === "complete" ? { kind: "delay", ms: 150 } : undefined);
      const exchange = node.open();
      await exchange.head;
      assert.equal((await bench.store.list({ state: "done", limit: 10 })).items.length, 1);
      assert.equal((await exchange.whole).text, "recorded first");
    },
  },
  {
    title: "4.5 an operation that did not start leaves its key unused, and its answer is sent as it is",
    async run(bench) {
      const node = await bench.node({
        handle(request, run) {
          if (run > 1) return json(201, { run });
          claimOf(request).notStarted();
          return json(422, { field: "amount" }, [["X-Reason", "validation"]]);
        },
      });
      const refused = await node.send();
      assert.deepEqual([refused.status, refused.text], [422, '{"field":"amount"}']);
      assert.equal(fieldOf(refused, "x-reason"), "validation");
      assert.equal((await bench.store.list({ limit: 10 })).items.length, 0);
      // Another body, as of a client that mended its request.
      const mended = await node.send({ body: '{"amount":3}' });
      assert.deepEqual([mended.status, mended.text], [201, '{"run":2}']);
      assertReplay(mended, await node.send({ body: '{"amount":3}' }));
    },
  },
  {
    title: "4.5 an operation that did not start may answer by throwing",
    async run(bench) {
      const node = await bench.node({
        handle(request, run) {
          if (run > 1) return json(201, { run });
          claimOf(request).notStarted();
          throw new Error("refused");
        },
      });
      assert.ok((await node.send()).status >= 400);
      assert.equal((await node.send()).text, '{"run":2}');
    },
  },
  {
    title: "4.8 statuses that the policy lists as not started leave the key unused",
    async run(bench) {
      const node = await bench.node({
        options: { notStarted: [400] },
        handle: (_request, run) => (run === 1 ? text(400, "no") : json(201, { run })),
      });
      assert.deepEqual([(await node.send()).text, (await node.send()).text], ["no", '{"run":2}']);
    },
  },
  ...[400, 404, 422, 500, 503].map((status) => ({
    title: `4.8 an answer of ${status} of an operation that started is recorded`,
    async run(bench: AdapterBench) {
      const node = await bench.node({
        handle: (_request, run) => text(status, `run ${run}`, status === 503 ? [["Retry-After", "7"]] : []),
      });
      assertReplay(await node.send(), await node.send());
      assert.equal(bench.runs, 1);
    },
  })),
  {
    title: "4.9 a status that means unknown leaves the outcome unknown",
    async run(bench) {
      const node = await bench.node({ options: { unknownStatuses: [502] }, handle: () => text(502, "lost") });
      assertProblem(await node.send(), 502, "outcome_unknown");
      assertProblem(await node.send(), 502, "outcome_unknown");
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4.10 when the retention is over the key is unused again",
    async run(bench) {
      const node = await bench.node({ options: { retention: "1h" } });
      const first = await node.send();
      bench.advance(3_590_000);
      assertReplay(first, await node.send());
      bench.advance(11_000);
      assert.equal((await node.send({ body: '{"amount":9}' })).text, '{"run":2}');
    },
  },
  {
    title: "8.1 a request may say when its key expires, within bounds",
    async run(bench) {
      const expiration = { header: "X-Expires", min: "1h", max: "2h" } as const;
      const node = await bench.node({ options: { expiration } });
      assertProblem(await node.send({ headers: [["X-Expires", "tomorrow"]] }), 400, "expiration_invalid");
      assert.equal(bench.runs, 0);
      const expires: readonly [string, string] = ["X-Expires", String(Date.now() + 5_400_000)];
      const first = await node.send({ headers: [expires] });
      bench.advance(5_000_000);
      assertReplay(first, await node.send({ headers: [["X-Expires", "tomorrow"]] }));
      bench.advance(500_000);
      assert.equal((await node.send()).text, '{"run":2}');
    },
  },
];
