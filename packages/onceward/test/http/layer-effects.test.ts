// Steps and transactions over HTTP: what is recorded, what the client gets, and what the history shows (SPEC §7).

import { describe, expect, it } from "vitest";
import type { PolicyOptions } from "../../src/core/policy.js";
import type { Transactions } from "../../src/core/transactions.js";
import type { HttpClaim } from "../../src/http/layer.js";
import type { HttpResponse } from "../../src/http/message.js";
import { memoryStore } from "../../src/stores/memory.js";
import { fakeClock } from "../../src/testing/fake-clock.js";
import { faultStore } from "../../src/testing/fault-store.js";
import { LedgerDatabase, type LedgerTx, type TransactionFaults } from "../core/ledger.js";
import { type LayerKit, layerKit, type RequestOver, response } from "./layer-kit.js";

const rerun: RequestOver = { policy: { onInterrupted: "rerun" } };

function effectsKit(faults: TransactionFaults = {}): LayerKit & {
  readonly ledger: LedgerDatabase;
  readonly database: Transactions<LedgerTx>;
} {
  const clock = fakeClock();
  const ledger = new LedgerDatabase(memoryStore({ clock }), clock);
  const store = faultStore(ledger.store, () => undefined, { clock });
  const database = ledger.transactions({ step: async () => {} }, 1, faults);
  return { ...layerKit({ clock, store }), ledger, database };
}

const paying = (answer: HttpResponse) => (tx: LedgerTx) => {
  tx.write("k", new TextDecoder().decode(answer.body));
  return answer;
};

/** Runs the clock until a promise settles. */
async function within<T>(kit: LayerKit, promise: Promise<T>): Promise<T> {
  let over = false;
  const end = (): void => {
    over = true;
  };
  promise.then(end, end);
  for (let left = 10_000; !over && left > 0; left--) await kit.clock.run(10);
  return promise;
}

/** The names of a run's steps. */
async function stepsOf(kit: LayerKit, index = 0): Promise<readonly string[]> {
  return ((await kit.history())[index]?.steps ?? []).map(({ name }) => name);
}

describe("7.2 steps of a handler", () => {
  it("are not run again by the request that takes over, and stand in the history with their times", async () => {
    const kit = effectsKit();
    const dead = await kit.begin(rerun);
    if (dead.kind !== "run") throw new Error("not run");
    expect(dead.claim.tookOver).toBe(false);
    await dead.claim.step("reserve", () => ({ reservation: 7 }));
    kit.fault({ kind: "fail" }, "renew");
    await kit.clock.run(60_000);
    kit.fault();
    const sent = await kit.send(rerun, async (claim) => {
      expect(claim.tookOver).toBe(true);
      const reserved = await claim.step("reserve", () => ({ reservation: 8 }));
      const paid = within(
        kit,
        claim.step("pay", () => new Promise<string>((resolve) => void kit.clock.after(120, () => resolve("paid")))),
      );
      return claim.finish(response(`${JSON.stringify(reserved)} ${await paid}`));
    });
    expect(sent.text).toBe('{"reservation":7} paid');
    expect((await kit.send(rerun)).text).toBe('{"reservation":7} paid');
    const [, second, first] = await kit.history();
    expect(first?.steps.map(({ name }) => name)).toContain('step "reserve"');
    const names = second?.steps.map(({ name }) => name) ?? [];
    expect(names.slice(-4)).toEqual(["taken-over", 'step "reserve" reused', 'step "pay"', "recorded"]);
    const pay = second?.steps.find(({ name }) => name === 'step "pay"');
    expect(pay).toEqual({ name: 'step "pay"', atMs: expect.any(Number), durationMs: 120 });
  });

  it("4.2 whose claim was lost end in 409 in_progress, and the client's retry fetches the one true answer", async () => {
    const kit = effectsKit();
    const stalled = await kit.begin(rerun);
    if (stalled.kind !== "run") throw new Error("not run");
    kit.fault({ kind: "fail" }, "renew");
    await kit.clock.run(30_000);
    const second = await kit.begin(rerun);
    if (second.kind !== "run") throw new Error("not run");
    kit.fault();
    await expect(stalled.claim.step("pay", () => 1)).rejects.toMatchObject({ code: "claim_lost" });
    expect(await stalled.claim.finish(response("claim lost", 500))).toMatchObject({ status: 409 });
    await second.claim.finish(response("the one"));
    expect((await kit.send(rerun)).text).toBe("the one");
  });

  it("4.11 that could not be recorded end in 503 outcome_unknown whatever the handler answers", async () => {
    const kit = effectsKit();
    const sent = await kit.send(rerun, async (claim) => {
      kit.fault({ kind: "fail" }, "appendStep");
      await expect(
        within(
          kit,
          claim.step("pay", () => 1),
        ),
      ).rejects.toMatchObject({ code: "store_unavailable" });
      kit.fault();
      return claim.finish(response("handled", 200));
    });
    expect(sent).toMatchObject({ status: 503, code: "outcome_unknown" });
    expect((await kit.history())[0]).toMatchObject({ outcome: "unknown", code: "outcome_unknown" });
    expect(await stepsOf(kit)).toContain('step "pay" unrecorded');
    expect((await kit.send(rerun)).status).toBe(201);
  });

  it("4.5 mean that the operation has started: a status that the policy lists as not started is recorded after one", async () => {
    const policy: PolicyOptions = { notStarted: [422] };
    const refusing = async (claim: HttpClaim): Promise<HttpResponse> => {
      await claim.step("pay", () => 1);
      return claim.finish(response("refused afterwards", 422));
    };
    const kit = effectsKit();
    expect(await kit.send({ policy }, refusing)).toMatchObject({ ran: true, status: 422 });
    expect(await kit.send({ policy }, refusing)).toMatchObject({ ran: false, status: 422 });
    const unstarted = async (claim: HttpClaim) => claim.finish(response("refused at once", 422));
    expect(await kit.send({ policy, key: "k-2" }, unstarted)).toMatchObject({ ran: true });
    expect(await kit.send({ policy, key: "k-2" }, unstarted)).toMatchObject({ ran: true });
  });
});

