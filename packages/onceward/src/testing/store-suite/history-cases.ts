// Cases of the run history and the audit trail, for stores that keep them.

import assert from "node:assert/strict";
import { isIdempotencyError } from "../../core/errors.js";
import type { AuditEntry, HistoryStore, Run, RunQuery } from "../../core/history.js";
import { newId, type SuiteBench, type SuiteCase } from "./suite-case.js";

const AT = Date.UTC(2026, 5, 1);

/** A run whose id sorts by its index, as UUIDv7s do by their time. */
function runOf(index: number, change: Partial<Run> = {}): Run {
  return {
    id: `01970000-0000-7000-8000-${String(index).padStart(12, "0")}`,
    at: AT + index,
    recordId: null,
    account: "acme",
    key: `key-${index}`,
    method: "POST",
    path: "/v1/transfers",
    route: "POST /v1/transfers",
    status: 200,
    durationMs: 12.5,
    outcome: "recorded",
    code: null,
    steps: [
      { name: "claim", atMs: 0.2 },
      { name: "send", atMs: 12 },
    ],
    flags: [],
    replayOf: null,
    ...change,
  };
}

function auditOf(index: number, change: Partial<AuditEntry> = {}): AuditEntry {
  return {
    id: `01970000-0000-7000-9000-${String(index).padStart(12, "0")}`,
    at: AT + index,
    who: "ops@example.test",
    action: "settle",
    recordId: newId(),
    account: "acme",
    key: "key",
    reason: "the bank's ledger has no such transfer",
    detail: "settled as never happened",
    ...change,
  };
}

function historyOf(bench: SuiteBench): HistoryStore {
  assert.ok(bench.store.history, "the store has no history");
  return bench.store.history;
}

async function listed(history: HistoryStore, query: Omit<RunQuery, "limit" | "cursor">, limit = 3): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await history.listRuns({ ...query, limit, ...(cursor === undefined ? {} : { cursor }) });
    assert.ok(page.items.length <= limit);
    ids.push(...page.items.map(({ id }) => id));
    if (page.next === null) return ids;
    cursor = page.next;
  }
}

