// Cases of SPEC §3: whose key it is.

import assert from "node:assert/strict";
import { headerValue } from "../../http/message.js";
import { type AdapterCase, assertProblem, assertReplay, json } from "./bench.js";
import { fieldOf } from "./http-client.js";

export const accountCases: readonly AdapterCase[] = [
  {
    title: "S1 a request of no known account is refused, and nothing runs",
    async run(bench) {
      const node = await bench.node();
      assertProblem(await node.send({ account: null }), 400, "account_unknown");
      assert.equal(bench.runs, 0);
    },
  },
  {
    title: "S1 the account may take its time, and is the one that the handler sees",
    async run(bench) {
      const node = await bench.node({
        options: {
          account: async (_request, headers) => {
            await new Promise((resolve) => setTimeout(resolve, 5));
            return { kind: "account", account: `id:${headerValue(headers, "x-account")}`, label: "shown" };
          },
        },
        handle: ({ claim }) => json(200, { account: claim?.account, key: claim?.key }),
      });
      assert.equal((await node.send()).text, '{"account":"id:alice","key":"k-1"}');
    },
  },
  {
    title: "S1 a caller whose credential does not verify is refused with its challenge",
    async run(bench) {
      const wwwAuthenticate = 'Bearer error="invalid_token"';
      const detail = "The token has expired.";
      const node = await bench.node({
        options: { account: () => ({ kind: "refused", status: 401, detail, wwwAuthenticate }) },
      });
      const answer = await node.send();
      assert.equal(assertProblem(answer, 401, "account_unknown")["detail"], detail);
      assert.equal(fieldOf(answer, "www-authenticate"), wwwAuthenticate);
      assert.equal(bench.runs, 0);
    },
  },
  {
    title: "S1 P4 an account resolver that fails ends the request before anything runs, and uses no key",
    async run(bench) {
      let fails = true;
      const node = await bench.node({
        options: {
          account: () => {
            if (fails) throw new Error("the directory is down");
            return "alice";
          },
        },
      });
      assert.ok((await node.send()).status >= 500);
      assert.equal(bench.runs, 0);
      fails = false;
      assert.equal((await node.send()).status, 201);
    },
  },
  {
    title: "S1 a request without a key has no need of an account",
    async run(bench) {
      let asked = 0;
      const node = await bench.node({ options: { account: () => `alice-${++asked}` } });
      assert.equal((await node.send({ key: null, account: null })).status, 201);
      assert.equal(asked, 0);
    },
  },
  {
    title: "P3 S7 two accounts with one key do not meet",
    async run(bench) {
      const node = await bench.node();
      const alice = await node.send({ account: "alice" });
      const bob = await node.send({ account: "bob", body: '{"amount":2}' });
      assert.deepEqual([alice.text, bob.text], ['{"run":1}', '{"run":2}']);
      assertReplay(alice, await node.send({ account: "alice" }));
      assertReplay(bob, await node.send({ account: "bob", body: '{"amount":2}' }));
      assert.equal(bench.runs, 2);
    },
  },
  {
    title: "S4 an account and a key are joined so that no other two are the same",
    async run(bench) {
      const node = await bench.node();
      await node.send({ account: "a:b", key: "c" });
      assert.equal(fieldOf(await node.send({ account: "a", key: "b:c" }), "idempotent-replayed"), undefined);
      assert.equal(bench.runs, 2);
    },
  },
  {
    title: "S5 namespaces and environments do not meet",
    async run(bench) {
      const nodes = [
        await bench.node(),
        await bench.node({ options: { namespace: "other" } }),
        await bench.node({ options: { environment: "test" } }),
        await bench.node({ options: { environment: () => "sandbox" } }),
      ];
      for (const node of nodes) assert.equal((await node.send()).status, 201);
      assert.equal(bench.runs, 4);
      for (const node of nodes) assert.equal(fieldOf(await node.send(), "idempotent-replayed"), "true");
      assert.equal(bench.runs, 4);
    },
  },
  {
    title: "S6 before a replay the application is asked, and may refuse it",
    async run(bench) {
      let may = true;
      let asked = 0;
      const node = await bench.node({
        options: {
          authorizeReplay: async () => {
            asked += 1;
            return may;
          },
        },
      });
      const first = await node.send();
      assert.equal(asked, 0);
      assertReplay(first, await node.send());
      may = false;
      assertProblem(await node.send(), 403, "replay_refused");
      assert.deepEqual([asked, bench.runs], [2, 1]);
    },
  },
  {
    title: "4 scope: account+operation keeps the same key of two operations apart",
    async run(bench) {
      const node = await bench.node({ options: { scope: "account+operation" } });
      const first = await node.send();
      assert.equal((await node.send({ path: "/orders" })).text, '{"run":2}');
      assertReplay(first, await node.send());
    },
  },
];
