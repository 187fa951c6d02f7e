// The engine with one store that fails as told: claims, recordings, take-overs, renewals and waiting.

import { describe, expect, test } from "vitest";
import type { Begun } from "../../src/core/engine.js";
import { answer, ID, interrupted, kit, LEASE_MS, owned, request, rules, told, within } from "./engine-kit.js";

describe("SPEC §4.1 §4.3 claim and renewal", () => {
  test("4.1 one call of the store for a new request, one for a replay", async () => {
    const { clock, engine, faulty } = kit();
    await owned(await engine.begin(request(clock))).complete(answer("one"));
    expect(told(await engine.begin(request(clock)))).toBe("replay one");
    expect(faulty.calls.map(({ operation }) => operation)).toEqual(["claim", "complete", "claim"]);
  });

  test("4.3 renewed at a third of the lease while it runs, and no timer is left when it has ended", async () => {
    const { clock, engine, count } = kit();
    const claim = owned(await engine.begin(request(clock)));
    await clock.run(LEASE_MS / 3 - 1);
    expect(count("renew")).toBe(0);
    await clock.run(1);
    expect(count("renew")).toBe(1);
    await clock.run(2 * LEASE_MS);
    expect(count("renew")).toBe(7);
    await claim.complete(answer("one"));
    expect(clock.timers).toBe(0);
  });

  test("4.2 a claim that was lost is told of by the signal, is not recorded, and replays the one true answer", async () => {
    const { clock, engine, fault, node, types } = kit();
    const claim = owned(await engine.begin(request(clock)));
    fault({ kind: "fail" }, "renew");
    await clock.run(LEASE_MS);
    const other = owned(await node().begin(request(clock, { rules: rules("rerun") })));
    fault();
    await clock.run(LEASE_MS);
    expect(claim.signal.aborted).toBe(true);
    expect(await claim.complete(answer("stale"))).toBe("lost");
    expect(types()).toContain("claim-lost");
    expect(await other.complete(answer("true"))).toBe("recorded");
    expect(told(await engine.begin(request(clock)))).toBe("replay true");
  });

  test("4.2 a stalled owner that returns completes what a finder called unknown", async () => {
    const { clock, engine, fault, node } = kit();
    const claim = owned(await engine.begin(request(clock)));
    fault({ kind: "fail" }, "renew");
    await clock.run(LEASE_MS);
    expect(told(await node().begin(request(clock)))).toBe("unknown 500");
    expect(await claim.complete(answer("after all"))).toBe("recorded");
    expect(told(await node().begin(request(clock)))).toBe("replay after all");
  });

  test("ending a claim twice is a fault of the program", async () => {
    const { clock, engine } = kit();
    const claim = owned(await engine.begin(request(clock)));
    await claim.release();
    await expect(claim.complete(answer("one"))).rejects.toThrow("ended already");
  });
});

describe("SPEC §4.12 claims whose answers are lost or late", () => {
  test.each([
    { kind: "lose" },
    { kind: "delay", ms: 900 },
    { kind: "lateEffect", ms: 900 },
    { kind: "slowAnswer", ms: 900 },
    { kind: "hang", effect: true },
  ] as const)("$kind: refused, and the key is free again in the end", async (fault) => {
    const all = kit();
    all.fault(fault, "claim");
    const begun = all.engine.begin(request(all.clock));
    expect(told(await within(all.clock, begun))).toBe("refused store_unavailable");
    all.fault();
    await all.clock.run(20 * LEASE_MS);
    expect(await all.store.find(ID)).toBeNull();
    expect(all.types()).toContain("late-claim-released");
    expect(all.clock.timers).toBe(0);
  });

  test("a take-over whose answer is lost leaves the record unknown, free to be taken over again", async () => {
    const all = kit();
    await interrupted(all);
    all.fault({ kind: "lose" }, "takeOver");
    const begun = all.engine.begin(request(all.clock, { rules: rules("rerun") }));
    expect(told(await within(all.clock, begun))).toBe("refused store_unavailable");
    all.fault();
    await all.clock.run(100);
    expect((await all.store.find(ID))?.record.state).toBe("unknown");
    expect(told(await all.engine.begin(request(all.clock, { rules: rules("rerun") })))).toBe("took over");
  });
});

