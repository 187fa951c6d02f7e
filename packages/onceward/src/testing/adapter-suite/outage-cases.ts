// Cases of SPEC §4 where something dies: owners, clients, handlers, the store.

import assert from "node:assert/strict";
import { IdempotencyError } from "../../core/errors.js";
import type { FaultStore } from "../fault-store.js";
import {
  type AdapterBench,
  type AdapterCase,
  assertProblem,
  assertReplay,
  bodyText,
  type Gate,
  gate,
  json,
  type NodeSettings,
  type SuiteNode,
  streamed,
  until,
} from "./bench.js";
import { claimOf } from "./claim-of.js";
import { fieldOf, type WireExchange } from "./http-client.js";

/** A node that was cut off from the store while it ran, and whose lease has lapsed. */
interface CutOff {
  readonly node: SuiteNode;
  readonly exchange: WireExchange;
  /** Its view of the store; healed when its plan is replaced. */
  readonly view: FaultStore;
  /** Lets its handler go on. */
  readonly held: Gate;
}

const LEASE_MS = 1_000;

async function cutOff(bench: AdapterBench, options: NodeSettings["options"] = {}): Promise<CutOff> {
  const held = gate();
  const view = bench.ownView();
  const node = await bench.node({
    options: { lease: LEASE_MS, storeTimeoutMs: 200, ...options, store: view },
    handle: async (_request, run) => {
      await held.opened;
      return json(201, { late: run });
    },
  });
  const exchange = node.open();
  await until("it runs", () => bench.runs === 1);
  view.plan = () => ({ kind: "fail" });
  bench.advance(LEASE_MS * 2);
  return { node, exchange, view, held };
}

const lease = { lease: LEASE_MS };

