// The layer over a memory store: SPEC §4's table as responses, keys, accounts, scopes, profiles and what is not kept.

import { describe, expect, test } from "vitest";
import type { HttpResponse } from "../../src/http/message.js";
import { headerValue } from "../../src/http/message.js";
import { claimOf, layerKit, type RequestOver, response } from "./layer-kit.js";

const HOUR = 3_600_000;
const IETF = {} as const;
const rerun = { onInterrupted: "rerun", lease: 3_000 } as const;
const short = { lease: 3_000 } as const;

/** A key whose owner has died: nothing renews its lease. */
async function interrupted(policy: RequestOver["policy"]): Promise<ReturnType<typeof layerKit>> {
  const kit = layerKit();
  claimOf(await kit.begin({ policy: policy ?? {} }));
  kit.fault({ kind: "fail" }, "renew");
  await kit.clock.run(3_001);
  return kit;
}

describe("SPEC §4, the table as responses", () => {
  test("absent: run, recorded, sent; done and the same: replayed; done and another: 422", async () => {
    const { send } = layerKit();
    expect(await send()).toMatchObject({ ran: true, status: 201, text: "run 1" });
    const replay = await send();
    expect(replay).toMatchObject({ ran: false, status: 201, text: "run 1" });
    expect(headerValue(replay.headers, "idempotent-replayed")).toBe("true");
    expect(await send({ text: "[]" })).toMatchObject({ ran: false, status: 422, code: "key_reused" });
    expect(await send({ query: "?a" })).toMatchObject({ code: "key_reused" });
    expect(await send({ policy: { onMismatch: "replay" }, text: "[]" })).toMatchObject({ ran: false, text: "run 1" });
    expect(await send({ policy: { duplicates: "reject" } })).toMatchObject({ status: 409, code: "duplicate" });
  });

  test("expired: as absent, at the instant", async () => {
    const { send, clock } = layerKit();
    await send();
    await clock.run(24 * HOUR - 1);
    expect((await send()).ran).toBe(false);
    await clock.run(1);
    expect((await send()).ran).toBe(true);
  });

  test("running: 409 in_progress with the policy's Retry-After, another request 422", async () => {
    const { begin, send } = layerKit();
    claimOf(await begin());
    const duplicate = await send({ policy: { retryAfter: "7s" } });
    expect(duplicate).toMatchObject({ ran: false, status: 409, code: "in_progress" });
    expect(headerValue(duplicate.headers, "retry-after")).toBe("7");
    expect(await send({ text: "[]" })).toMatchObject({ status: 422, code: "key_reused" });
    expect(await send({ text: "[]", policy: { onMismatch: "replay" } })).toMatchObject({ code: "in_progress" });
  });

  test("running and waiting: the answer when it is there, in_progress when the wait is over", async () => {
    const { begin, send, clock } = layerKit();
    const claim = claimOf(await begin());
    const brief = send({ policy: { whileRunning: { wait: 100 } } });
    const long = send({ policy: { whileRunning: { wait: "1m" } } });
    await clock.run(200);
    expect(await brief).toMatchObject({ status: 409, code: "in_progress" });
    await claim.finish(response("late", 202));
    await clock.run(100);
    expect(await long).toMatchObject({ ran: false, status: 202, text: "late" });
  });

  test("lapsed: hold answers outcome_unknown from then on, another request 422", async () => {
    const { send } = await interrupted(short);
    expect(await send({ policy: short, text: "[]" })).toMatchObject({ status: 422 });
    for (let time = 0; time < 2; time++)
      expect(await send({ policy: short })).toMatchObject({ ran: false, status: 500, code: "outcome_unknown" });
    expect(await send({ policy: short, text: "[]" })).toMatchObject({ status: 422 });
  });

  test("lapsed: rerun takes it over, and the lost owner's client gets in_progress", async () => {
    const { begin, send, fault, clock } = layerKit();
    const stalled = claimOf(await begin({ policy: rerun }));
    fault({ kind: "fail" }, "renew");
    await clock.run(3_001);
    expect(await send({ policy: rerun })).toMatchObject({ ran: true, text: "run 1" });
    expect(await stalled.finish(response("stale"))).toMatchObject({ status: 409 });
    expect(await send({ policy: rerun })).toMatchObject({ ran: false, text: "run 1" });
  });

  test("lapsed: recover records what it is told, or runs what never happened", async () => {
    for (const outcome of ["done", "never-happened"] as const) {
      const { begin, send, fault, clock } = layerKit();
      const body = new TextEncoder().encode("told");
      const verdict = outcome === "done" ? { outcome, response: { status: 200, headers: [], body } } : { outcome };
      const over = { surface: "library", policy: { ...short, onInterrupted: async () => verdict } } as const;
      claimOf(await begin(over));
      fault({ kind: "fail" }, "renew");
      await clock.run(3_001);
      expect(await send(over)).toMatchObject(outcome === "done" ? { ran: false, text: "told" } : { ran: true });
    }
  });

  test("unknown: the status that was recorded; a stalled owner may still complete it (SPEC §4.2)", async () => {
    const { begin, send, clock, fault } = layerKit();
    const claim = claimOf(await begin());
    expect(await claim.unknown(504, "gone")).toMatchObject({ status: 504 });
    expect(await send()).toMatchObject({ ran: false, status: 504, code: "outcome_unknown" });
    const stalled = claimOf(await begin({ key: "k2", policy: short }));
    fault({ kind: "fail" }, "renew");
    await clock.run(3_001);
    expect(await send({ key: "k2", policy: short })).toMatchObject({ status: 500 });
    expect(await stalled.finish(response("after all"))).toMatchObject({ status: 200 });
    expect(await send({ key: "k2", policy: short })).toMatchObject({ ran: false, text: "after all" });
  });
});