export const historyCases: readonly SuiteCase[] = [
  {
    title: "11 a run comes back as it was written, and a later version replaces it",
    needs: "history",
    async run(bench) {
      const history = historyOf(bench);
      const first = runOf(1, {
        account: "a\0é🔑",
        key: "k\0",
        path: "/ü",
        outcome: "running",
        status: null,
        durationMs: null,
      });
      await history.putRuns([first, runOf(2)]);
      assert.deepEqual(await history.getRun(first.id), first);
      assert.equal(await history.getRun(runOf(3).id), null);
      const later = runOf(1, {
        status: 201,
        flags: ["IDEMPOTENT_REQUEST", "WAITED"],
        replayOf: runOf(2).id,
        recordId: newId(),
      });
      await history.putRuns([later]);
      assert.deepEqual(await history.getRun(first.id), later);
      assert.deepEqual(await listed(history, {}), [runOf(2).id, first.id]);
      await history.putRuns([]);
    },
  },
  {
    title: "11 runs are listed newest first, page by page, also while others are written",
    needs: "history",
    async run(bench) {
      const history = historyOf(bench);
      const runs = Array.from({ length: 10 }, (_, index) => runOf(index));
      await history.putRuns([...runs].sort(() => Math.random() - 0.5));
      const newestFirst = runs.map(({ id }) => id).reverse();
      for (const limit of [1, 3, 10, 100]) assert.deepEqual(await listed(history, {}, limit), newestFirst);
      const page = await history.listRuns({ limit: 4 });
      await history.putRuns([runOf(50)]);
      const rest = await history.listRuns({ limit: 100, cursor: page.next ?? "" });
      assert.deepEqual(
        [...page.items, ...rest.items].map(({ id }) => id),
        newestFirst,
      );
    },
  },
  {
    title: "11 runs are filtered by account, key, route, outcome, flag, record and time, all that are given",
    needs: "history",
    async run(bench) {
      const history = historyOf(bench);
      const recordId = newId();
      const changes: ReadonlyArray<Partial<Run>> = [
        { account: "a" },
        { account: "A" },
        { key: "k" },
        { key: "k " },
        { route: "r%" },
        { route: "rx" },
        { outcome: "replayed", flags: ["IDEMPOTENT_REQUEST"] },
        { outcome: "unknown", flags: ["TAKEN_OVER", "RECOVERED"] },
        { recordId },
        { account: "a", key: "k", route: "r%", outcome: "unknown", flags: ["RECOVERED"], recordId },
      ];
      await history.putRuns(changes.map((change, index) => runOf(index, change)));
      const cases: ReadonlyArray<readonly [Omit<RunQuery, "limit">, readonly number[]]> = [
        [{ account: "a" }, [9, 0]],
        [{ account: "A" }, [1]],
        [{ key: "k" }, [9, 2]],
        [{ key: "k " }, [3]],
        [{ route: "r%" }, [9, 4]],
        [{ outcome: "unknown" }, [9, 7]],
        [{ outcome: "replayed" }, [6]],
        [{ flag: "IDEMPOTENT_REQUEST" }, [6]],
        [{ flag: "RECOVERED" }, [9, 7]],
        [{ flag: "WAITED" }, []],
        [{ recordId }, [9, 8]],
        [{ from: AT + 8 }, [9, 8]],
        [{ to: AT + 2 }, [1, 0]],
        [{ from: AT + 3, to: AT + 5 }, [4, 3]],
        [
          {
            account: "a",
            key: "k",
            route: "r%",
            outcome: "unknown",
            flag: "RECOVERED",
            recordId,
            from: AT,
            to: AT + 99,
          },
          [9],
        ],
        [{ account: "a", key: "other" }, []],
      ];
      for (const [query, indexes] of cases) {
        const expected = indexes.map((index) => runOf(index).id);
        assert.deepEqual(await listed(history, query), expected, JSON.stringify(query));
      }
    },
  },
  {
    title: "11 a filter that few of many runs match finds them all",
    needs: "history",
    async run(bench) {
      const history = historyOf(bench);
      const runs = Array.from({ length: 5_000 }, (_, index) =>
        runOf(index, index % 1_250 === 7 ? { key: "needle" } : {}),
      );
      for (let start = 0; start < runs.length; start += 500) await history.putRuns(runs.slice(start, start + 500));
      const expected = [3_757, 2_507, 1_257, 7].map((index) => runOf(index).id);
      assert.deepEqual(await listed(history, { key: "needle" }), expected);
    },
  },
  {
    title: "4.6 a run that was found interrupted is amended, and nothing else of it",
    needs: "history",
    async run(bench) {
      const history = historyOf(bench);
      const run = runOf(1, { outcome: "running", status: null });
      await history.putRuns([run]);
      await history.amendRun(run.id, { outcome: "unknown", status: 500 });
      assert.deepEqual(await history.getRun(run.id), { ...run, outcome: "unknown", status: 500 });
      assert.deepEqual(await listed(history, { outcome: "unknown" }), [run.id]);
      assert.deepEqual(await listed(history, { outcome: "running" }), []);
      await history.amendRun(runOf(9).id, { outcome: "unknown", status: 500 });
      assert.equal(await history.getRun(runOf(9).id), null);
    },
  },
  {
    title: "9.3 the oldest runs beyond a length are trimmed, in batches, and the audit trail is kept",
    needs: "history",
    async run(bench) {
      const history = historyOf(bench);
      await history.putRuns(Array.from({ length: 30 }, (_, index) => runOf(index)));
      await history.putAudit(auditOf(1));
      assert.equal(await history.trimRuns(30, 100), 0);
      assert.equal(await history.trimRuns(20, 4), 4);
      assert.equal((await listed(history, {})).length, 26);
      assert.equal(await history.trimRuns(20, 100), 6);
      assert.deepEqual((await listed(history, {})).at(-1), runOf(10).id);
      assert.equal(await history.getRun(runOf(9).id), null);
      assert.equal(await history.trimRuns(0, 100), 20);
      assert.deepEqual(await listed(history, {}), []);
      assert.equal((await history.listAudit({ limit: 10 })).items.length, 1);
    },
  },
  {
    title: "9.5 audit entries come back as they were written, newest first, page by page",
    needs: "history",
    async run(bench) {
      const history = historyOf(bench);
      const entries = Array.from({ length: 7 }, (_, index) => auditOf(index, { reason: `because\0 "${index}" é🔑` }));
      for (const entry of entries) await history.putAudit(entry);
      await history.putAudit(entries[3] ?? auditOf(3));
      const seen: AuditEntry[] = [];
      for (let cursor: string | undefined; ; ) {
        const page = await history.listAudit({ limit: 3, ...(cursor === undefined ? {} : { cursor }) });
        seen.push(...page.items);
        if (page.next === null) break;
        cursor = page.next;
      }
      assert.deepEqual(seen, [...entries].reverse());
    },
  },
  {
    title: "11 the history of a closed store refuses with store_closed",
    needs: "history",
    async run(bench) {
      const store = await bench.open();
      await store.close();
      const refused = (error: unknown) => isIdempotencyError(error, "store_closed");
      await assert.rejects(async () => store.history?.putRuns([runOf(1)]), refused);
      await assert.rejects(async () => store.history?.listRuns({ limit: 1 }), refused);
    },
  },
];
