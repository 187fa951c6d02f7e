// The glyue profile against "Idempotency Layer" of the Glyue user docs, sentence by sentence.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missing } from "../tools.js";
import { type Client, clientOf } from "./harness/client.js";
import { curl } from "./harness/curl.js";
import { expectProblem } from "./harness/expectations.js";
import { type Gateway, type GatewayUnderTest, startGateway, startGatewayAt } from "./harness/gateway.js";
import { DAY, HOUR, MINUTE } from "./harness/held-clock.js";
import { gate, type Seen, startUpstream, type Upstream } from "./harness/upstream.js";

let upstream: Upstream;
let gateway: Gateway;
let held: GatewayUnderTest;
let execute: Client;

/** An integration: it runs, says so in fields and cookies of its own, and tells each run from every other. */
function integration({ method, url }: Seen, nth: number) {
  return {
    status: 200,
    headers: [
      ["Date", "Tue, 03 Mar 2026 08:30:00 GMT"],
      ["Content-Type", "application/json"],
      ["Set-Cookie", `session=${nth}; HttpOnly`],
      ["Set-Cookie", "theme=dark"],
      ["X-Run-Id", `run-${nth}`],
      ["x-run-id", "in another spelling"],
      ["Server", "Glyue"],
    ],
    body: JSON.stringify({ ran: `${method} ${url}`, run_history_id: nth }),
  } as const;
}

beforeAll(async () => {
  upstream = await startUpstream(integration);
  const config = { upstream: upstream.url, profile: "glyue" };
  [gateway, held] = await Promise.all([startGateway(config), startGatewayAt("2026-03-03T08:30:00Z", config)]);
  execute = clientOf(gateway.origin, { path: "/execute/path/to/integration/here", body: '{"foo":"bar"}' });
});

afterAll(async () => {
  await Promise.all([gateway?.stop(), held?.stop()]);
  await upstream?.close();
});

describe("when the Idempotency-Key header is present", () => {
  test('"will be returned the same response as the initial request without re-running the integration" (§12 recorded)', async () => {
    const first = await execute({ key: "same-response" });
    const second = await execute({ key: "same-response" });
    const third = await execute({ key: "same-response" });
    expect(first.status).toBe(200);
    expect(upstream.runs("same-response")).toBe(1);
    expect(second.wire).toEqual(first.wire);
    expect(third.wire).toEqual(first.wire);
  });

  test('"any subsequent calls from the same account": another account\'s call with the same value runs (P3, S1)', async () => {
    const alice = await execute({ key: "accounts" });
    const bob = await execute({ key: "accounts", account: "bob" });
    expect(upstream.runs("accounts")).toBe(2);
    expect(bob.body).not.toEqual(alice.body);
    expect((await execute({ key: "accounts", account: "bob" })).wire).toEqual(bob.wire);
    expect((await execute({ key: "accounts" })).wire).toEqual(alice.wire);
    expect(upstream.runs("accounts")).toBe(2);
  });

  test('"from the same Glyue account": the same user with another password is another credential (S1)', async () => {
    const withPassword = (password: string) =>
      execute({
        key: "credential",
        account: null,
        headers: [["Authorization", `Basic ${Buffer.from(`alice:${password}`).toString("base64")}`]],
      });
    await withPassword("one");
    await withPassword("two");
    expect(upstream.runs("credential")).toBe(2);
    await withPassword("one");
    expect(upstream.runs("credential")).toBe(2);
  });

  test('"same Idempotency-Key value": compared exactly, letter by letter (K5)', async () => {
    for (const key of ["Case", "case", "CASE", "case-", "cas%65"]) await execute({ key });
    for (const key of ["Case", "case", "CASE", "case-", "cas%65"]) expect(upstream.runs(key)).toBe(1);
  });

  test.each(["GET", "POST", "PUT", "PATCH", "DELETE"])(
    '"for all integrations": %s requests too (§12 methods: every method)',
    async (method) => {
      const key = `method-${method}`;
      const first = await execute({ key, method });
      expect((await execute({ key, method })).wire).toEqual(first.wire);
      expect(upstream.runs(key)).toBe(1);
    },
  );

  test('"will be treated as a duplicate request": whatever its body, path, query and method (§12 compared: key only)', async () => {
    const first = await execute({ key: "key-only" });
    for (const other of [
      { body: '{"foo":"baz"}' },
      { body: "" },
      { path: "/execute/another/integration" },
      { path: "/execute/path/to/integration/here?x=1" },
      { method: "GET" },
      { method: "DELETE" },
      { headers: [["Content-Type", "text/xml"]] as const },
    ]) {
      expect((await execute({ key: "key-only", ...other })).wire).toEqual(first.wire);
    }
    expect(upstream.runs("key-only")).toBe(1);
  });

  test("without the header every call runs (K7)", async () => {
    const ran = upstream.seen.length;
    await execute();
    await execute();
    expect(upstream.seen.length).toBe(ran + 2);
  });
});