describe("SPEC §2 §3 before anything runs", () => {
  test.each(["OPTIONS", "HEAD", "TRACE", "CONNECT"])("K8 %s is never keyed nor required", async (method) => {
    const { begin } = layerKit();
    const begun = await begin({ method, key: null, policy: { methods: "all", required: true } });
    expect(begun).toEqual({ kind: "pass", headers: [], observation: null });
  });

  test("K8 where no policy covers the method the key is ignored, and said so where asked", async () => {
    const { begin } = layerKit();
    expect(await begin({ method: "PUT" })).toMatchObject({ kind: "pass", headers: [] });
    const announced = { method: "PUT", policy: { announceIgnored: true } };
    expect(await begin(announced)).toMatchObject({ headers: [["Idempotency-Status", "ignored"]] });
    expect(await begin({ ...announced, key: null })).toMatchObject({ headers: [] });
  });

  test("K6 K7 keys that cannot be read, or that are missing where they are required", async () => {
    const { send } = layerKit();
    for (const key of ["", "a b", 'a"', "a,b", "x".repeat(256)])
      expect(await send({ key })).toMatchObject({ ran: false, status: 400, code: "key_invalid" });
    expect(await send({ headers: [["idempotency-KEY", "other"]] })).toMatchObject({ code: "key_invalid" });
    expect(await send({ key: null, policy: { required: true } })).toMatchObject({ status: 400, code: "key_missing" });
    expect(await send({ key: null })).toMatchObject({ ran: true, headers: [] });
    expect(await send({ key: '"same"' })).toMatchObject({ ran: true });
    expect(await send({ key: "same" })).toMatchObject({ ran: false, status: 201 });
  });

  test("S1 an account that is not known is 400, 401 with its challenge, or 503 while nobody can tell", async () => {
    const { send } = layerKit();
    const refused = { kind: "refused", detail: "Say who you are." } as const;
    expect(await send({ account: { ...refused, status: 400 } })).toMatchObject({
      ran: false,
      status: 400,
      code: "account_unknown",
    });
    const sent = await send({ account: { ...refused, status: 401, wwwAuthenticate: "Bearer" } });
    expect(sent).toMatchObject({ status: 401, code: "account_unknown" });
    expect(headerValue(sent.headers, "www-authenticate")).toBe("Bearer");
    const later = await send({ account: { ...refused, status: 503 } });
    expect(later).toMatchObject({ status: 503, code: "account_unknown" });
    expect(headerValue(later.headers, "retry-after")).toBe("1");
  });

  test("S1 records made under a replaced account key are found, new ones are made under the new", async () => {
    const { send } = layerKit();
    const renamed = { kind: "account", account: "new", previous: ["older", "old"] } as const;
    await send({ account: "old" });
    expect(await send({ account: renamed })).toMatchObject({ ran: false, text: "run 1" });
    expect(await send({ account: renamed, key: "k2" })).toMatchObject({ ran: true });
    expect(await send({ account: "new", key: "k2" })).toMatchObject({ ran: false });
  });

  test("S5 P3 environment, namespace and account keep keys apart; so does the operation where a policy says so", async () => {
    const { send } = layerKit();
    await send();
    for (const over of [{ environment: "test" }, { namespace: "other" }, { account: "bob" }])
      expect((await send(over)).ran).toBe(true);
    const policy = { scope: "account+operation" } as const;
    expect((await send({ policy })).ran).toBe(true);
    expect((await send({ policy, path: "/v1/other" })).ran).toBe(true);
    expect((await send({ policy, method: "PATCH" })).ran).toBe(true);
    expect((await send({ policy })).ran).toBe(false);
  });

  test("S7 what B is answered does not depend on whether A used the key", async () => {
    const probes: RequestOver[] = [IETF, { text: "[]" }, { key: "a b" }, { policy: { duplicates: "reject" } }];
    for (const probe of probes) {
      const [used, fresh] = [layerKit(), layerKit()];
      await used.send({ account: "alice" });
      const operation = async (claim: Parameters<Parameters<typeof used.send>[1] & object>[0]) =>
        claim.finish(response("b"));
      const answers = [
        await used.send({ ...probe, account: "bob" }, operation),
        await fresh.send({ ...probe, account: "bob" }, operation),
      ];
      expect(answers[0]).toEqual(answers[1]);
      const query = { namespace: "default", environment: "live", account: "bob", operation: null, key: "k-2" };
      expect(await used.layer.keyState(query)).toEqual({ state: "absent" });
    }
  });
});

