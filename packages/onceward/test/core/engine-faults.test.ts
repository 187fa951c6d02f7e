// What the engine must survive: listeners and askers that throw, renewals that hang, outages with many claims.

import { describe, expect, onTestFinished, test, vi } from "vitest";
import { IdempotencyError, isIdempotencyError } from "../../src/core/errors.js";
import { answer, ID, interrupted, kit, LEASE_MS, owned, request, rules, told, within } from "./engine-kit.js";

describe("listeners", () => {
  test("P5 a listener that throws changes nothing of what becomes of a request", async () => {
    const said = vi.spyOn(console, "error").mockImplementation(() => {});
    onTestFinished(() => said.mockRestore());
    const { clock, engine, fault } = kit({
      onEvent: () => {
        throw new Error("a listener's fault");
      },
    });
    const claim = owned(await within(clock, engine.begin(request(clock))));
    expect(await within(clock, claim.complete(answer("one")))).toBe("recorded");
    expect(told(await engine.begin(request(clock)))).toBe("replay one");
    fault({ kind: "hang", effect: false }, "claim");
    const begun = engine.begin(request(clock, { id: "2".repeat(64) }));
    expect(told(await within(clock, begun))).toBe("refused store_unavailable");
    expect(said).toHaveBeenCalledWith(expect.stringContaining("claimed"), expect.any(Error));
  });
});

describe("SPEC §4.3 renewals", () => {
  test("a renewal that hangs does not cost the lease: another follows in time", async () => {
    const { clock, engine, faulty, store } = kit({ storeTimeoutMs: 60_000 });
    owned(await engine.begin(request(clock)));
    let renewals = 0;
    faulty.plan = ({ operation }) =>
      operation === "renew" && ++renewals === 1 ? { kind: "hang", effect: false } : undefined;
    for (let ms = 0; ms < 4 * LEASE_MS; ms += 50) {
      await clock.run(50);
      const found = await store.find(ID);
      expect((found?.record.leaseUntil ?? 0) > clock.now()).toBe(true);
    }
    expect(renewals).toBeGreaterThan(3);
  });
});

describe("SPEC §4.6 askers", () => {
  test("P5 an asker that never answers counts as one that does not know", async () => {
    const all = kit();
    const { clock, engine } = all;
    await interrupted(all);
    const ask = () => new Promise<never>(() => {});
    const both = [1, 2].map(() => engine.begin(request(clock, { rules: rules("recover"), ask })));
    expect((await within(clock, Promise.all(both))).map(told)).toEqual(["unknown 500", "unknown 500"]);
    expect(all.types()).toContain("ask-failed");
    // Asked again when somebody comes again, since it may know by then.
    const again = engine.begin(
      request(clock, { rules: rules("recover"), ask: async () => ({ outcome: "never-happened" }) }),
    );
    expect(told(await within(clock, again))).toBe("took over");
  });

  test("an asker that throws at once counts as one that does not know", async () => {
    const all = kit();
    const { clock, engine } = all;
    await interrupted(all);
    const ask = (): never => {
      throw new Error("no");
    };
    const begun = await within(clock, engine.begin(request(clock, { rules: rules("recover"), ask })));
    expect(told(begun)).toBe("unknown 500");
  });
});

describe("SPEC §8.1 §9.4 a request that may not make a record", () => {
  test("takes over what is there: only a request that would make a record is bound", async () => {
    const all = kit();
    await interrupted(all);
    const begun = await all.engine.begin(request(all.clock, { rules: rules("rerun"), refusal: "expiration_invalid" }));
    expect(told(begun)).toBe("took over");
  });
});

describe("faults of the store", () => {
  test("P4 an answer that cannot be opened is no store out of reach: begin rejects with store_corrupt", async () => {
    const { clock, engine, faulty } = kit();
    const corrupt = new IdempotencyError("store_corrupt", "sealed with another key");
    const broken = { ...faulty, claim: () => Promise.reject(corrupt) };
    const other = kit({ store: broken });
    const failed = await other.engine.begin(request(other.clock)).catch((error: unknown) => error);
    expect(isIdempotencyError(failed, "store_corrupt")).toBe(true);
    expect(told(await engine.begin(request(clock)))).toBe("owned");
  });

  test("P4 a fault of the program is not taken for a store out of reach: begin rejects with it", async () => {
    const { clock, engine } = kit();
    owned(await engine.begin(request(clock)));
    const bad = request(clock, { rules: null as never });
    await expect(engine.begin(bad)).rejects.toThrow(TypeError);
  });

  test("SPEC §4.11 a store lost after the record was seen is refused with the record, so that no bypass runs it again", async () => {
    const all = kit();
    await interrupted(all);
    all.fault({ kind: "fail" }, "interrupt");
    const begun = await all.engine.begin(request(all.clock));
    expect(told(begun)).toBe("refused store_unavailable");
    expect(begun.kind === "refused" && begun.record?.id).toBe(ID);
  });

  test("SPEC §4.11 a waiter that loses the store knows of the record", async () => {
    const all = kit();
    const claim = owned(await all.engine.begin(request(all.clock)));
    const waiting = all.engine.begin(request(all.clock, { waitMs: 10_000, rules: rules("hold", true) }));
    await all.clock.run(100);
    all.fault({ kind: "fail" }, "claim");
    await within(all.clock, claim.release());
    const begun = await within(all.clock, waiting);
    expect(told(begun)).toBe("refused store_unavailable");
    expect(begun.kind === "refused" && begun.record?.id).toBe(ID);
  });
});