export const outageCases: readonly AdapterCase[] = [
  {
    title: "4.6 hold: an interrupted operation is answered as unknown, by every node, and never run again",
    async run(bench) {
      const { exchange, view, held } = await cutOff(bench);
      const other = await bench.node({ options: lease });
      assertProblem(await other.send(), 500, "outcome_unknown");
      assertProblem(await other.send(), 500, "outcome_unknown");
      assertProblem(await other.send({ body: '{"amount":2}' }), 422, "key_reused");
      // A stalled owner that comes back may still record its answer (SPEC §4.2).
      view.plan = () => undefined;
      held.open();
      assertReplay(await exchange.whole, await other.send());
      assert.equal(bench.runs, 1);
    },
  },
  {
    title:
      "4.6 rerun: an interrupted operation is taken over; its stalled owner's client is told to fetch the one answer",
    async run(bench) {
      const options = { ...lease, onInterrupted: "rerun" } as const;
      const { node, exchange, view, held } = await cutOff(bench, options);
      const seen: boolean[] = [];
      const other = await bench.node({
        options,
        handle: (request, run) => {
          seen.push(claimOf(request).tookOver);
          return json(201, { run });
        },
      });
      const answer = await other.send();
      assert.deepEqual([answer.text, seen], ['{"run":2}', [true]]);
      view.plan = () => undefined;
      held.open();
      const late = await exchange.whole;
      assertProblem(late, 409, "in_progress");
      assert.ok(fieldOf(late, "retry-after") !== undefined);
      assertReplay(answer, await node.send());
    },
  },
  {
    title: "4.2 the handler's signal is aborted when its claim is lost",
    async run(bench) {
      const options = { ...lease, onInterrupted: "rerun" } as const;
      const view = bench.ownView();
      let signal: AbortSignal | undefined;
      const node = await bench.node({
        options: { ...options, store: view },
        handle: async (request) => {
          signal = claimOf(request).signal;
          await until("the claim is lost", () => signal?.aborted === true);
          return json(201, {});
        },
      });
      const first = node.open();
      await until("it runs", () => bench.runs === 1);
      bench.advance(LEASE_MS * 2);
      const other = await bench.node({ options });
      assert.equal((await other.send()).text, '{"run":2}');
      assertProblem(await first.whole, 409, "in_progress");
    },
  },
  {
    title: "4.6 recover: whoever is asked may know the answer, or that it never happened",
    async run(bench) {
      const body = new TextEncoder().encode("from the ledger");
      const verdicts = [
        { outcome: "unknown" },
        { outcome: "done", response: { status: 202, headers: [["X-From", "ledger"]], body } },
      ] as const;
      const asked: string[] = [];
      const options = {
        ...lease,
        onInterrupted: async ({ account, key, operation }: { account: string; key: string; operation: string }) => {
          asked.push(`${account} ${key} ${operation}`);
          return verdicts[asked.length - 1] ?? verdicts[1];
        },
      };
      const { held } = await cutOff(bench, options);
      const other = await bench.node({ options });
      assertProblem(await other.send(), 500, "outcome_unknown");
      const known = await other.send();
      assert.deepEqual([known.status, known.text, fieldOf(known, "x-from")], [202, "from the ledger", "ledger"]);
      assert.deepEqual(asked, ["alice k-1 POST /transfers", "alice k-1 POST /transfers"]);
      assert.equal(bench.runs, 1);
      held.open();
    },
  },
  {
    title: "4.7 the operation finishes and is recorded although its client went away",
    async run(bench) {
      const held = gate();
      const node = await bench.node({
        handle: async (_request, run) => {
          await held.opened;
          return json(201, { run });
        },
      });
      const exchange = node.open();
      await until("it runs", () => bench.runs === 1);
      exchange.leave();
      // Long enough for the server to have seen it.
      await new Promise((resolve) => setTimeout(resolve, 50));
      assertProblem(await node.send(), 409, "in_progress");
      held.open();
      await until(
        "it is recorded",
        async () => (await bench.store.list({ state: "done", limit: 1 })).items.length === 1,
      );
      const replay = await node.send();
      assert.deepEqual(
        [replay.status, replay.text, fieldOf(replay, "idempotent-replayed")],
        [201, '{"run":1}', "true"],
      );
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4.7 an answer that streams is finished although its client went away",
    async run(bench) {
      const held = gate();
      let finished = false;
      const node = await bench.node({
        handle: () =>
          streamed(
            (async function* () {
              yield new TextEncoder().encode("data: 1\n\n");
              await held.opened;
              yield new TextEncoder().encode("data: 2\n\n");
              finished = true;
            })(),
            "text/event-stream",
          ),
      });
      const exchange = node.open();
      await until("it streams", () => exchange.received() !== "");
      exchange.leave();
      await new Promise((resolve) => setTimeout(resolve, 50));
      held.open();
      await until("it is finished", () => finished);
      assertProblem(await node.send(), 409, "response_not_kept");
    },
  },
  {
    title: "5.5 an upload that breaks off claims nothing",
    async run(bench) {
      const node = await bench.node();
      const upload = node.open({ body: '{"amount":' }, { announcedBytes: 1_000 });
      await new Promise((resolve) => setTimeout(resolve, 50));
      upload.leave();
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal((await bench.store.list({ limit: 1 })).items.length, 0);
      assert.equal((await node.send()).text, '{"run":1}');
    },
  },
  {
    title: "4.8 a handler that throws: the framework's own answer is recorded, and the handler not run again",
    async run(bench) {
      const node = await bench.node({
        handle: () => {
          throw new Error("boom");
        },
      });
      const first = await node.send();
      assert.equal(first.status, 500);
      assertReplay(first, await node.send());
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4.8 a handler that throws what is no Error leaves no key wedged",
    async run(bench) {
      const node = await bench.node({
        handle: () => {
          throw "not an Error";
        },
      });
      const first = await node.send();
      const second = await node.send();
      assert.ok(first.status >= 500 && second.status >= 500, `${first.status} ${second.status}`);
      assert.equal(bench.runs, 1);
      assert.equal((await bench.store.list({ state: "running", limit: 1 })).items.length, 0);
    },
  },
  {
    title: "4.11 a store out of reach at the claim: 503, and nothing runs",
    async run(bench) {
      const node = await bench.node();
      bench.store.plan = ({ operation }) => (operation === "claim" ? { kind: "fail" } : undefined);
      const answer = await node.send();
      assertProblem(answer, 503, "store_unavailable");
      assert.equal(fieldOf(answer, "retry-after"), "1");
      assert.equal((await node.send({ key: null })).status, 201);
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4.11 a store that does not answer: 503 in the time that is set",
    async run(bench) {
      const node = await bench.node({ options: { storeTimeoutMs: 100 } });
      bench.store.plan = ({ operation }) => (operation === "claim" ? { kind: "hang", effect: false } : undefined);
      assertProblem(await node.send(), 503, "store_unavailable");
      assert.equal(bench.runs, 0);
    },
  },
  {
    title: "4.11 onStoreError: bypass runs unprotected, with the body whole",
    async run(bench) {
      const node = await bench.node({
        options: { onStoreError: "bypass" },
        handle: ({ body, claim }, run) => json(201, { run, body: bodyText(body), key: claim?.key }),
      });
      bench.store.plan = ({ operation }) => (operation === "claim" ? { kind: "fail" } : undefined);
      for (const run of [1, 2]) {
        const answer = await node.send();
        assert.equal(answer.status, 201);
        assert.ok(answer.text.includes("amount") && answer.text.includes(`"run":${run}`), answer.text);
        assert.ok(answer.text.includes('"key":null'), "unprotected there is no key");
      }
    },
  },
  {
    title: "4.11 a store out of reach at the recording: under hold the client has its answer, which is recorded later",
    async run(bench) {
      const node = await bench.node();
      let failures = 0;
      bench.store.plan = ({ operation }) =>
        operation === "complete" && ++failures <= 2 ? { kind: "fail" } : undefined;
      const first = await node.send();
      assert.deepEqual([first.status, first.text], [201, '{"run":1}']);
      await until(
        "it is recorded",
        async () => (await bench.store.list({ state: "done", limit: 1 })).items.length === 1,
      );
      assertReplay(first, await node.send());
    },
  },
  {
    title:
      "4.11 a store out of reach at the recording: where somebody may take over the client must not have its answer",
    async run(bench) {
      const node = await bench.node({ options: { onInterrupted: "rerun" } });
      let failures = 0;
      bench.store.plan = ({ operation }) =>
        operation === "complete" && ++failures <= 2 ? { kind: "fail" } : undefined;
      assertProblem(await node.send(), 503, "outcome_unknown");
      await until(
        "it is recorded",
        async () => (await bench.store.list({ state: "done", limit: 1 })).items.length === 1,
      );
      assert.equal((await node.send()).text, '{"run":1}');
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4.11 a store that cannot be opened yet: 503 for requests with a key, until it can",
    async run(bench) {
      const view = bench.ownView();
      let open = false;
      view.open = async () => {
        if (!open) throw new IdempotencyError("store_inaccessible", "not yet");
      };
      const node = await bench.node({ options: { store: view, onEvent: () => {} } });
      assertProblem(await node.send(), 503, "store_unavailable");
      assert.equal((await node.send({ key: null })).status, 201);
      open = true;
      await until("it is open", async () => (await node.send()).status === 201);
      assert.equal(bench.runs, 2);
    },
  },
];