describe("SPEC §8 expiration", () => {
  const policy = { profile: "fyno" } as const;
  const until = (ms: number): RequestOver => ({ policy, headers: [["X-Idempotency-Expiration", String(ms)]] });

  test("8.1 it says how long the key is kept; 8.2 a duplicate's changes nothing", async () => {
    const { send, clock } = layerKit();
    const start = clock.now();
    await send(until(start + 48 * HOUR));
    await clock.run(47 * HOUR);
    expect((await send(until(clock.now() + 100 * HOUR))).ran).toBe(false);
    await clock.run(HOUR);
    expect((await send({ policy })).ran).toBe(true);
  });

  test("8.1 a bad value makes no record and runs nothing, but what is there is answered", async () => {
    const { send, store, clock } = layerKit();
    for (const bad of [
      until(1),
      { policy, headers: [["x-idempotency-expiration", "soon"]] } satisfies RequestOver,
      until(clock.now() + 400 * 24 * HOUR),
    ]) {
      expect(await send(bad)).toMatchObject({ ran: false, status: 400, code: "expiration_invalid" });
    }
    expect(store.calls.some(({ operation }) => operation === "claim")).toBe(false);
    await send({ policy });
    expect(await send(until(1))).toMatchObject({ ran: false, status: 201, text: "run 1" });
  });
});