describe("SPEC §4.5 release", () => {
  test("gives the key back; after a rerun's take-over it stays unknown, since the first run may have started", async () => {
    const all = kit();
    await owned(await all.engine.begin(request(all.clock))).release();
    expect(await all.store.find(ID)).toBeNull();
    await interrupted(all);
    await owned(await all.engine.begin(request(all.clock, { rules: rules("rerun") }))).release();
    expect((await all.store.find(ID))?.record.state).toBe("unknown");
  });
});

describe("SPEC §4.13 waiting", () => {
  const waits = { waitMs: 60_000, rules: rules("hold", true) };

  test("when it is released one claims, and the rest wait on until that one has answered", async () => {
    const { clock, engine } = kit();
    const first = owned(await engine.begin(request(clock)));
    const waiting = Array.from({ length: 5 }, () => engine.begin(request(clock, waits)));
    await clock.run(1_000);
    expect(engine.waiting).toBe(5);
    await first.release();
    await clock.run(1_000);
    expect(engine.waiting).toBe(4);
    const second = owned(await Promise.race(waiting));
    await second.complete(answer("second"));
    const all = await within(clock, Promise.all(waiting));
    expect(all.map(told).sort()).toEqual(["owned", ...Array(4).fill("replay second")]);
    expect(clock.timers).toBe(0);
  });

  test("of waiters one takes an interrupted operation over", async () => {
    const { clock, engine, count } = kit();
    const first = owned(await engine.begin(request(clock, { rules: rules("rerun") })));
    const over = { ...waits, rules: rules("rerun", true) };
    const waiting = Array.from({ length: 20 }, () => engine.begin(request(clock, over)));
    await clock.run(100);
    await first.interrupt(502);
    await clock.run(1_000);
    expect(count("takeOver")).toBe(1);
    await owned(await Promise.race(waiting)).complete(answer("again"));
    const all = await within(clock, Promise.all(waiting));
    expect(all.filter((begun) => told(begun) === "replay again")).toHaveLength(19);
  });

  test("bounds for a key and in all, and the end of patience", async () => {
    const { clock, engine } = kit({ maxWaitersPerKey: 2, maxWaiters: 3 });
    const other = { ...waits, id: "2".repeat(64) };
    owned(await engine.begin(request(clock)));
    owned(await engine.begin(request(clock, { id: other.id })));
    const patient = [engine.begin(request(clock, waits)), engine.begin(request(clock, waits))];
    await clock.run(10);
    expect(told(await engine.begin(request(clock, waits)))).toBe("refused in_progress");
    const third = engine.begin(request(clock, other));
    await clock.run(10);
    expect(engine.waiting).toBe(3);
    expect(told(await engine.begin(request(clock, other)))).toBe("refused in_progress");
    await clock.run(60_000);
    expect((await Promise.all([...patient, third])).map(told)).toEqual(Array(3).fill("refused in_progress"));
    expect(engine.waiting).toBe(0);
  });

  test("a storm of 1000 waiters costs a bounded number of store calls", { timeout: 60_000 }, async () => {
    const { clock, engine, faulty } = kit({ maxWaitersPerKey: 1_000 });
    const first = owned(await engine.begin(request(clock)));
    const waiting = Array.from({ length: 1_000 }, () => engine.begin(request(clock, waits)));
    await clock.run(3_000);
    // A claim for all of them, and one poller.
    expect(faulty.calls.length).toBeLessThan(50);
    const before = faulty.calls.length;
    await first.complete(answer("one"));
    const all = await within(clock, Promise.all(waiting));
    expect(all.every((begun) => told(begun) === "replay one")).toBe(true);
    expect(faulty.calls.length - before).toBeLessThan(5);
  });
});

