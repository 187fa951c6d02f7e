// Cases of SPEC §2: the key, and requests without one.

import assert from "node:assert/strict";
import { type AdapterCase, assertProblem, assertReplay, bodyText, OPEN_PATH, text } from "./bench.js";
import { fieldOf } from "./http-client.js";

const UNREADABLE: readonly (readonly [what: string, value: string])[] = [
  ["is empty", ""],
  ["is an empty string", '""'],
  ["is too long", "k".repeat(256)],
  ["is never closed", '"open'],
  ["is a list", '"one", "two"'],
  ["holds a comma", "one,two"],
  ["holds a space", "one two"],
  ["is not ASCII", "caf\u00e9"],
];

export const keyCases: readonly AdapterCase[] = [
  {
    title: "K1 the header's name compares case-insensitively",
    async run(bench) {
      const node = await bench.node();
      const first = await node.send({ key: null, headers: [["idempotency-key", "k-1"]] });
      assertReplay(first, await node.send({ key: null, headers: [["IDEMPOTENCY-KEY", "k-1"]] }));
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "K1 the header's name is a setting",
    async run(bench) {
      const node = await bench.node({ options: { header: "X-Request-Token" } });
      const first = await node.send({ key: null, headers: [["X-Request-Token", "k-1"]] });
      assertReplay(first, await node.send({ key: null, headers: [["x-request-token", "k-1"]] }));
      await node.send();
      assert.equal(bench.runs, 2);
    },
  },
  {
    title: "K2 both spellings of a key are the same key, whatever parameters follow",
    async run(bench) {
      const node = await bench.node();
      const first = await node.send({ key: "k-1" });
      assertReplay(first, await node.send({ key: '"k-1"' }));
      assertReplay(first, await node.send({ key: '"k-1";v=1' }));
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "K2 a strict policy takes the quoted spelling only",
    async run(bench) {
      const node = await bench.node({ options: { strict: true } });
      assertProblem(await node.send({ key: "k-1" }), 400, "key_invalid");
      assert.equal((await node.send({ key: '"k-1"' })).status, 201);
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "K3 a quoted key may hold spaces, commas and escaped quotes",
    async run(bench) {
      const node = await bench.node();
      const key = '"a, \\"b\\" c"';
      assertReplay(await node.send({ key }), await node.send({ key }));
      assert.equal(bench.runs, 1);
    },
  },
  ...UNREADABLE.map(([what, key]) => ({
    title: `K4 K6 a key that ${what} is refused, and nothing runs`,
    async run(bench: Parameters<AdapterCase["run"]>[0]) {
      const node = await bench.node();
      assertProblem(await node.send({ key }), 400, "key_invalid");
      assert.equal(bench.runs, 0);
    },
  })),
  {
    title: "K4 a header that is sent twice is refused, equal or not",
    async run(bench) {
      const node = await bench.node();
      assertProblem(await node.send({ headers: [["Idempotency-Key", "k-2"]] }), 400, "key_invalid");
      assertProblem(await node.send({ headers: [["Idempotency-Key", "k-1"]] }), 400, "key_invalid");
      assert.equal(bench.runs, 0);
    },
  },
  {
    title: "K4 the bound on a key's length is a setting",
    async run(bench) {
      const node = await bench.node({ options: { keyMaxLength: 4 } });
      assertProblem(await node.send({ key: "12345" }), 400, "key_invalid");
      assert.equal((await node.send({ key: '"1234"' })).status, 201);
    },
  },
  {
    title: "K5 keys are compared exactly",
    async run(bench) {
      const node = await bench.node();
      for (const key of ["Key", "key", "key ", '" key"', "k%65y"]) assert.equal((await node.send({ key })).status, 201);
      // A space after a bare key is no part of it.
      assert.equal(bench.runs, 4);
    },
  },
  {
    title: "K7 without a key a request passes through untouched, each time",
    async run(bench) {
      const node = await bench.node({
        handle: ({ body }, run) => text(202, `${run} ${bodyText(body)}`, [["X-Own", "yes"]]),
      });
      for (const run of [1, 2]) {
        const answer = await node.send({ key: null });
        assert.deepEqual([answer.status, answer.text], [202, `${run} {"amount":1}`]);
        assert.equal(fieldOf(answer, "x-own"), "yes");
        assert.equal(fieldOf(answer, "idempotent-replayed"), undefined);
      }
      assert.equal((await bench.store.list({ limit: 10 })).items.length, 0);
    },
  },
  {
    title: "K7 a key that is required and missing is refused, and nothing runs",
    async run(bench) {
      const node = await bench.node({ options: { required: true } });
      assertProblem(await node.send({ key: null }), 400, "key_missing");
      assert.equal(bench.runs, 0);
      assert.equal((await node.send()).status, 201);
    },
  },
  ...["GET", "HEAD", "OPTIONS"].map((method) => ({
    title: `K8 ${method} is not keyed, and a key is not required of it`,
    async run(bench: Parameters<AdapterCase["run"]>[0]) {
      const node = await bench.node({ options: { required: true, methods: method === "GET" ? ["POST"] : "all" } });
      for (const key of ["k-1", "k-1", null]) {
        const answer = await node.send({ method, key });
        assert.equal(answer.status, 201);
        assert.equal(fieldOf(answer, "idempotent-replayed"), undefined);
        assert.equal(fieldOf(answer, "idempotency-status"), undefined);
      }
      assert.equal(bench.runs, 3);
    },
  })),
  {
    title: "K8 a key that is not heeded is announced where the policy says so",
    async run(bench) {
      const node = await bench.node({ options: { announceIgnored: true } });
      const ignored = await node.send({ method: "PUT" });
      assert.equal(fieldOf(ignored, "idempotency-status"), "ignored");
      assert.deepEqual([ignored.status, ignored.text], [201, '{"run":1}']);
      assert.equal(fieldOf(await node.send({ method: "HEAD" }), "idempotency-status"), "ignored");
      assert.equal(fieldOf(await node.send({ method: "PUT", key: null }), "idempotency-status"), undefined);
      assert.equal(fieldOf(await node.send(), "idempotency-status"), undefined);
    },
  },
  ...["GET", "PUT", "PATCH", "DELETE"].map((method) => ({
    title: `K8 ${method} is keyed where the policy covers it`,
    async run(bench: Parameters<AdapterCase["run"]>[0]) {
      const node = await bench.node({ options: { methods: "all" } });
      assertReplay(await node.send({ method }), await node.send({ method }));
      assert.equal(bench.runs, 1);
    },
  })),
  {
    title: "K8 on a route without the middleware a key means nothing",
    async run(bench) {
      const node = await bench.node();
      await node.send({ path: OPEN_PATH });
      assert.equal(fieldOf(await node.send({ path: OPEN_PATH }), "idempotent-replayed"), undefined);
      assert.equal(bench.runs, 2);
    },
  },
];
