// Steps of an operation: run once, taken over, bounded, and what happens when the store or the claim fails them.

import { describe, expect, test } from "vitest";
import type { OwnedClaim } from "../../src/core/claim.js";
import type { BeginRequest } from "../../src/core/engine.js";
import { answer, ID, type Kit, kit, LEASE_MS, owned, request, rules, told, within } from "./engine-kit.js";

const RERUN = { rules: rules("rerun") };

/** A claim, and a way to let its owner stall until somebody may take over. */
async function begun(kit: Kit, over: Partial<BeginRequest> = RERUN): Promise<OwnedClaim> {
  return owned(await kit.engine.begin(request(kit.clock, over)));
}

/** Whoever takes over once the lease has lapsed, on another node. */
async function successor(kit: Kit, over: Partial<BeginRequest> = RERUN): Promise<OwnedClaim> {
  kit.fault({ kind: "fail" }, "renew");
  await kit.clock.run(LEASE_MS);
  const claim = owned(await kit.node().begin(request(kit.clock, over)));
  kit.fault();
  return claim;
}

const never = (): never => {
  throw new Error("it was run again");
};

describe("SPEC §7.2 steps", () => {
  test("are answered from the log by whoever takes over, undefined and null included", async () => {
    const k = kit();
    const first = await begun(k);
    const results = { object: { a: [1, "x", null] }, nothing: null, text: "ß\u0000🔑", zero: 0, empty: undefined };
    for (const [name, result] of Object.entries(results)) expect(await first.step(name, () => result)).toBe(result);
    const second = await successor(k);
    expect(second.tookOver).toBe(true);
    for (const [name, result] of Object.entries(results)) expect(await second.step(name, never)).toEqual(result);
    expect(await second.step("another", () => "run")).toBe("run");
    expect(await second.complete(answer("done"))).toBe("recorded");
  });

  test("cost a claim that took nothing over one call of the store each, and the key of the downstream keys once", async () => {
    const k = kit();
    for (let round = 0; round < 2; round++) {
      const claim = await begun(k, { ...RERUN, id: String(round).repeat(64) });
      for (const name of ["one", "two", "three"]) await claim.step(name, () => name);
      await claim.complete(answer("done"));
    }
    const calls = k.faulty.calls.map(({ operation }) => operation);
    const steps = ["appendStep", "appendStep", "appendStep", "complete"];
    expect(calls).toEqual(["claim", "getShared", "setShared", ...steps, "claim", ...steps]);
  });

  test("read the log of the run before once, and only when the first step asks", async () => {
    const k = kit();
    await (await begun(k)).step("one", () => 1);
    await k.clock.run(0);
    k.fault({ kind: "fail" }, "renew");
    await k.clock.run(LEASE_MS);
    k.fault();
    const second = owned(await k.engine.begin(request(k.clock, RERUN)));
    expect(k.count("readSteps")).toBe(0);
    await Promise.all([second.step("one", never), second.step("two", () => 2), second.step("three", () => 3)]);
    expect(k.count("readSteps")).toBe(1);
  });

  test("that threw are not recorded: the error is passed on, and the name may be used again", async () => {
    const k = kit();
    const claim = await begun(k);
    const error = new Error("declined");
    const declined = (): never => {
      throw error;
    };
    await expect(claim.step("pay", declined)).rejects.toBe(error);
    await expect(claim.step("pay", async () => Promise.reject(error))).rejects.toBe(error);
    expect(await claim.step("pay", () => "paid")).toBe("paid");
    expect(k.events.flatMap((event) => (event.type === "step" ? [event.outcome] : []))).toEqual([
      "failed",
      "failed",
      "recorded",
    ]);
    expect(await (await successor(k)).step("pay", never)).toBe("paid");
  });

  test("with a name that is used twice in a run, or is none, are refused before they run", async () => {
    const claim = await begun(kit());
    await claim.step("pay", () => 1);
    await expect(claim.step("pay", never)).rejects.toMatchObject({
      code: "claim_misused",
      message: /"pay" is there twice/,
    });
    const under = claim.step("slow", () => new Promise(() => {}));
    await expect(claim.step("slow", never)).rejects.toMatchObject({ code: "claim_misused" });
    void under;
    for (const name of ["", "x".repeat(256), undefined as unknown as string])
      await expect(claim.step(name, never)).rejects.toMatchObject({ code: "claim_misused", message: /1 to 255/ });
  });

  test("whose result is no JSON reject with the place, are not recorded, and leave the claim whole", async () => {
    const k = kit();
    const claim = await begun(k);
    await expect(claim.step("pay", () => ({ at: new Date() }))).rejects.toMatchObject({
      code: "claim_misused",
      message: expect.stringMatching(/step "pay" ran, and its result cannot be recorded: its at is a Date/),
    });
    expect(k.count("appendStep")).toBe(0);
    expect(await claim.complete(answer("an error"))).toBe("recorded");
  });

  test("9.3 are bounded in number and in bytes, over all runs", async () => {
    const k = kit({ maxSteps: 3, maxStepLogBytes: 200 });
    const claim = await begun(k);
    await claim.step("one", () => "x".repeat(100));
    await expect(claim.step("large", () => "x".repeat(100))).rejects.toMatchObject({
      code: "claim_misused",
      message: expect.stringMatching(/too large to be recorded: 112 bytes beside the 110 that are there, of 200/),
    });
    k.fault({ kind: "fail" }, "renew");
    await k.clock.run(LEASE_MS);
    k.fault();
    const second = owned(await k.engine.begin(request(k.clock, RERUN)));
    await expect(second.step("large", () => "x".repeat(100))).rejects.toMatchObject({ code: "claim_misused" });
    await second.step("two", () => 2);
    await expect(second.step("four", never)).rejects.toMatchObject({
      code: "claim_misused",
      message: expect.stringMatching(/one more than 3/),
    });
    expect(await second.step("one", never)).toHaveLength(100);
  });

  test("under `hold` are recorded all the same", async () => {
    const k = kit();
    const claim = await begun(k, {});
    expect(await claim.step("one", () => 1)).toBe(1);
    const { fence } = (await k.store.find(ID))?.record ?? { fence: "" };
    expect(await k.store.readSteps(ID, fence)).toHaveLength(1);
  });

  test("after the claim has ended are refused before they run, and one that was not waited for is told so", async () => {
    const k = kit();
    const claim = await begun(k);
    let finish = (): void => {};
    const late = claim.step("late", () => new Promise<void>((resolve) => (finish = resolve)));
    await k.clock.run(0);
    await claim.complete(answer("done"));
    finish();
    await expect(late).rejects.toMatchObject({ code: "claim_misused", message: expect.stringMatching(/Await it/) });
    await expect(claim.step("after", never)).rejects.toMatchObject({ code: "claim_misused" });
    expect(k.types()).not.toContain("claim-lost");
  });
});