describe("SPEC §4.11 §4.12 an outage of the store", () => {
  test("however many claims fail in it, answers of operations that ran are still recorded after it", {
    timeout: 60_000,
  }, async () => {
    const { clock, engine, fault, store } = kit();
    const claim = owned(await engine.begin(request(clock)));
    fault({ kind: "fail" }, "claim", "release", "complete", "renew");
    for (let batch = 0; batch < 22; batch++) {
      const claims = Array.from({ length: 500 }, (_, index) =>
        engine.begin(request(clock, { id: String(batch * 500 + index).padStart(64, "0") })),
      );
      await Promise.all(claims);
    }
    expect(await claim.complete(answer("one"))).toBe("deferred");
    fault();
    await clock.run(10_000);
    expect((await store.find(ID))?.record.state).toBe("done");
  });

  test("a failed claim is undone by one call at a time", async () => {
    const { clock, engine, fault, count } = kit();
    fault({ kind: "fail" }, "claim", "release");
    await engine.begin(request(clock));
    await clock.run(20 * LEASE_MS);
    const before = count("release");
    await clock.run(60_000);
    // Repeated every five seconds.
    expect(count("release") - before).toBeLessThanOrEqual(13);
  });

  test("answers that wait to be recorded take so much memory at most; what is beyond is told of", async () => {
    const { clock, engine, fault, events, store } = kit();
    const large = { status: 200, payload: new Uint8Array(20 * 1_048_576) };
    const claims = [];
    for (let index = 0; index < 5; index++)
      claims.push(owned(await engine.begin(request(clock, { id: String(index).repeat(64) }))));
    fault({ kind: "fail" }, "complete");
    for (const claim of claims) expect(await claim.complete(large)).toBe("deferred");
    const abandoned = events.filter((event) => event.type === "recording-abandoned");
    expect(abandoned.length).toBe(2);
    fault();
    await clock.run(10_000);
    const states = [];
    for (let index = 0; index < 5; index++) states.push((await store.find(String(index).repeat(64)))?.record.state);
    expect(states).toEqual(["done", "done", "done", "running", "running"]);
  });

  test("what is given up in the end is told of, so that nobody waits for it", { timeout: 60_000 }, async () => {
    const { clock, engine, fault, types } = kit();
    const claim = owned(await engine.begin(request(clock)));
    fault({ kind: "fail" }, "complete", "renew");
    await claim.complete(answer("one"));
    await clock.run(3_700_000);
    expect(types()).toContain("recording-abandoned");
    expect(engine.unsettled).toBe(0);
  });
});

describe("SPEC §11 what the history is told of a take-over", () => {
  test("the run that died is told of as interrupted, and the record is the new run's", async () => {
    const all = kit();
    const { clock, engine, events } = all;
    await interrupted(all, { labels: { account: "a", key: "k", operation: "POST /", runId: "dead" } });
    const claim = owned(await engine.begin(request(clock, { rules: rules("rerun") })));
    expect(events).toContainEqual(expect.objectContaining({ type: "interrupted", of: "dead" }));
    await claim.complete(answer("two"));
    const replayed = await engine.begin(request(clock, { rules: rules("rerun") }));
    expect(replayed.kind === "replay" && replayed.record.runId).toBe(claim.runId);
  });

  test("a duplicate that lost every race is told of as a duplicate of the record it met", async () => {
    const all = kit();
    await interrupted(all);
    // Whoever comes finds it lapsed, and somebody else is always quicker.
    all.faulty.takeOver = async () => false;
    const begun = await all.engine.begin(request(all.clock, { rules: rules("rerun") }));
    expect(told(begun)).toBe("refused in_progress");
    expect(begun.kind === "refused" && begun.record?.id).toBe(ID);
  });
});
