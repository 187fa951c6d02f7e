import { describe, expect, test } from "vitest";
import type { EngineEvent } from "../../src/core/events.js";
import { sweepInterrupted } from "../../src/core/sweep.js";
import { memoryStore } from "../../src/stores/memory.js";
import { fakeClock } from "../../src/testing/fake-clock.js";

const idOf = (index: number): string => index.toString(16).padStart(64, "0");
const fence = "f".repeat(32);

async function claimed(store: ReturnType<typeof memoryStore>, index: number, leaseMs: number): Promise<void> {
  const labels = { account: "a", key: `k${index}`, operation: "POST /", runId: `run ${index}` };
  const retention = { forMs: 86_400_000 };
  await store.claim({ id: idOf(index), fence, fingerprint: null, ageMs: 0, retention, leaseMs, labels });
}

describe("P5 sweeping", () => {
  test("makes every running record with a lapsed lease unknown, over several pages, and leaves the others", async () => {
    const clock = fakeClock();
    const store = memoryStore({ clock });
    for (let index = 0; index < 450; index++) await claimed(store, index, index % 2 === 0 ? 1_000 : 60_000);
    await store.complete(idOf(0), fence, { status: 200, payload: new Uint8Array() });
    clock.advance(1_000);
    const events: EngineEvent[] = [];
    const sweep = () =>
      sweepInterrupted(
        store,
        () => clock.now(),
        (event) => events.push(event),
      );
    expect(await sweep()).toBe(224);
    expect(events).toHaveLength(224);
    expect(events).toContainEqual({ type: "interrupted", runId: "", recordId: idOf(2), of: "run 2", status: 500 });
    const states = new Map<string, number>();
    for (let index = 0; index < 450; index++) {
      const state = (await store.find(idOf(index)))?.record.state ?? "absent";
      states.set(state, (states.get(state) ?? 0) + 1);
    }
    expect(Object.fromEntries(states)).toEqual({ done: 1, running: 225, unknown: 224 });
    expect(await sweep()).toBe(0);
  });

  test("§4.2 lets a stalled owner complete all the same", async () => {
    const clock = fakeClock();
    const store = memoryStore({ clock });
    await claimed(store, 1, 1_000);
    clock.advance(1_000);
    await sweepInterrupted(
      store,
      () => clock.now(),
      () => {},
    );
    expect(await store.complete(idOf(1), fence, { status: 201, payload: new Uint8Array() })).toBe(true);
    expect((await store.find(idOf(1)))?.record).toMatchObject({ state: "done", status: 201 });
  });
});