describe("resending a request", () => {
  test('"when the client does not receive a response […] due to a network connectivity drop": it gets it then (§4.7)', async () => {
    const under = gate();
    upstream.answer("dropped", async (seen, nth) => {
      await under.pass();
      return integration(seen, nth);
    });
    await expect(execute({ key: "dropped", leaveAfter: under.entered })).rejects.toThrow();
    under.open();
    await gateway.runs("dropped", 1);
    const retry = await execute({ key: "dropped" });
    expect(retry.status).toBe(200);
    expect((await execute({ key: "dropped" })).wire).toEqual(retry.wire);
    expect(upstream.runs("dropped")).toBe(1);
  });

  test('"determine whether the operation actually succeeded, or if it should try again with a new Idempotency-Key"', async () => {
    upstream.answer("failed", { status: 500, body: "the core is down" });
    const failed = await execute({ key: "failed" });
    const again = await execute({ key: "failed" });
    expect(again.wire).toEqual(failed.wire);
    expect(upstream.runs("failed")).toBe(1);
    expect((await execute({ key: "a-new-one" })).status).toBe(200);
    expect(upstream.runs("a-new-one")).toBe(1);
  });
});

describe('"Glyue guarantees that integrations will not be re-run if they are called with"', () => {
  const sendHeld: Client = (sent) => clientOf(held.origin, { path: "/execute/x", body: "{}" })(sent);

  test('"within a 24 hour period from the original request": to the millisecond (§4.10)', async () => {
    const first = await sendHeld({ key: "period" });
    const [record] = await held.records("period");
    const arrivedAt = record?.createdAt ?? 0;
    // A duplicate in between does not begin the period anew.
    held.clock.set(arrivedAt + 23 * HOUR);
    expect((await sendHeld({ key: "period" })).wire).toEqual(first.wire);
    held.clock.set(arrivedAt + DAY - 1);
    expect((await sendHeld({ key: "period" })).wire).toEqual(first.wire);
    expect(upstream.runs("period")).toBe(1);
    held.clock.set(arrivedAt + DAY);
    expect((await sendHeld({ key: "period" })).body).not.toEqual(first.body);
    expect(upstream.runs("period")).toBe(2);
  });

  test('"from the original request": from the arrival of its head, however long its body takes (§4.10)', async () => {
    const waitedMs = 600;
    const first = await sendHeld({ key: "slow-upload", bodyAfterMs: waitedMs });
    expect(first.status).toBe(200);
    const [record] = await held.records("slow-upload");
    // The held date has not moved since; what passed on the monotonic clock is taken off it. A busy machine may see the
    // head late, but counted from the body it would be nothing.
    expect(record?.createdAt).toBeLessThanOrEqual(held.clock.at - waitedMs / 3);
    expect((record?.expiresAt ?? 0) - (record?.createdAt ?? 0)).toBe(DAY);
  });

  test('"from the original request": from its arrival, not from its answer (§4.10)', async () => {
    const under = gate();
    upstream.answer("slow", async (seen, nth) => {
      await under.pass();
      return integration(seen, nth);
    });
    const running = sendHeld({ key: "slow" });
    await under.entered;
    const [record] = await held.records("slow");
    const arrivedAt = record?.createdAt ?? 0;
    held.clock.advance(10 * MINUTE);
    under.open();
    const first = await running;
    expect(first.status).toBe(200);
    held.clock.set(arrivedAt + DAY - 1);
    expect((await sendHeld({ key: "slow" })).wire).toEqual(first.wire);
    held.clock.set(arrivedAt + DAY);
    await sendHeld({ key: "slow" });
    expect(upstream.runs("slow")).toBe(2);
  });

  test.each([
    [200, ""],
    [201, "made"],
    [400, "the payload is not valid"],
    [404, "no such integration"],
    [409, "a conflict of the integration's own"],
    [422, "cannot be processed"],
    [500, "failed"],
    [503, "later"],
  ])(
    '"the status and response of the first run will be returned": %i (§12 validation failures: recorded as run)',
    async (status, body) => {
      const key = `first-run-${status}`;
      upstream.answer(key, (_, nth) => ({
        status,
        headers: [
          ["Date", "Tue, 03 Mar 2026 08:30:00 GMT"],
          ["Retry-After", "9"],
          ["X-Nth", String(nth)],
        ],
        body,
      }));
      const first = await execute({ key });
      expect(first.status).toBe(status);
      expect((await execute({ key })).wire).toEqual(first.wire);
      expect(upstream.runs(key)).toBe(1);
    },
  );

  test.each([401, 403, 429])(
    "a refusal of the caller itself is no run: after %i the key is unused (§12 statuses taken as not started)",
    async (status) => {
      const key = `caller-${status}`;
      upstream.answer(key, { status, body: "not you" });
      expect((await execute({ key })).status).toBe(status);
      upstream.answer(key, integration);
      const ran = await execute({ key });
      expect(ran.status).toBe(200);
      expect((await execute({ key })).wire).toEqual(ran.wire);
      expect(upstream.runs(key)).toBe(2);
    },
  );
});