describe("SPEC §4.5 §4.8 §4.9 what an answer says of its operation", () => {
  const answered =
    (status: number, headers: HttpResponse["headers"] = []) =>
    async (claim: ReturnType<typeof claimOf>) =>
      claim.finish(response("answer", status, headers));
  const busy: HttpResponse["headers"] = [["Retry-After", "1"]];
  const rows: [string, RequestOver, number, HttpResponse["headers"], "kept" | "free" | "unknown"][] = [
    ["500 is an answer", {}, 500, [], "kept"],
    ["422 in the gateway did not start", {}, 422, [], "free"],
    ["422 in the library did", { surface: "library" }, 422, [], "kept"],
    ["422 under glyue did", { policy: { profile: "glyue" } }, 422, [], "kept"],
    ["429 under glyue did not", { policy: { profile: "glyue" } }, 429, [], "free"],
    ["503 with Retry-After did not", {}, 503, busy, "free"],
    ["503 with Retry-After under apiture did", { policy: { profile: "apiture" } }, 503, busy, "kept"],
    ["503 without did", {}, 503, [], "kept"],
    ["503 with Retry-After in the library did", { surface: "library" }, 503, busy, "kept"],
    ["the upstream's word: final", {}, 422, [["Onceward-Outcome", " Final "]], "kept"],
    ["the upstream's word: not started", {}, 200, [["onceward-outcome", "not-started"]], "free"],
    ["another word is none", {}, 200, [["Onceward-Outcome", "perhaps"]], "kept"],
    ["unknownStatuses", { policy: { unknownStatuses: [502] } }, 502, [], "unknown"],
    [
      "unknownStatuses, though final",
      { policy: { unknownStatuses: [502] } },
      502,
      [["Onceward-Outcome", "final"]],
      "kept",
    ],
  ];
  test.each(rows)("%s", async (_what, over, status, headers, then) => {
    const { send } = layerKit();
    const first = await send(over, answered(status, headers));
    expect(first.status).toBe(status);
    expect(headerValue(first.headers, "onceward-outcome")).toBeUndefined();
    const second = await send(over, answered(200));
    expect(second.ran).toBe(then === "free");
    if (then === "kept") expect(second).toMatchObject({ status, text: "answer" });
    if (then === "unknown") expect([first.code, second.code]).toEqual(["outcome_unknown", "outcome_unknown"]);
  });

  test("4.5 notStarted gives the key back, also where its status would be kept", async () => {
    const { send } = layerKit();
    expect(await send({}, (claim) => claim.notStarted(response("no", 500)))).toMatchObject({ status: 500, text: "no" });
    expect((await send()).ran).toBe(true);
  });
});

