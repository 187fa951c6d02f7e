// The run history's writing side: batches, bounds, failed writes, and changes after a run was written (SPEC §11).

import { describe, expect, test } from "vitest";
import type { HistoryStore, Run } from "../../src/core/history.js";
import { RunLog } from "../../src/http/run-log.js";
import { memoryStore } from "../../src/stores/memory.js";
import { fakeClock } from "../../src/testing/fake-clock.js";

const FACTS = { key: "k", method: "POST", path: "/", route: "POST /" };

function log() {
  const clock = fakeClock();
  const kept = memoryStore({ clock, maxRuns: 100_000 }).history as HistoryStore;
  const batches: Run[][] = [];
  const state = { fails: false, amends: [] as string[] };
  const history: HistoryStore = {
    ...kept,
    async putRuns(runs) {
      if (state.fails) throw new Error("out of reach");
      batches.push([...runs]);
      await kept.putRuns(runs);
    },
    getRun: (id) => kept.getRun(id),
    async amendRun(id, change) {
      if (state.fails) throw new Error("out of reach");
      state.amends.push(id);
      await kept.amendRun(id, change);
    },
  };
  const runs = new RunLog(history, clock);
  return { clock, runs, batches, state, history };
}

describe("SPEC §11 the run log", () => {
  test("runs are written within a second, those of a moment in one batch, each once as it is then", async () => {
    const { clock, runs, batches } = log();
    for (let index = 0; index < 50; index++) {
      const draft = runs.begin(FACTS);
      draft.step("claimed");
      draft.end({ outcome: "recorded", status: 201 });
    }
    expect(batches).toEqual([]);
    await clock.run(1_000);
    expect(batches.map(({ length }) => length)).toEqual([50]);
    expect(batches[0]?.[0]).toMatchObject({ outcome: "recorded", status: 201, steps: [{ name: "claimed", atMs: 0 }] });
    expect(clock.timers).toBe(0);
  });

  test("batches are bounded", async () => {
    const { runs, batches } = log();
    for (let index = 0; index < 2_500; index++) runs.begin(FACTS).step("claimed");
    await runs.flush();
    expect(batches.map(({ length }) => length)).toEqual([1_000, 1_000, 500]);
  });

  test("what cannot be written is written later, and an outage is bounded: the oldest are dropped and counted", async () => {
    const { clock, runs, batches, state } = log();
    state.fails = true;
    runs.begin(FACTS).step("claimed");
    await clock.run(5_000);
    for (let index = 0; index < 20_004; index++) runs.begin(FACTS).step("claimed");
    expect(runs.dropped).toBe(5);
    state.fails = false;
    await clock.run(1_000);
    expect(batches.flat()).toHaveLength(20_000);
  });

  test("a run that something happens to after its end is written again, and the amendment comes last", async () => {
    const { clock, runs, history, state } = log();
    const [draft, finder] = [runs.begin(FACTS), runs.begin(FACTS)];
    draft.step("claimed");
    await clock.run(1_000);
    draft.flag("CLIENT_GONE");
    runs.onEvent({ type: "interrupted", runId: finder.id, recordId: "r", of: draft.id, status: 500 });
    state.fails = true;
    await clock.run(1_000);
    state.fails = false;
    await clock.run(1_000);
    expect(await history.getRun(draft.id)).toMatchObject({ outcome: "unknown", status: 500, flags: ["CLIENT_GONE"] });
    draft.end({ outcome: "recorded", status: 201 });
    await clock.run(1_000);
    expect(await history.getRun(draft.id)).toMatchObject({ outcome: "recorded", status: 201 });
    expect(state.amends).toEqual([draft.id]);
  });

  test("a recording that is given up leaves the run unknown", async () => {
    const { clock, runs, history } = log();
    const draft = runs.begin(FACTS);
    const event = { runId: draft.id, recordId: "r" } as const;
    runs.onEvent({ type: "recording-deferred", ...event });
    draft.end({ outcome: "recorded", status: 201 });
    runs.onEvent({ type: "recording-abandoned", ...event });
    await clock.run(1_000);
    expect(await history.getRun(draft.id)).toMatchObject({ outcome: "unknown", status: 201 });
  });

  test("without a history nothing is kept and no timer is set", () => {
    const clock = fakeClock();
    const draft = new RunLog(null, clock).begin(FACTS);
    draft.duplicate();
    draft.end({ outcome: "replayed", status: 200 });
    expect(clock.timers).toBe(0);
  });
});