describe("SPEC §7.2 downstream keys", () => {
  test("are UUIDs, the same on every node and after a take-over, and differ by key and by step", async () => {
    const k = kit();
    const keys: string[] = [];
    const keep = (step: { readonly idempotencyKey: string }): never => {
      keys.push(step.idempotencyKey);
      throw new Error("try again");
    };
    const first = await begun(k);
    await expect(first.step("pay", keep)).rejects.toThrow("try again");
    await expect(first.step("mail", keep)).rejects.toThrow("try again");
    const second = await successor(k);
    await expect(second.step("pay", keep)).rejects.toThrow("try again");
    const other = owned(await k.node().begin(request(k.clock, { ...RERUN, id: "2".repeat(64) })));
    await expect(other.step("pay", keep)).rejects.toThrow("try again");
    expect(keys[2]).toBe(keys[0]);
    expect(new Set(keys).size).toBe(3);
    for (const key of keys)
      expect(key).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test("are of one secret, whoever draws it first, also where the answer that it was set is lost", async () => {
    const k = kit();
    k.fault({ kind: "lose" }, "setShared");
    const keys: string[] = [];
    const nodes = [k.engine, k.node(), k.node()];
    const claims = await Promise.all(
      nodes.map((node, index) => node.begin(request(k.clock, { id: String(index).repeat(64) }))),
    );
    const pay = claims.map((claim) =>
      owned(claim).step("pay", ({ idempotencyKey }) => {
        keys.push(idempotencyKey);
      }),
    );
    await within(k.clock, Promise.all(pay));
    expect(keys).toHaveLength(3);
    const secret = await k.store.getShared("step-key");
    expect(secret).toHaveLength(32);
    expect(k.faulty.calls.filter(({ operation }) => operation === "setShared").length).toBeGreaterThan(0);
    const again = owned(await k.node().begin(request(k.clock, { id: "9".repeat(64) })));
    await again.step("pay", ({ idempotencyKey }) => void keys.push(idempotencyKey));
    expect(await k.store.getShared("step-key")).toEqual(secret);
    expect(new Set(keys).size).toBe(4);
  });
});

describe("SPEC §4.2 §4.11 steps that cannot be recorded", () => {
  test("since somebody took over: the signal is aborted, the step rejects, and the answer is nobody's", async () => {
    const k = kit();
    const first = await begun(k);
    let finish = (): void => {};
    const paying = first.step("pay", () => new Promise<void>((resolve) => (finish = resolve)));
    await k.clock.run(0);
    const second = await successor(k);
    expect(first.signal.aborted).toBe(false);
    finish();
    await expect(paying).rejects.toMatchObject({ code: "claim_lost" });
    expect(first.signal.aborted).toBe(true);
    await expect(first.step("more", never)).rejects.toMatchObject({ code: "claim_lost" });
    // Also where the store could not say so by then.
    k.fault({ kind: "fail" }, "complete");
    expect(await first.complete(answer("stale"))).toBe("lost");
    expect(k.types().filter((type) => type === "claim-lost")).toHaveLength(1);
    await second.complete(answer("true"));
    expect(told(await k.engine.begin(request(k.clock)))).toBe("replay true");
  });

  test("for a while are tried again, and nobody notices", async () => {
    const k = kit();
    const claim = await begun(k);
    k.fault({ kind: "fail" }, "appendStep", "getShared");
    const paying = claim.step("pay", () => "paid");
    await k.clock.run(300);
    k.fault();
    expect(await within(k.clock, paying)).toBe("paid");
    expect(await claim.complete(answer("done"))).toBe("recorded");
  });

  test("whose recording was answered late or not are there once for whoever takes over", async () => {
    const k = kit();
    const claim = await begun(k);
    k.fault({ kind: "lose" }, "appendStep");
    const paying = claim.step("pay", () => "paid");
    await k.clock.run(300);
    k.fault();
    await within(k.clock, paying);
    const { fence } = (await k.store.find(ID))?.record ?? { fence: "" };
    expect((await k.store.readSteps(ID, fence))?.length).toBeGreaterThan(1);
    expect(await (await successor(k)).step("pay", never)).toBe("paid");
  });

  test("break the run off under `rerun`: its outcome is unknown, and whoever takes over runs the step again", async () => {
    const k = kit();
    const claim = await begun(k);
    await claim.step("one", () => 1);
    k.fault({ kind: "fail" }, "appendStep");
    await expect(
      within(
        k.clock,
        claim.step("pay", () => "paid"),
      ),
    ).rejects.toMatchObject({ code: "store_unavailable" });
    k.fault();
    await expect(claim.step("more", never)).rejects.toMatchObject({ code: "store_unavailable" });
    expect(await claim.complete(answer("an error"))).toBe("unrecorded");
    expect((await k.store.find(ID))?.record).toMatchObject({ state: "unknown", status: 503 });
    const second = owned(await k.node().begin(request(k.clock, RERUN)));
    expect(await second.step("one", never)).toBe(1);
    expect(await second.step("pay", () => "paid again")).toBe("paid again");
    expect(await second.complete(answer("done"))).toBe("recorded");
  });

  test("do no harm under `hold`, where nobody takes over: the operation goes on and is recorded", async () => {
    const k = kit();
    const claim = await begun(k, {});
    k.fault({ kind: "hang", effect: false }, "appendStep");
    expect(
      await within(
        k.clock,
        claim.step("pay", () => "paid"),
      ),
    ).toBe("paid");
    expect(k.events.at(-1)).toMatchObject({ type: "step", name: "pay", outcome: "unrecorded" });
    expect(await claim.complete(answer("done"))).toBe("recorded");
  });

  test("since the log of the run before is out of reach or cannot be read are not run", async () => {
    const k = kit();
    await (await begun(k)).step("pay", () => "paid");
    k.fault({ kind: "fail" }, "renew", "readSteps");
    await k.clock.run(LEASE_MS);
    const second = owned(await k.engine.begin(request(k.clock, RERUN)));
    await expect(within(k.clock, second.step("pay", never))).rejects.toMatchObject({ code: "store_unavailable" });
    k.fault();
    expect(await second.complete(answer("an error"))).toBe("unrecorded");
    const third = owned(await k.node().begin(request(k.clock, RERUN)));
    const { fence } = (await k.store.find(ID))?.record ?? { fence: "" };
    await k.store.appendStep(ID, fence, new Uint8Array([0xff, 0]));
    await expect(third.step("pay", never)).rejects.toMatchObject({ code: "store_corrupt" });
    expect(await third.complete(answer("an error"))).toBe("unrecorded");
  });

  test("4.5 an operation that was broken off does not give its key back", async () => {
    const k = kit();
    const claim = await begun(k);
    k.fault({ kind: "fail" }, "appendStep");
    await expect(
      within(
        k.clock,
        claim.step("pay", () => "paid"),
      ),
    ).rejects.toMatchObject({ code: "store_unavailable" });
    k.fault();
    await claim.release();
    expect((await k.store.find(ID))?.record.state).toBe("unknown");
  });
});
