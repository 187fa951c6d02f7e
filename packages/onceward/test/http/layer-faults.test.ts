// The layer where something goes wrong: stores, resolvers and answers that fail, and what the history says of it.

import { describe, expect, test } from "vitest";
import { fakeClock } from "../../src/testing/fake-clock.js";
import { claimOf, layerKit, requestOf, response } from "./layer-kit.js";

const account = { kind: "account", account: "new", previous: ["old"] } as const;

describe("S1 replaced account keys", () => {
  test("P4 a store that fails to say whether the key was used under the old one lets nothing run", async () => {
    const { send, fault } = layerKit();
    expect((await send({ account: "old" })).status).toBe(201);
    fault({ kind: "fail" }, "find");
    expect(await send({ account })).toMatchObject({ ran: false, status: 503, code: "store_unavailable" });
    fault();
    expect(await send({ account })).toMatchObject({ ran: false, status: 201, text: "run 1" });
  });

  test("P5 a store that never says so neither", async () => {
    const { send, fault, clock } = layerKit();
    fault({ kind: "hang", effect: false }, "find");
    const waiting = send({ account });
    await clock.run(1_000);
    expect(await waiting).toMatchObject({ ran: false, status: 503, code: "store_unavailable" });
  });
});

describe("answers that cannot be recorded", () => {
  test("P5 a header that no message can carry leaves the outcome unknown, not the key running for ever", async () => {
    const { send } = layerKit();
    const bad = response("ok", 200, [["X-Name", "\u20ac"]]);
    expect(await send({}, (claim) => claim.finish(bad))).toMatchObject({ status: 500, code: "outcome_unknown" });
    expect(await send()).toMatchObject({ ran: false, status: 500, code: "outcome_unknown" });
  });

  test("P5 neither does a status that is none", async () => {
    const { send } = layerKit();
    const sent = await send({}, (claim) => claim.finish(response("ok", Number.NaN)));
    expect(sent).toMatchObject({ status: 500, code: "outcome_unknown" });
    expect(await send()).toMatchObject({ ran: false, status: 500, code: "outcome_unknown" });
  });
});

describe("SPEC §4.11 bypass", () => {
  test("does not run what is known to have been interrupted", async () => {
    const { begin, send, clock, fault } = layerKit();
    const policy = { onStoreError: "bypass", lease: 3_000 } as const;
    claimOf(await begin({ policy }));
    fault({ kind: "fail" }, "renew");
    await clock.run(4_000);
    fault({ kind: "fail" }, "renew", "interrupt");
    expect(await send({ policy })).toMatchObject({ ran: false, status: 503, code: "store_unavailable" });
  });
});

describe("SPEC §4.6 recover functions", () => {
  const verdicts: [string, unknown][] = [
    ["nothing", undefined],
    ["another word", { outcome: "maybe" }],
    ["done without a response", { outcome: "done" }],
    ["a body that is no bytes", { outcome: "done", response: { status: 200, headers: [], body: "text" } }],
    ["a status that is none", { outcome: "done", response: { status: 0, headers: [], body: new Uint8Array() } }],
  ];
  test.each(verdicts)("P5 a verdict of %s counts as unknown", async (_what, verdict) => {
    const { begin, send, clock, fault } = layerKit();
    const over = {
      surface: "library",
      policy: { lease: 3_000, onInterrupted: async () => verdict as never },
    } as const;
    claimOf(await begin(over));
    fault({ kind: "fail" }, "renew");
    await clock.run(4_000);
    expect(await send(over)).toMatchObject({ ran: false, status: 500, code: "outcome_unknown" });
  });
});