describe("SPEC §5.2–5.4 what is kept", () => {
  const fields: HttpResponse["headers"] = [
    ["Date", "Thu, 01 Jan 2026 00:00:00 GMT"],
    ["Set-Cookie", "a=1"],
    ["Set-Cookie", "b=2"],
    ["Connection", "x-hop"],
    ["X-Hop", "1"],
    ["Onceward-Secret", "1"],
    ["X-Kept", "\u00e9"],
  ];
  const operation = async (claim: ReturnType<typeof claimOf>) => claim.finish(response("body", 200, fields));
  const names = (headers: HttpResponse["headers"]) => headers.map(([name]) => name);

  test("5.2 Date and Set-Cookie only where the policy keeps them; never a field of the connection", async () => {
    const { send } = layerKit();
    const first = await send({}, operation);
    expect(names(first.headers)).toEqual([
      "Content-Type",
      "Date",
      "Set-Cookie",
      "Set-Cookie",
      "X-Kept",
      "Content-Length",
    ]);
    expect(names((await send()).headers)).toEqual(["Content-Type", "X-Kept", "Idempotent-Replayed", "Content-Length"]);
    const policy = { keepDate: true, keepSetCookie: true };
    const kept = await send({ policy, key: "k2" }, operation);
    expect(names((await send({ policy, key: "k2" })).headers)).toEqual([
      ...names(kept.headers).slice(0, -1),
      "Idempotent-Replayed",
      "Content-Length",
    ]);
  });

  test.each(["glyue", "apiture", "gains", "fyno"] as const)(
    "5.3 under %s nothing on the wire tells a replay apart",
    async (profile) => {
      const { send } = layerKit();
      const plain = profile === "glyue" ? fields : fields.filter(([name]) => name !== "Set-Cookie");
      const over = { policy: { profile } };
      const first = await send(over, (claim) => claim.finish(response("body", 200, plain)));
      expect({ ...(await send(over)), ran: true }).toEqual(first);
    },
  );

  test("5.4 a body too large, or a stream, is sent once, and its duplicate is told the first status", async () => {
    const { send, begin } = layerKit();
    const large = await send({ policy: { maxBody: 3 } }, operation);
    expect(large).toMatchObject({ status: 200, text: "body" });
    const again = await send({ policy: { maxBody: 3 } });
    expect(again).toMatchObject({ ran: false, status: 409, code: "response_not_kept" });
    expect(JSON.parse(again.text)).toMatchObject({ originalStatus: 200 });
    const claim = claimOf(await begin({ key: "k2" }));
    const stream = await claim.finishUnkept({ status: 206, headers: fields });
    expect(stream.kind === "stream" && stream.head.status).toBe(206);
    expect(JSON.parse((await send({ key: "k2" })).text)).toMatchObject({
      code: "response_not_kept",
      originalStatus: 206,
    });
  });

  test("5.4 a stream that did not start, that is unknown, or that cannot be recorded", async () => {
    const { send, begin, fault } = layerKit();
    expect(await claimOf(await begin()).finishUnkept({ status: 429, headers: [] })).toMatchObject({ kind: "stream" });
    expect((await send()).ran).toBe(true);
    const policy = { unknownStatuses: [504] };
    const unknown = await claimOf(await begin({ key: "k2", policy })).finishUnkept({ status: 504, headers: [] });
    expect(unknown).toMatchObject({ kind: "answer", response: { status: 504 } });
    const claim = claimOf(await begin({ key: "k3", policy: rerun }));
    fault({ kind: "fail" }, "complete");
    expect(await claim.finishUnkept({ status: 200, headers: [] })).toMatchObject({
      kind: "answer",
      response: { status: 503 },
    });
  });
});

describe("SPEC §4.11 the store out of reach", () => {
  test("at the claim: 503 and nothing runs; bypass is the explicit other choice", async () => {
    const { send, fault } = layerKit();
    fault({ kind: "fail" }, "claim", "release");
    const refused = await send();
    expect(refused).toMatchObject({ ran: false, status: 503, code: "store_unavailable" });
    expect(headerValue(refused.headers, "retry-after")).toBe("1");
    expect(await send({ policy: { onStoreError: "bypass" } })).toMatchObject({ ran: true });
  });

  test("at the recording: the real answer under hold, 503 outcome_unknown under rerun", async () => {
    const { send, fault, clock } = layerKit();
    fault({ kind: "fail" }, "complete", "renew");
    expect(await send()).toMatchObject({ ran: true, status: 201, text: "run 1" });
    const other = await send({ key: "k2", policy: { onInterrupted: "rerun" } });
    expect(other).toMatchObject({ status: 503, code: "outcome_unknown" });
    fault();
    await clock.run(5_000);
    expect(await send()).toMatchObject({ ran: false, status: 201, text: "run 1" });
    expect(await send({ key: "k2", policy: { onInterrupted: "rerun" } })).toMatchObject({ ran: false, text: "run 2" });
  });
});

