// The memory store: the shared suite, and what is its own.

import { memoryStore } from "onceward/stores/memory";
import { fakeClock, storeSuite } from "onceward/testing";
import { describe, expect, it } from "vitest";

storeSuite({
  name: "memory",
  runner: { describe, it },
  capabilities: { shared: false, history: true, clock: "fake" },
  setUp() {
    const clock = fakeClock();
    return {
      create: (options = {}) => memoryStore({ ...options, clock }),
      advance: (ms) => clock.advance(ms),
    };
  },
});

const claimOf = (index: number, forMs = 60_000) => ({
  id: index.toString(16).padStart(64, "0"),
  fence: index.toString(16).padStart(32, "0"),
  fingerprint: null,
  ageMs: 0,
  retention: { forMs },
  leaseMs: 1_000,
  labels: { account: "acme", key: `k${index}`, operation: "POST /x", runId: "r" },
});

describe("memory store", () => {
  it("9.3 is full at its byte budget, records what runs all the same, and has room again once answers expire", async () => {
    const clock = fakeClock();
    const store = memoryStore({ clock, maxBytes: 100_000 });
    let claimed = 0;
    for (; (await store.claim(claimOf(claimed))).outcome === "claimed"; claimed++) {
      const { id, fence } = claimOf(claimed);
      expect(await store.complete(id, fence, { status: 200, payload: new Uint8Array(10_000) })).toBe(true);
    }
    expect(claimed).toBe(10);
    expect(await store.claim(claimOf(99))).toEqual({ outcome: "full", limit: "store" });
    clock.advance(60_000);
    expect((await store.claim(claimOf(99))).outcome).toBe("claimed");
  });

  it("9.3 keeps no trace of keys that are claimed and released, however often", async () => {
    const clock = fakeClock();
    const store = memoryStore({ clock, maxBytes: 100_000 });
    for (let index = 0; index < 20_000; index++) {
      const request = claimOf(index, 86_400_000);
      expect((await store.claim(request)).outcome).toBe("claimed");
      expect(await store.release(request.id, request.fence)).toBe(true);
    }
    clock.advance(86_400_000);
    expect(await store.purge(1_000_000)).toBe(0);
  });

  it("9.3 keeps the latest runs of its history", async () => {
    const { history } = memoryStore({ maxRuns: 5 });
    const run = (index: number) => ({
      ...{
        id: `run-${String(index).padStart(3, "0")}`,
        at: index,
        recordId: null,
        account: "a",
        key: "k",
        method: "POST",
      },
      ...{ path: "/", route: "r", status: 200, durationMs: 1, outcome: "recorded" as const, code: null },
      ...{ steps: [], flags: [], replayOf: null },
    });
    for (let index = 0; index < 100; index++) await history?.putRuns([run(index)]);
    const ids = (await history?.listRuns({ limit: 100 }))?.items.map(({ id }) => id);
    expect(ids).toEqual(["run-099", "run-098", "run-097", "run-096", "run-095"]);
    expect(await history?.getRun("run-094")).toBeNull();
  });

  it("4.13 wakes whoever watches a record, until told not to", async () => {
    const store = memoryStore();
    const request = claimOf(1);
    let [one, two] = [0, 0];
    const end = store.waiting?.watch(request.id, () => (one += 1));
    store.waiting?.watch(request.id, () => (two += 1));
    store.waiting?.watch(claimOf(2).id, () => expect.unreachable());
    await store.claim(request);
    await store.interrupt(request.id, request.fence, 500, "owner");
    end?.();
    await store.complete(request.id, request.fence, { status: 200, payload: new Uint8Array() });
    await Promise.resolve();
    expect([one, two]).toEqual([1, 2]);
  });
});
