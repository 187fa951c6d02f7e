// Cases of SPEC §6: the answers that the layer makes itself; and of `mode: observe` and the history.

import assert from "node:assert/strict";
import type { Run } from "../../core/history.js";
import { type AdapterCase, assertProblem, assertReplay, bodyText, json, until } from "./bench.js";
import { fieldOf, fieldsNamed } from "./http-client.js";

export const ownAnswerCases: readonly AdapterCase[] = [
  {
    title: "6 an answer of the layer's own is a problem with a link to the policy, its length, and nothing to keep",
    async run(bench) {
      const node = await bench.node({ options: { policyDocument: "/.well-known/idempotency", required: true } });
      const answer = await node.send({ key: null });
      const problem = assertProblem(answer, 400, "key_missing");
      assert.deepEqual(Object.keys(problem).sort(), ["code", "detail", "status", "title", "type"]);
      assert.equal(fieldOf(answer, "link"), '</.well-known/idempotency>; rel="describedby"');
      assert.equal(fieldOf(answer, "content-length"), String(answer.body.length));
      assert.deepEqual(fieldsNamed(answer, "content-type"), ["application/problem+json"]);
    },
  },
  {
    title: "6 the profile of Stripe answers as Stripe's clients read it",
    async run(bench) {
      const node = await bench.node({ options: { profile: "stripe" } });
      await node.send();
      const answer = await node.send({ body: '{"amount":2}' });
      assert.equal(answer.status, 400);
      assert.equal(fieldOf(answer, "content-type"), "application/json");
      const { error } = JSON.parse(answer.text) as { readonly error: Readonly<Record<string, unknown>> };
      assert.deepEqual([error["type"], error["code"]], ["idempotency_error", "key_reused"]);
      assert.equal(typeof error["message"], "string");
    },
  },
  {
    title: "5.6 no answer of the layer's own repeats the key, the request or what was compared",
    async run(bench) {
      const node = await bench.node();
      const secret = "s3cr3t-in-the-request";
      await node.send({ key: secret });
      const refused = await node.send({ key: secret, body: JSON.stringify({ note: secret }) });
      assertProblem(refused, 422, "key_reused");
      assert.ok(!JSON.stringify([refused.headers, refused.text]).includes(secret));
    },
  },
];

export const watchCases: readonly AdapterCase[] = [
  {
    title: "13 mode: observe changes nothing, and reports what it would have done",
    async run(bench) {
      const observed: string[] = [];
      const node = await bench.node({
        options: { mode: "observe", onObserved: (run) => void observed.push(String(run.code)) },
        handle: ({ body, claim }, run) => json(201, { run, body: bodyText(body), key: claim?.key }),
      });
      const bodies = ['{"amount":1}', '{"amount":1}', '{"amount":2}'];
      for (const [index, body] of bodies.entries()) {
        const answer = await node.send({ body });
        assert.equal(answer.status, 201);
        assert.ok(answer.text.startsWith(`{"run":${index + 1}`) && answer.text.endsWith('"key":null}'), answer.text);
        assert.equal(fieldOf(answer, "idempotent-replayed"), undefined);
        await until("it is reported", () => observed.length === index + 1);
      }
      assert.deepEqual(observed, ["run", "replay", "key_reused"]);
    },
  },
  {
    title: "13 mode: observe refuses nothing, not even what lacks a key or an account",
    async run(bench) {
      const observed: string[] = [];
      const node = await bench.node({
        options: { mode: "observe", required: true, onObserved: (run) => void observed.push(String(run.code)) },
      });
      for (const request of [{ key: null }, { key: "" }, { account: null }])
        assert.equal((await node.send(request)).status, 201);
      await until("all are reported", () => observed.length === 3);
      assert.deepEqual([...observed].sort(), ["account_unknown", "key_invalid", "key_missing"]);
    },
  },
  {
    title: "11 the history shows each request with a key, and which were duplicates",
    async run(bench) {
      const node = await bench.node();
      assertReplay(await node.send(), await node.send());
      let runs: readonly Run[] = [];
      await until("both are in the history", async () => {
        runs = (await bench.store.history?.listRuns({ limit: 10 }))?.items ?? [];
        return runs.length === 2 && runs.every(({ outcome }) => outcome !== "running");
      });
      const [duplicate, first] = runs;
      assert.deepEqual([first?.outcome, first?.flags, first?.status], ["recorded", [], 201]);
      assert.deepEqual([duplicate?.outcome, duplicate?.flags], ["replayed", ["IDEMPOTENT_REQUEST"]]);
      assert.equal(duplicate?.replayOf, first?.id);
      assert.deepEqual(
        [first?.account, first?.key, first?.method, first?.path],
        ["alice", "k-1", "POST", "/transfers"],
      );
      assert.ok(first?.route.startsWith("POST "), first?.route);
    },
  },
];
