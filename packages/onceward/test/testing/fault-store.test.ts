// The fault store and the fake clock do what tests of the engine rely on.

import type { ClaimRequest } from "onceward";
import { memoryStore } from "onceward/stores/memory";
import { type Fault, fakeClock, faultStore, randomFaults, seededRandom } from "onceward/testing";
import { describe, expect, it } from "vitest";

const request: ClaimRequest = {
  id: "a".repeat(64),
  fence: "f".repeat(32),
  fingerprint: null,
  ageMs: 0,
  retention: { forMs: 60_000 },
  leaseMs: 1_000,
  labels: { account: "acme", key: "k", operation: "POST /x", runId: "r" },
};

function setUp(fault: Fault | undefined) {
  const clock = fakeClock();
  const beneath = memoryStore({ clock });
  const store = faultStore(beneath, ({ operation }) => (operation === "claim" ? fault : undefined), { clock });
  const effect = async () => (await beneath.find(request.id)) !== null;
  let answer: string = "none";
  const claim = store.claim(request).then(
    ({ outcome }) => {
      answer = outcome;
    },
    (error: { code: string }) => {
      answer = error.code;
    },
  );
  return { clock, store, effect, claim, answer: () => answer };
}

describe("fault store", () => {
  it("lets calls through", async () => {
    const { claim, answer, effect, store } = setUp(undefined);
    await claim;
    expect([answer(), await effect()]).toEqual(["claimed", true]);
    expect(store.calls).toEqual([{ operation: "claim", index: 0, id: request.id }]);
  });

  it("fails without effect, and loses answers with it", async () => {
    const failed = setUp({ kind: "fail" });
    await failed.claim;
    expect([failed.answer(), await failed.effect()]).toEqual(["store_unavailable", false]);
    const lost = setUp({ kind: "lose" });
    await lost.claim;
    expect([lost.answer(), await lost.effect()]).toEqual(["store_unavailable", true]);
  });

  it("delays effect and answer", async () => {
    const { clock, effect, answer, store } = setUp({ kind: "delay", ms: 100 });
    await clock.run(99);
    expect([answer(), await effect()]).toEqual(["none", false]);
    const idle = store.idle();
    await clock.run(1);
    await idle;
    expect([answer(), await effect()]).toEqual(["claimed", true]);
  });

  it("lets an effect come after the caller gave up", async () => {
    const { clock, effect, answer, claim, store } = setUp({ kind: "lateEffect", ms: 100 });
    await claim;
    expect([answer(), await effect()]).toEqual(["store_unavailable", false]);
    const idle = store.idle();
    await clock.run(100);
    await idle;
    expect(await effect()).toBe(true);
  });

  it("answers slowly", async () => {
    const { clock, effect, answer } = setUp({ kind: "slowAnswer", ms: 100 });
    await clock.run(99);
    expect([answer(), await effect()]).toEqual(["none", true]);
    await clock.run(1);
    expect(answer()).toBe("claimed");
  });

  it.each([true, false])("hangs, with effect: %s", async (withEffect) => {
    const { clock, effect, answer } = setUp({ kind: "hang", effect: withEffect });
    await clock.run(1_000_000_000);
    expect(answer()).toBe("none");
    clock.step(-1_000_000_000);
    expect(await effect()).toBe(withEffect);
  });

  it("draws the same faults for the same seed", () => {
    const rates = { fail: 0.1, lose: 0.1, delay: 0.1, lateEffect: 0.1, slowAnswer: 0.1, hang: 0.1, maxMs: 50 };
    const draw = (seed: number) => {
      const plan = randomFaults(seed, rates);
      return Array.from({ length: 1_000 }, (_, index) => plan({ operation: "claim", index, id: null }));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    const kinds = draw(3).map((fault) => fault?.kind);
    for (const kind of ["fail", "lose", "delay", "lateEffect", "slowAnswer", "hang"] as const) {
      const share = kinds.filter((drawn) => drawn === kind).length / kinds.length;
      expect(share).toBeGreaterThan(0.06);
      expect(share).toBeLessThan(0.14);
    }
  });
});

describe("fake clock", () => {
  it("runs timers in their order, each at its instant, those that they start as well", () => {
    const clock = fakeClock(1_000);
    const seen: string[] = [];
    const at = (name: string) => () => seen.push(`${name} at ${clock.now()}`);
    clock.after(20, at("second"));
    clock.after(10, () => {
      at("first")();
      clock.after(5, at("nested"));
      clock.after(50, at("too late"));
    });
    clock.after(20, at("third"));
    const cancel = clock.after(15, at("cancelled"));
    cancel();
    expect(clock.nextTimerMs()).toBe(10);
    clock.advance(30);
    expect(seen).toEqual(["first at 1010", "nested at 1015", "second at 1020", "third at 1020"]);
    expect([clock.now(), clock.monotonic(), clock.timers]).toEqual([1_030, 30, 1]);
  });

  it("lets promises run between timers", async () => {
    const clock = fakeClock(0);
    const ticks: number[] = [];
    const loop = async () => {
      for (;;) {
        await new Promise<void>((resolve) => void clock.after(10, resolve));
        ticks.push(clock.now());
      }
    };
    void loop();
    await clock.run(35);
    expect(ticks).toEqual([10, 20, 30]);
  });

  it("steps its wall clock without moving a timer", () => {
    const clock = fakeClock(0);
    clock.after(10, () => {});
    clock.step(-3_600_000);
    expect([clock.now(), clock.monotonic(), clock.nextTimerMs()]).toEqual([-3_600_000, 0, 10]);
  });

  it("draws the same numbers for the same seed", () => {
    const [one, two] = [seededRandom(42), seededRandom(42)];
    for (let draw = 0; draw < 100; draw++) expect(one()).toBe(two());
  });
});