describe("SPEC §9.4 newKeysPerSecond", () => {
  test("holds for requests that come at once too", async () => {
    const { send } = layerKit({ newKeysPerSecond: 5 });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => send({ key: `k${index}` })));
    expect(answers.filter(({ ran }) => ran)).toHaveLength(5);
    expect(answers.filter(({ code }) => code === "too_many_keys")).toHaveLength(15);
  });

  test("counts new keys only, and a burst of refusals delays nobody", async () => {
    const { send, clock } = layerKit({ newKeysPerSecond: 2 });
    await send({ key: "a" });
    for (let again = 0; again < 10; again++) expect((await send({ key: "a" })).text).toBe("run 1");
    expect((await send({ key: "b" })).ran).toBe(true);
    for (let again = 0; again < 10; again++) expect((await send({ key: "c" })).code).toBe("too_many_keys");
    await clock.run(500);
    expect((await send({ key: "c" })).ran).toBe(true);
  });
});

describe("mode: observe changes nothing", () => {
  const observe = { policy: { mode: "observe" } } as const;

  test("a missing key that would be required is reported, and let through", async () => {
    const { send, history } = layerKit();
    const policy = { mode: "observe", required: true } as const;
    expect(await send({ key: null, policy })).toMatchObject({ ran: true });
    expect(await history()).toMatchObject([{ key: "", outcome: "observed", code: "key_missing" }]);
  });

  test("whatever its calls are given, and in whatever order, none of them fails", async () => {
    const { layer, clock, history, store } = layerKit();
    const unwanted: unknown[] = [];
    const note = (error: unknown): void => void unwanted.push(error);
    process.on("unhandledRejection", note);
    for (const calls of [
      ["end", "respond", "respond"],
      ["respond", "end"],
      ["end", "bad", "end"],
      ["respond", "respond"],
    ]) {
      const fingerprint = (): never => {
        throw new Error("the user's fault");
      };
      const more = calls.includes("bad") ? { fingerprint } : {};
      const request = requestOf({ key: calls.join("-"), surface: "library", policy: { ...observe.policy, ...more } });
      const begun = await layer.begin(request);
      const watch = begun.kind === "pass" ? begun.observation : null;
      for (const call of calls) {
        if (call === "end") watch?.requestEnd();
        else watch?.responseEnd({ status: 200, headers: call === "bad" ? [["X", "\u20ac"]] : [] });
        await clock.run(10);
      }
    }
    // No claim is left that goes on renewing itself.
    await clock.run(100_000);
    process.off("unhandledRejection", note);
    expect(unwanted).toEqual([]);
    const runs = await history();
    expect(runs.map(({ outcome }) => outcome)).toEqual(["observed", "observed", "observed", "observed"]);
    const { items } = await store.list({ limit: 10, state: "running" });
    expect(items.filter(({ leaseUntil }) => leaseUntil > clock.now())).toEqual([]);
  });

  test("a resolver that fails lets it pass", async () => {
    const { send } = layerKit();
    expect(await send({ ...observe, account: new Error("no") })).toMatchObject({ ran: true });
  });

  test("a store that hangs delays nothing", async () => {
    const { begin, fault } = layerKit();
    fault({ kind: "hang", effect: false }, "find", "claim");
    expect((await begin({ ...observe, account })).kind).toBe("pass");
  });

  test("§11 a duplicate is flagged, in progress too, and a first run never", async () => {
    const { layer, clock, history } = layerKit();
    const watched = async () => {
      const begun = await layer.begin(requestOf(observe));
      if (begun.kind !== "pass" || begun.observation === null) throw new Error("not observed");
      begun.observation.requestChunk(new TextEncoder().encode("{}"));
      begun.observation.requestEnd();
      await clock.run(1);
      return begun.observation;
    };
    const [first, second] = [await watched(), await watched()];
    second.responseEnd({ status: 200, headers: [] });
    await clock.run(1);
    first.responseEnd({ status: 200, headers: [] });
    await clock.run(1);
    (await watched()).responseEnd({ status: 200, headers: [] });
    await clock.run(1);
    expect((await history()).map(({ code, flags }) => [code, flags])).toEqual([
      ["replay", ["IDEMPOTENT_REQUEST"]],
      ["in_progress", ["IDEMPOTENT_REQUEST"]],
      ["run", []],
    ]);
  });
});