describe("the key", () => {
  test('"IDs may be up to 64 characters long": 64 are one, 65 are refused before anything runs (K4)', async () => {
    const longest = "g".repeat(64);
    const first = await execute({ key: longest });
    expect(first.status).toBe(200);
    expect((await execute({ key: longest })).wire).toEqual(first.wire);
    const ran = upstream.seen.length;
    expectProblem(await execute({ key: `${longest}g` }), 400, "key_invalid");
    expectProblem(await execute({ key: `${longest}h` }), 400, "key_invalid");
    expect(upstream.seen.length).toBe(ran);
  });

  test('"strongly recommended that a UUID generator is used": a UUID in every common spelling is read (K2)', async () => {
    for (const key of [
      "2F1C2E0E-93A5-4DCF-9A34-1F5A1D0C9B7E",
      "{2f1c2e0e-93a5-4dcf-9a34-1f5a1d0c9b7e}",
      "urn:uuid:2f1c2e0e-93a5-4dcf-9a34-1f5a1d0c9b7e",
      "2f1c2e0e93a54dcf9a341f5a1d0c9b7e",
    ]) {
      const first = await execute({ key });
      expect(first.status).toBe(200);
      expect((await execute({ key })).wire).toEqual(first.wire);
    }
  });

  test("the upstream is sent the header unchanged (§5.7)", async () => {
    await execute({ key: '"quoted key"' });
    expect(upstream.seen.at(-1)?.key).toBe('"quoted key"');
  });
});