describe("7.1 transactions of a handler", () => {
  it("record and send their answer, which replays byte for byte", async () => {
    const kit = effectsKit();
    const answer = response("paid", 201, [
      ["X-One", "1"],
      ["X-One", "2"],
    ]);
    const first = await kit.send(rerun, (claim) => claim.transaction(kit.database, paying(answer)));
    expect(first).toMatchObject({ ran: true, status: 201, text: "paid" });
    const second = await kit.send(rerun);
    expect(second).toMatchObject({ ran: false, status: 201, text: "paid" });
    expect(second.headers.filter(([name]) => name !== "Idempotent-Replayed")).toEqual(first.headers);
    expect(kit.ledger.entries.get("k")).toEqual(["paid"]);
    const [, run] = await kit.history();
    expect(run).toMatchObject({ outcome: "recorded", status: 201 });
    expect(await stepsOf(kit, 1)).toEqual(["claimed", "transaction committed", "recorded"]);
  });

  it("may work for long without waiting: a synchronous function is enough", async () => {
    const kit = effectsKit();
    const sent = await kit.send({}, (claim) => claim.transaction(kit.database, () => response("at once")));
    expect(sent.text).toBe("at once");
  });

  it("that threw roll back, and the answer to the error is recorded by itself", async () => {
    const kit = effectsKit();
    const failing = async (claim: HttpClaim): Promise<HttpResponse> => {
      try {
        return await claim.transaction(kit.database, (tx) => {
          tx.write("k", "paid");
          throw new Error("declined");
        });
      } catch (error) {
        return claim.finish(response(String(error), 402));
      }
    };
    expect(await kit.send(rerun, failing)).toMatchObject({ ran: true, status: 402 });
    expect(await kit.send(rerun, failing)).toMatchObject({ ran: false, status: 402, text: "Error: declined" });
    expect(kit.ledger.entries.size).toBe(0);
  });

  it("return an error status as any other answer: what they wrote is committed with it", async () => {
    const kit = effectsKit();
    const over: RequestOver = { ...rerun, surface: "library" };
    await kit.send(over, (claim) => claim.transaction(kit.database, paying(response("noted", 409))));
    expect(kit.ledger.entries.get("k")).toEqual(["noted"]);
    expect(await kit.send(over)).toMatchObject({ ran: false, status: 409, text: "noted" });
  });

  it.each<[string, HttpResponse, PolicyOptions]>([
    ["a status of `notStarted`", response("invalid", 422), { notStarted: [422] }],
    ["the handler's word", response("invalid", 400, [["Onceward-Outcome", "not-started"]]), {}],
  ])(
    "4.8 whose answer says by %s that nothing started roll back, and leave the key unused",
    async (_, answer, policy) => {
      const kit = effectsKit();
      const over: RequestOver = { policy: { ...policy, onInterrupted: "rerun" }, surface: "library" };
      const sent = await kit.send(over, (claim) => claim.transaction(kit.database, paying(answer)));
      expect(sent).toMatchObject({ ran: true, status: answer.status, text: "invalid" });
      expect(sent.headers.map(([name]) => name)).not.toContain("Onceward-Outcome");
      expect(kit.ledger.entries.size).toBe(0);
      expect((await kit.history())[0]).toMatchObject({ outcome: "not_started" });
      expect((await kit.send(over)).ran).toBe(true);
    },
  );

  it("4.9 whose answer is one of `unknownStatuses` roll back, and leave the outcome unknown", async () => {
    const kit = effectsKit();
    const over: RequestOver = { policy: { unknownStatuses: [504] }, surface: "library" };
    const sent = await kit.send(over, (claim) => claim.transaction(kit.database, paying(response("timeout", 504))));
    expect(sent).toMatchObject({ ran: true, status: 504, code: "outcome_unknown" });
    expect(kit.ledger.entries.size).toBe(0);
    expect(await kit.send(over)).toMatchObject({ ran: false, status: 504, code: "outcome_unknown" });
  });

  it("5.4 whose answer is too large commit, send it, and keep no body", async () => {
    const kit = effectsKit();
    const over: RequestOver = { policy: { maxBody: 10 } };
    const sent = await kit.send(over, (claim) =>
      claim.transaction(kit.database, paying(response("more than ten bytes"))),
    );
    expect(sent).toMatchObject({ ran: true, status: 200, text: "more than ten bytes" });
    expect(kit.ledger.entries.size).toBe(1);
    expect(await kit.send(over)).toMatchObject({ ran: false, status: 409, code: "response_not_kept" });
    expect((await kit.history())[1]).toMatchObject({ outcome: "not_kept" });
  });

  it("whose answer no HTTP response can be roll back and say so", async () => {
    const kit = effectsKit();
    const sent = await kit.send(rerun, async (claim) => {
      const impossible = claim.transaction(kit.database, paying(response("x", 99)));
      await expect(impossible).rejects.toThrow("99 is no status of an answer");
      return claim.finish(response("a fault", 500));
    });
    expect(sent).toMatchObject({ status: 500 });
    expect(kit.ledger.entries.size).toBe(0);
  });

  it("4.2 that lost their claim are answered 409 in_progress, and left nothing", async () => {
    const kit = effectsKit();
    const stalled = await kit.begin(rerun);
    if (stalled.kind !== "run") throw new Error("not run");
    kit.fault({ kind: "fail" }, "renew");
    await kit.clock.run(30_000);
    const second = await kit.begin(rerun);
    if (second.kind !== "run") throw new Error("not run");
    const lost = await stalled.claim.transaction(kit.database, paying(response("first")));
    expect(lost.status).toBe(409);
    const won = await second.claim.transaction(kit.database, paying(response("second")));
    expect(won.status).toBe(200);
    expect(kit.ledger.entries.get("k")).toEqual(["second"]);
    expect((await kit.history()).find(({ status }) => status === 409)).toMatchObject({
      outcome: "refused",
      code: "in_progress",
      flags: ["CLAIM_LOST"],
    });
  });

  it("whose COMMIT lost its word are answered by what the record says", async () => {
    for (const [faults, status] of [
      [{ commitLost: 1 }, 200],
      [{ commitLate: 1 }, 200],
      [{ commitCut: 1 }, 503],
    ] as const) {
      const kit = effectsKit(faults);
      const pay = (claim: HttpClaim) => within(kit, claim.transaction(kit.database, paying(response("paid"))));
      const sent = await kit.send(rerun, pay);
      expect(sent.status).toBe(status);
      expect(kit.ledger.entries.get("k")).toEqual(status === 200 ? ["paid"] : undefined);
      expect((await kit.history())[0]?.outcome).toBe(status === 200 ? "recorded" : "unknown");
      // A duplicate gets the answer, or runs the operation that left nothing.
      expect((await kit.send(rerun)).ran).toBe(status === 503);
    }
  });

  it("4.11 whose end only shows once the store is back are told of in the history then", async () => {
    const kit = effectsKit({ commitLost: 1 });
    const sent = await kit.send(rerun, (claim) => {
      kit.fault({ kind: "fail" }, "find");
      return within(kit, claim.transaction(kit.database, paying(response("paid"))));
    });
    expect(sent).toMatchObject({ status: 503, code: "outcome_unknown" });
    kit.fault();
    await kit.clock.run(60_000);
    expect((await kit.history())[0]).toMatchObject({ outcome: "recorded", flags: ["RECORDED_LATE"] });
    expect(await kit.send(rerun)).toMatchObject({ ran: false, text: "paid" });
  });
});