describe("SPEC §11 the history stays true", () => {
  test("an answer that is recorded late ends as recorded", async () => {
    const { send, fault, history, clock } = layerKit();
    const policy = { onInterrupted: "rerun" } as const;
    const sent = send({ policy }, async (claim) => {
      fault({ kind: "fail" }, "complete");
      return claim.finish(response("one"));
    });
    expect(await sent).toMatchObject({ status: 503, code: "outcome_unknown" });
    expect((await history())[0]).toMatchObject({ outcome: "unknown" });
    fault();
    await clock.run(5_000);
    expect((await history())[0]).toMatchObject({ outcome: "recorded", flags: ["RECORDED_LATE"] });
  });

  test("the run of an owner that died does not stay running under rerun, and a replay names the run that answered", async () => {
    const clock = fakeClock();
    let alive = true;
    const mortal = { ...clock, after: (ms: number, fn: () => void) => clock.after(ms, () => void (alive && fn())) };
    const { begin, store } = layerKit({ clock: mortal });
    const policy = { onInterrupted: "rerun", lease: 3_000 } as const;
    const dead = claimOf(await begin({ policy })).runId;
    await clock.run(500);
    alive = false;
    await clock.run(4_000);
    // Another process finds it; what the dead one would still have written is lost with it.
    const other = layerKit({ store, clock });
    expect((await other.send({ policy })).ran).toBe(true);
    expect((await other.send({ policy })).ran).toBe(false);
    const [replay, run, first] = await other.history();
    expect(first).toMatchObject({ id: dead, outcome: "unknown" });
    expect(run).toMatchObject({ outcome: "recorded", flags: ["TAKEN_OVER"] });
    expect(replay).toMatchObject({ outcome: "replayed", replayOf: run?.id });
  });

  test("a fault of the user's function is not a client that went away", async () => {
    const { begin, history } = layerKit();
    const fingerprint = (): never => {
      throw new Error("the user's fault");
    };
    await expect(begin({ surface: "library", policy: { fingerprint } })).rejects.toThrow("the user's fault");
    expect((await history())[0]?.flags).toEqual([]);
    const body = () => Promise.reject(new Error("aborted"));
    await expect(begin({ body })).rejects.toThrow("aborted");
    expect((await history())[0]?.flags).toEqual(["CLIENT_GONE"]);
  });

  test("a change of an older run is written also where the history failed at first", async () => {
    const { begin, fault, history, clock, store } = layerKit();
    const policy = { lease: 3_000 } as const;
    claimOf(await begin({ policy }));
    fault({ kind: "fail" }, "renew");
    await clock.run(4_000);
    const other = layerKit({ store, clock });
    fault({ kind: "fail" }, "amendRun", "putRuns");
    expect(await other.send({ policy })).toMatchObject({ code: "outcome_unknown" });
    await clock.run(1_000);
    fault();
    await clock.run(1_000);
    expect((await other.history()).at(-1)).toMatchObject({ outcome: "unknown", status: 500 });
    await history();
  });

  test("a corrupt answer's duplicate is flagged, and whoever watches is told what is wrong", async () => {
    const events: unknown[] = [];
    const { send, history, store } = layerKit({ onEvent: (event) => events.push(event) });
    await send();
    const find = store.claim;
    store.claim = async (request) => {
      const found = await find(request);
      return found.outcome === "found" ? { ...found, record: { ...found.record, payload: new Uint8Array(1) } } : found;
    };
    expect(await send()).toMatchObject({ ran: false, code: "outcome_unknown" });
    expect((await history())[0]?.flags).toEqual(["IDEMPOTENT_REQUEST"]);
    expect(events.at(-1)).toMatchObject({ type: "store-failed", error: { code: "store_corrupt" } });
  });
});

describe("drain", () => {
  test("a history that hangs does not hold it", async () => {
    const { send, layer, fault, clock } = layerKit();
    fault({ kind: "hang", effect: false }, "putRuns");
    await send();
    const drained = layer.drain(1_000);
    await clock.run(1_500);
    await drained;
  });
});
