// Cases of SPEC §7: what a handler does with its claim.

import assert from "node:assert/strict";
import type { Answer } from "../../core/record.js";
import type { Store } from "../../core/store.js";
import type { SqlStatement, TransactionResult, Transactions } from "../../core/transactions.js";
import { type AdapterBench, type AdapterCase, assertProblem, assertReplay, gate, json, text, until } from "./bench.js";
import { claimOf } from "./claim-of.js";
import { fieldOf, fieldsNamed } from "./http-client.js";

/** A database whose transactions are lists of rows, and which the case's records are in. */
class Ledger implements Transactions<{ insert(row: string): void }> {
  readonly dialect = "sqlite";
  readonly synchronous = false;
  readonly rows: string[] = [];
  readonly #records: Store;

  constructor(records: Store) {
    this.#records = records;
  }

  /** The records as a store that a transaction can span. */
  get store(): Store {
    return {
      ...this.#records,
      transactions: {
        dialect: "sqlite",
        completion: (id, fence, answer) => ({ text: "complete", values: [id, fence, answer] }),
      },
    };
  }

  async run<T>(
    work: (tx: { insert(row: string): void }) => T | Promise<T>,
    last: ((value: T) => SqlStatement) | null,
  ): Promise<TransactionResult<T>> {
    const inserted: string[] = [];
    try {
      const value = await work({ insert: (row) => void inserted.push(row) });
      if (last !== null) {
        const [id, fence, answer] = last(value).values as readonly [string, string, Answer];
        if (!(await this.#records.complete(id, fence, answer))) return { outcome: "lost" };
      }
      this.rows.push(...inserted);
      return { outcome: "committed", value };
    } catch (error) {
      return { outcome: "failed", error };
    }
  }
}

const LEASE = { lease: 1_000, onInterrupted: "rerun" } as const;

export const effectCases: readonly AdapterCase[] = [
  {
    title: "7 the claim tells the handler its key, its account and its run",
    async run(bench) {
      const node = await bench.node({
        handle: (request) => {
          const { key, account, runId, tookOver, signal } = claimOf(request);
          return json(200, { key, account, run: typeof runId, tookOver, aborted: signal.aborted });
        },
      });
      const expected = { key: 'a "b"', account: "alice", run: "string", tookOver: false, aborted: false };
      assert.deepEqual(JSON.parse((await node.send({ key: '"a \\"b\\""' })).text), expected);
    },
  },
  {
    title:
      "7 without a key the claim is there too: steps just run, a transaction is a plain one, notStarted is nothing",
    async run(bench) {
      const ledger = new Ledger(bench.store);
      const keys = new Set<string>();
      const node = await bench.node({
        options: { store: ledger.store },
        handle: async (request, run) => {
          const claim = claimOf(request);
          assert.deepEqual([claim.key, claim.account, claim.runId, claim.tookOver], [null, null, null, false]);
          assert.equal(claim.signal.aborted, false);
          claim.notStarted();
          const doubled = await claim.step("double", ({ idempotencyKey }) => {
            keys.add(idempotencyKey);
            return run * 2;
          });
          const sent = await claim.transaction(ledger, (tx) => {
            tx.insert(`row ${run}`);
            return { status: 201, body: { doubled } };
          });
          return { kind: "sent", sent };
        },
      });
      for (const run of [1, 2]) {
        const answer = await node.send({ key: null });
        assert.deepEqual([answer.status, answer.text], [201, `{"doubled":${run * 2}}`]);
      }
      assert.deepEqual([ledger.rows, keys.size], [["row 1", "row 2"], 2]);
    },
  },
  {
    title: "7.2 a step that throws fails the request, whose answer is recorded",
    async run(bench) {
      const node = await bench.node({
        handle: async (request) => {
          await claimOf(request).step("charge", () => {
            throw new Error("declined");
          });
          return json(201, {});
        },
      });
      const first = await node.send();
      assert.equal(first.status, 500);
      assertReplay(first, await node.send());
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "7.2 whoever takes over does not run finished steps again, and calls others with the same key",
    async run(bench) {
      const held = gate();
      const view = bench.ownView();
      const ran: string[] = [];
      const downstream: string[] = [];
      const handle: (cutOff: boolean) => Parameters<AdapterBench["node"]>[0] = (cutOff) => ({
        options: { ...LEASE, storeTimeoutMs: 200, ...(cutOff ? { store: view } : {}) },
        handle: async (request) => {
          const claim = claimOf(request);
          const charged = await claim.step("charge", async () => {
            ran.push("charge");
            return { id: "ch_1" };
          });
          await claim.step("mail", async ({ idempotencyKey }) => {
            ran.push("mail");
            downstream.push(idempotencyKey);
            if (cutOff) await held.opened;
          });
          return json(201, { charged, tookOver: claim.tookOver });
        },
      });
      const node = await bench.node(handle(true));
      const first = node.open();
      await until("its second step is under way", () => ran.length === 2);
      view.plan = () => ({ kind: "fail" });
      bench.advance(2_000);
      const other = await bench.node(handle(false));
      const answer = await other.send();
      assert.equal(answer.text, '{"charged":{"id":"ch_1"},"tookOver":true}');
      assert.deepEqual(ran, ["charge", "mail", "mail"]);
      assert.equal(new Set(downstream).size, 1);
      view.plan = () => undefined;
      held.open();
      assert.ok((await first.whole).status >= 400, "its claim is lost");
      assertReplay(answer, await other.send());
    },
  },
  {
    title: "7.1 a transaction commits its writes and its answer, which is what is sent and replayed",
    async run(bench) {
      const ledger = new Ledger(bench.store);
      const node = await bench.node({
        options: { store: ledger.store, transactional: true },
        handle: async (request, run) => {
          const sent = await claimOf(request).transaction(ledger, async (tx) => {
            tx.insert(`transfer ${run}`);
            return { status: 201, headers: { "X-Own": ["a", "b"], Location: "/t/1" }, body: { run } };
          });
          return { kind: "sent", sent };
        },
      });
      const first = await node.send();
      assert.deepEqual([first.status, first.text, fieldOf(first, "location")], [201, '{"run":1}', "/t/1"]);
      assert.equal(fieldOf(first, "content-type"), "application/json");
      assert.equal(fieldsNamed(first, "x-own").join(", "), "a, b");
      assertReplay(first, await node.send());
      assert.deepEqual(ledger.rows, ["transfer 1"]);
    },
  },
  ...(
    [
      ["throws after its transaction", true, "throw"],
      ["answers something else after its transaction", true, "answer"],
      ["does not wait for its transaction", false, "answer"],
    ] as const
  ).map(([what, waits, then]) => ({
    title: `7.1 where the handler ${what}, its client gets what was committed all the same`,
    async run(bench: AdapterBench) {
      const ledger = new Ledger(bench.store);
      const node = await bench.node({
        options: { store: ledger.store },
        handle: async (request) => {
          const committed = claimOf(request).transaction(ledger, async (tx) => {
            await new Promise((resolve) => setTimeout(resolve, 5));
            tx.insert("row");
            return { body: "committed" };
          });
          if (waits) await committed;
          if (then === "throw") throw new Error("after all was done");
          return text(418, "something else");
        },
      });
      const first = await node.send();
      assert.deepEqual([first.status, first.text], [200, "committed"]);
      assertReplay(first, await node.send());
      assert.deepEqual([bench.runs, ledger.rows], [1, ["row"]]);
    },
  })),
  {
    title: "7.1 a transaction that throws is rolled back, and the answer to the error is recorded",
    async run(bench) {
      const ledger = new Ledger(bench.store);
      const node = await bench.node({
        options: { store: ledger.store },
        handle: async (request) => {
          try {
            await claimOf(request).transaction(ledger, (tx) => {
              tx.insert("never");
              throw new Error("insufficient funds");
            });
          } catch {
            return text(402, "insufficient funds");
          }
          return text(500, "not reached");
        },
      });
      const first = await node.send();
      assert.deepEqual([first.status, first.text], [402, "insufficient funds"]);
      assertReplay(first, await node.send());
      assert.deepEqual([ledger.rows, bench.runs], [[], 1]);
    },
  },
  {
    title: "7.1 an answer that HTTP cannot carry is rolled back with its transaction",
    async run(bench) {
      const ledger = new Ledger(bench.store);
      const node = await bench.node({
        options: { store: ledger.store },
        handle: async (request) => {
          const sent = await claimOf(request).transaction(ledger, (tx) => {
            tx.insert("never");
            return { headers: { "X-Own": "a\r\nb" } };
          });
          return { kind: "sent", sent };
        },
      });
      assert.equal((await node.send()).status, 500);
      assert.deepEqual(ledger.rows, []);
    },
  },
  {
    title: "7.1 a transaction whose claim was lost is rolled back, and its client told to fetch the one answer",
    async run(bench) {
      const held = gate();
      const view = bench.ownView();
      const [ledger, other] = [new Ledger(view), new Ledger(bench.store)];
      const handle: (of: Ledger) => Parameters<AdapterBench["node"]>[0] = (of) => ({
        options: { ...LEASE, storeTimeoutMs: 200, store: of.store },
        handle: async (request, run) => {
          const sent = await claimOf(request).transaction(of, async (tx) => {
            tx.insert(`run ${run}`);
            if (of === ledger) await held.opened;
            return { status: 201, body: { run } };
          });
          return { kind: "sent", sent };
        },
      });
      const first = (await bench.node(handle(ledger))).open();
      await until("it runs", () => bench.runs === 1);
      view.plan = ({ operation }) => (operation === "renew" ? { kind: "fail" } : undefined);
      bench.advance(2_000);
      const node = await bench.node(handle(other));
      const answer = await node.send();
      assert.equal(answer.text, '{"run":2}');
      held.open();
      assertProblem(await first.whole, 409, "in_progress");
      assert.deepEqual([ledger.rows, other.rows], [[], ["run 2"]]);
      assertReplay(answer, await node.send());
    },
  },
  {
    title: "4.5 notStarted after a step has begun is a fault of the program, not a key that is given back",
    async run(bench) {
      const node = await bench.node({
        handle: async (request) => {
          const claim = claimOf(request);
          await claim.step("charge", () => 1);
          claim.notStarted();
          return json(201, {});
        },
      });
      const first = await node.send();
      assert.equal(first.status, 500);
      assertReplay(first, await node.send());
      assert.equal(bench.runs, 1);
    },
  },
];