describe("responses from the idempotency layer", () => {
  test('"the same body, status, and headers that were sent in the original response": Date and Set-Cookie too (§5.2)', async () => {
    const first = await execute({ key: "headers" });
    const duplicate = await execute({ key: "headers" });
    expect(duplicate.status).toBe(first.status);
    expect(duplicate.headers).toEqual(first.headers);
    expect(duplicate.body).toEqual(first.body);
    expect(duplicate.header("Date")).toBe("Tue, 03 Mar 2026 08:30:00 GMT");
    expect(duplicate.all("Set-Cookie")).toHaveLength(2);
    expect(duplicate.headers.filter(([name]) => name.toLowerCase() === "x-run-id").map(([name]) => name)).toEqual([
      "X-Run-Id",
      "x-run-id",
    ]);
  });

  test('"the same headers": where the integration sent no Date, the first answer\'s own is the one replayed (§5.2)', async () => {
    const sendHeld = clientOf(held.origin, { path: "/execute/x", body: "{}" });
    upstream.answer("undated", { status: 200, headers: [["X-A", "1"]], body: "x", dated: false });
    const first = await sendHeld({ key: "undated" });
    expect(first.header("Date")).toBe(new Date(held.clock.at).toUTCString());
    held.clock.advance(HOUR);
    expect((await sendHeld({ key: "undated" })).wire).toEqual(first.wire);
  });

  test('"It contains no indication that the request was captured by the idempotency layer": byte for byte (§5.3)', async () => {
    const first = await execute({ key: "no-indication" });
    const duplicate = await execute({ key: "no-indication" });
    expect(duplicate.wire).toEqual(first.wire);
    expect(duplicate.wire.toString()).not.toMatch(/idempot|replay|onceward|duplicate/i);
  });

  test.each([
    [
      "binary",
      {
        status: 200,
        headers: [["Content-Type", "application/octet-stream"]],
        body: Buffer.from(Array.from({ length: 512 }, (_, at) => at % 256)),
      },
    ],
    [
      "compressed",
      {
        status: 200,
        headers: [["Content-Encoding", "gzip"]],
        body: Buffer.from("1f8b080000000000000303000000000000000000", "hex"),
      },
    ],
    ["empty", { status: 200, body: "" }],
    ["204", { status: 204 }],
    ["303", { status: 303, headers: [["Location", "/elsewhere"]] }],
    ["402", { status: 402, body: "pay" }],
  ] as const)('"the same body": %s (§5.1)', async (what, reply) => {
    const key = `body-${what}`;
    upstream.answer(key, reply);
    const first = await execute({ key });
    if ("body" in reply) expect(first.body).toEqual(Buffer.from(reply.body));
    expect((await execute({ key })).wire).toEqual(first.wire);
    expect(upstream.runs(key)).toBe(1);
  });

  test("\"In Glyue's Run History, duplicate requests are denoted by the IDEMPOTENT_REQUEST flag within the integration run's steps\" (§11)", async () => {
    await execute({ key: "history" });
    await execute({ key: "history" });
    await execute({ key: "history", account: "bob" });
    const runs = await gateway.runs("history", 3);
    const [bob, duplicate, first] = runs;
    const stepsOf = (run: typeof first): string[] => run?.steps.map((step) => step.name) ?? [];
    expect(stepsOf(duplicate)).toContain("IDEMPOTENT_REQUEST");
    expect(duplicate?.flags).toContain("IDEMPOTENT_REQUEST");
    expect(duplicate?.replayOf).toBe(first?.id);
    for (const original of [first, bob]) {
      expect(stepsOf(original)).not.toContain("IDEMPOTENT_REQUEST");
      expect(original?.flags).not.toContain("IDEMPOTENT_REQUEST");
      expect(original?.status).toBe(200);
    }
    expect(bob?.account).not.toBe(first?.account);
  });

  test('"sent before the original request finishes": "HTTP 409 status", "the integration will not be re-run" (§4)', async () => {
    const under = gate();
    upstream.answer("before-finish", async (seen, nth) => {
      await under.pass();
      return integration(seen, nth);
    });
    const original = execute({ key: "before-finish" });
    await under.entered;
    for (let time = 0; time < 3; time += 1) expectProblem(await execute({ key: "before-finish" }), 409, "in_progress");
    // Compared is the key only, also while it runs.
    expectProblem(await execute({ key: "before-finish", body: '{"foo":"other"}' }), 409, "in_progress");
    // S7: another account is not held up by it.
    const bob = execute({ key: "before-finish", account: "bob" });
    under.open();
    const first = await original;
    expect((await bob).status).toBe(200);
    expect((await execute({ key: "before-finish" })).wire).toEqual(first.wire);
    expect(upstream.runs("before-finish"), "alice's and bob's").toBe(2);
    const refused = (await gateway.runs("before-finish", 7)).filter((run) => run.status === 409);
    expect(refused).toHaveLength(4);
    for (const run of refused) expect(run.steps.map((step) => step.name)).toContain("IDEMPOTENT_REQUEST");
  });
});

describe.skipIf(missing("curl"))("sample client code", () => {
  const SAMPLE = `curl --location 'https://glyuedev.yourdomain.sandboxbanking.com/execute/path/to/integration/here' \\
--header 'Idempotency-Key: IDEMPOTENCY_KEY_HERE' \\
--header 'Content-Type: application/json' \\
--header 'Authorization: Basic ENCODED_BASIC_AUTH_HERE' \\
--data '{
    "foo": "bar"
}'`;

  test("the curl line as written, twice: one run, the same answer (§12)", async () => {
    const replace = { from: "https://glyuedev.yourdomain.sandboxbanking.com", to: gateway.origin };
    const first = await curl(SAMPLE, replace);
    const second = await curl(SAMPLE, replace);
    expect(first.status).toBe(200);
    expect(second).toEqual(first);
    expect(upstream.runs("IDEMPOTENCY_KEY_HERE")).toBe(1);
    const ran = upstream.seen.find((seen) => seen.key === "IDEMPOTENCY_KEY_HERE");
    expect(ran).toMatchObject({ method: "POST", url: "/execute/path/to/integration/here" });
    expect(JSON.parse(ran?.body ?? "")).toEqual({ foo: "bar" });
  });
});