describe("SPEC §4.1 requests of one key at the same moment", () => {
  test("a storm of 500 new ones costs two claims: one of them owns the key, and the others find it", async () => {
    const { clock, engine, count } = kit();
    const begun = await Promise.all(Array.from({ length: 500 }, () => engine.begin(request(clock))));
    expect(begun.map(told)).toEqual(["owned", ...Array(499).fill("refused in_progress")]);
    expect(count("claim")).toBe(2);
    await owned(begun[0] as Begun).complete(answer("one"));
    const replays = await Promise.all(Array.from({ length: 500 }, () => engine.begin(request(clock))));
    expect(replays.every((replay) => told(replay) === "replay one")).toBe(true);
    expect(count("claim")).toBe(4);
  });

  test.each(["hold", "rerun"] as const)("that find it interrupted cost two calls more, under %s", async (rule) => {
    const k = kit();
    await interrupted(k);
    const over = { rules: rules(rule) };
    const begun = await Promise.all(Array.from({ length: 200 }, () => k.engine.begin(request(k.clock, over))));
    const expected =
      rule === "hold" ? Array(200).fill("unknown 500") : ["took over", ...Array(199).fill("refused in_progress")];
    expect(begun.map(told).sort()).toEqual(expected.sort());
    expect(k.faulty.calls.length).toBeLessThan(10);
    expect(k.types().filter((type) => type === "interrupted").length).toBeLessThan(4);
  });

  test("each is judged by what it is itself", async () => {
    const { clock, engine } = kit();
    const other = { fingerprint: "x1:bb" };
    const begun = await Promise.all(
      [request(clock), request(clock, other), request(clock)].map((one) => engine.begin(one)),
    );
    expect(begun.map(told)).toEqual(["owned", "refused key_reused", "refused in_progress"]);
  });

  test("what somebody is told is never older than its arrival", async () => {
    const { clock, engine, fault } = kit();
    const claim = owned(await engine.begin(request(clock)));
    fault({ kind: "slowAnswer", ms: 200 }, "claim");
    const early = engine.begin(request(clock));
    await clock.run(100);
    await claim.complete(answer("one"));
    const late = [engine.begin(request(clock)), engine.begin(request(clock))];
    await clock.run(1_000);
    expect(told(await early)).toBe("refused in_progress");
    expect((await Promise.all(late)).map(told)).toEqual(["replay one", "replay one"]);
  });

  test("4.11 one claim that fails fails for those it was made for, and the next that comes makes another", async () => {
    const { clock, engine, count, fault } = kit();
    fault({ kind: "fail" }, "claim");
    const begun = await Promise.all(Array.from({ length: 20 }, () => engine.begin(request(clock))));
    expect(begun.every((one) => told(one) === "refused store_unavailable")).toBe(true);
    expect(count("claim")).toBe(2);
    fault();
    expect(told(await engine.begin(request(clock)))).toBe("owned");
  });

  test("of other keys wait for none of it", async () => {
    const { clock, engine, fault } = kit();
    fault({ kind: "hang", effect: false }, "claim");
    const hung = engine.begin(request(clock));
    await clock.run(0);
    fault();
    expect(told(await engine.begin(request(clock, { id: "2".repeat(64) })))).toBe("owned");
    expect(told(await within(clock, hung))).toBe("refused store_unavailable");
  });
});

describe("SPEC §4.6 recover", () => {
  const known = async () => ({ outcome: "done", answer: answer("known") }) as const;

  test("however many duplicates come, one of them asks, and all get the recorded answer", async () => {
    const all = kit();
    await interrupted(all);
    let asked = 0;
    const ask = () => {
      asked++;
      return known();
    };
    const begun = Array.from({ length: 10 }, () =>
      all.engine.begin(request(all.clock, { rules: rules("recover"), ask })),
    );
    expect((await within(all.clock, Promise.all(begun))).map(told)).toEqual(Array(10).fill("replay known"));
    expect(asked).toBe(1);
  });

  test("two nodes with two verdicts: one holds, and both answer by it", async () => {
    const all = kit();
    await interrupted(all);
    const over = { rules: rules("recover") };
    const never = async () => ({ outcome: "never-happened" }) as const;
    const [here, there] = await within(
      all.clock,
      Promise.all([
        all.engine.begin(request(all.clock, { ...over, ask: known })),
        all.node().begin(request(all.clock, { ...over, ask: never })),
      ]),
    );
    const both = [told(here as never), told(there as never)].join();
    expect(["replay known,replay known", "refused in_progress,took over"]).toContain(both);
  });

  test("never-happened frees the key where the run did not start either", async () => {
    const all = kit();
    await interrupted(all);
    const ask = async () => ({ outcome: "never-happened" }) as const;
    await owned(await all.engine.begin(request(all.clock, { rules: rules("recover"), ask }))).release();
    expect(await all.store.find(ID)).toBeNull();
  });
});

describe("SPEC §8.1 §9.4 refusals", () => {
  test("without claiming: absent is refused, what is there is answered", async () => {
    const { clock, engine, count } = kit();
    const over = { refusal: "expiration_invalid" } as const;
    expect(told(await engine.begin(request(clock, over)))).toBe("refused expiration_invalid");
    expect(count("claim")).toBe(0);
    await owned(await engine.begin(request(clock))).complete(answer("one"));
    expect(told(await engine.begin(request(clock, over)))).toBe("replay one");
    expect(count("claim")).toBe(1);
  });
});