describe("SPEC §6 §9.2 §10.2 §11", () => {
  test("6 under stripe the error is where Stripe's clients look, and key_reused is 400", async () => {
    const { send } = layerKit({ policyDocument: "/doc" });
    const policy = { profile: "stripe" } as const;
    await send({ policy });
    const reused = await send({ policy, text: "[]" });
    expect(reused).toMatchObject({ status: 400, code: "key_reused" });
    expect(JSON.parse(reused.text)).toEqual({
      error: { type: "idempotency_error", code: "key_reused", message: expect.any(String) },
    });
    expect(headerValue(reused.headers, "link")).toBe('</doc>; rel="describedby"');
    expect(headerValue(reused.headers, "cache-control")).toBe("no-store");
  });

  test("9.2 keys are kept as digests and paths as they may be shown, in records and history", async () => {
    const { send, store, history } = layerKit({ hashKeys: true, showPath: (path) => path.replace(/\d+/, ":id") });
    const over = { key: "secret-key", path: "/users/42" };
    await send(over);
    expect((await send(over)).ran).toBe(false);
    const { items } = await store.list({ limit: 10 });
    const all = JSON.stringify([items, await history()]);
    expect(all).not.toContain("secret-key");
    expect(all).not.toContain("/users/42");
    expect(items[0]).toMatchObject({ operation: "POST /users/:id", key: expect.stringMatching(/^sha256:/) });
  });

  test("10.2 the state of one's own key", async () => {
    const { layer, begin, send, clock } = layerKit();
    const query = { namespace: "default", environment: "live", account: "alice", operation: null, key: "k-1" };
    expect(await layer.keyState(query)).toEqual({ state: "absent" });
    const since = clock.now();
    const claim = claimOf(await begin());
    expect(await layer.keyState(query)).toEqual({ state: "running", since });
    await clock.run(5);
    await claim.finish(response("x", 202));
    const expiresAt = since + 24 * HOUR;
    expect(await layer.keyState(query)).toEqual({ state: "done", since, endedAt: since + 5, status: 202, expiresAt });
    await claimOf(await begin({ key: "k-2" })).unknown(502, "gone");
    expect(await layer.keyState({ ...query, key: "k-2" })).toMatchObject({ state: "unknown" });
    expect(await layer.keyState({ ...query, account: "renamed", previous: ["alice"] })).toMatchObject({
      state: "done",
    });
    await send();
  });

  test("11 every keyed request is a run; each duplicate has the flag and the step, no first run has", async () => {
    const { send, begin, history } = layerKit();
    await send({ policy: { profile: "glyue" } });
    await send({ policy: { profile: "glyue" } });
    claimOf(await begin({ key: "k2" }));
    await send({ key: "k2" });
    await send({ key: "k2", text: "[]" });
    await send({ key: "a b" });
    const runs = await history();
    expect(runs.map(({ outcome, code, status }) => [outcome, code, status])).toEqual([
      ["refused", "key_invalid", 400],
      ["refused", "key_reused", 422],
      ["refused", "in_progress", 409],
      ["running", null, null],
      ["replayed", null, 201],
      ["recorded", null, 201],
    ]);
    expect(runs.map(({ flags }) => flags.join())).toEqual(["", "", "IDEMPOTENT_REQUEST", "", "IDEMPOTENT_REQUEST", ""]);
    for (const { flags, steps } of runs)
      expect(steps.some(({ name }) => name === "IDEMPOTENT_REQUEST")).toBe(flags.includes("IDEMPOTENT_REQUEST"));
    expect(runs[4]?.replayOf).toBe(runs[5]?.id);
    expect(runs[2]?.replayOf).toBe(runs[3]?.id);
  });

  test("S6 who may not have a replay gets what the upstream says, and nothing runs", async () => {
    const { send, history } = layerKit();
    await send();
    const forbidden = { authorizeReplay: async () => response("no", 403) };
    expect(await send(forbidden)).toMatchObject({ ran: false, status: 403, text: "no" });
    expect(await send({ authorizeReplay: async () => null })).toMatchObject({ status: 201, text: "run 1" });
    expect((await history())[1]).toMatchObject({ outcome: "refused", status: 403, flags: ["IDEMPOTENT_REQUEST"] });
  });
});
