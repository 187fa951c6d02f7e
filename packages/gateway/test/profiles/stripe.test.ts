// The stripe profile against the behaviour that Stripe documents for API v1 (Idempotent requests, Errors, Advanced error handling).

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missing } from "../tools.js";
import { type Client, clientOf, type Received } from "./harness/client.js";
import { curl } from "./harness/curl.js";
import { expectReplay } from "./harness/expectations.js";
import { type Gateway, type GatewayUnderTest, startGateway, startGatewayAt } from "./harness/gateway.js";
import { DAY } from "./harness/held-clock.js";
import { gate, type Reply, type Seen, startUpstream, type Upstream } from "./harness/upstream.js";

const MARKER = "Idempotent-Replayed";
const FORM = [["Content-Type", "application/x-www-form-urlencoded"]] as const;

let upstream: Upstream;
let gateway: Gateway;
let held: GatewayUnderTest;
let send: Client;

/** Makes a charge for each request that reaches it. */
function charge({ url, body }: Seen, nth: number): Reply {
  const headers = [
    ["Content-Type", "application/json"],
    ["Request-Id", `req_${nth}`],
  ] as const;
  return { status: 200, headers, body: JSON.stringify({ id: `ch_${nth}`, object: "charge", url, body }) };
}

function cardDeclined(): Reply {
  const error = { type: "card_error", code: "card_declined", message: "Your card was declined." };
  return { status: 402, headers: [["Content-Type", "application/json"]], body: JSON.stringify({ error }) };
}

beforeAll(async () => {
  upstream = await startUpstream(charge);
  const config = { upstream: upstream.url, profile: "stripe" };
  [gateway, held] = await Promise.all([startGateway(config), startGatewayAt("2026-01-31T23:59:59.500Z", config)]);
  send = clientOf(gateway.origin, { path: "/v1/charges", headers: FORM, body: "amount=2000&currency=usd" });
});

afterAll(async () => {
  await Promise.all([gateway?.stop(), held?.stop()]);
  await upstream?.close();
});

/** What Stripe's clients read of an error: `error` at the top of a JSON body, and nowhere else. */
function expectStripeError(answer: Received, status: number, type: string, code: string): void {
  expect(answer.status).toBe(status);
  expect(answer.header("Content-Type")).toBe("application/json");
  expect(answer.header("Cache-Control")).toBe("no-store");
  const body = answer.json();
  expect(Object.keys(body)).toEqual(["error"]);
  expect(body["error"]).toMatchObject({ type, code, message: expect.stringMatching(/\S/) });
}

describe("saved results", () => {
  test("the status code and body of the first request are returned to retries, marked Idempotent-Replayed (§12)", async () => {
    const first = await send({ key: "saved" });
    expect(first.status).toBe(200);
    const retry = await send({ key: "saved" });
    expectReplay(retry, first, MARKER);
    expect(retry.header(MARKER)).toBe("true");
    expect(retry.header("Request-Id"), "the first request's own").toBe(first.header("Request-Id"));
    expect(upstream.runs("saved")).toBe(1);
  });

  test('whether it succeeds or fails, "including 500 errors" (§12 recorded)', async () => {
    for (const status of [500, 502, 503, 504]) {
      const key = `error-${status}`;
      upstream.answer(key, (_, nth) => ({
        status,
        headers: [["Content-Type", "application/json"]],
        body: JSON.stringify({ error: { type: "api_error", nth } }),
      }));
      const first = await send({ key });
      expect(first.status).toBe(status);
      expectReplay(await send({ key }), first, MARKER);
      expect(upstream.runs(key)).toBe(1);
    }
  });

  test("a declined card is the result of a charge that was tried: 402 is returned again (§12 recorded)", async () => {
    upstream.answer("declined", cardDeclined());
    const first = await send({ key: "declined" });
    expect(first.status).toBe(402);
    expectReplay(await send({ key: "declined" }), first, MARKER);
    expect(upstream.runs("declined")).toBe(1);
  });

  test("a connection error does not create a second object (§4.7)", async () => {
    const under = gate();
    upstream.answer("connection", async (seen, nth) => {
      await under.pass();
      return charge(seen, nth);
    });
    await expect(send({ key: "connection", leaveAfter: under.entered })).rejects.toThrow();
    under.open();
    await gateway.runs("connection", 1);
    const retry = await send({ key: "connection" });
    expect(retry.json()).toMatchObject({ object: "charge" });
    expect(upstream.runs("connection")).toBe(1);
  });

  test.each([400, 404, 422])(
    "only saved once the endpoint began executing: parameters that fail validation, %i, can be retried (§4.8)",
    async (status) => {
      const key = `validation-${status}`;
      upstream.answer(key, {
        status,
        headers: [["Content-Type", "application/json"]],
        body: '{"error":{"type":"invalid_request_error"}}',
      });
      expect((await send({ key, body: "amount=x" })).status).toBe(status);
      expect((await send({ key, body: "amount=x" })).header(MARKER)).toBeUndefined();
      expect(upstream.runs(key)).toBe(2);
      upstream.answer(key, charge);
      const corrected = await send({ key });
      expect(corrected.status).toBe(200);
      expectReplay(await send({ key }), corrected, MARKER);
    },
  );

  test.each([401, 429])(
    "a rate limiter or a missing API key answers before the idempotency layer: %i may turn out otherwise on a retry (§4.8)",
    async (status) => {
      const key = `before-${status}`;
      upstream.answer(key, { status });
      expect((await send({ key })).status).toBe(status);
      upstream.answer(key, charge);
      expect((await send({ key })).status).toBe(200);
      expect(upstream.runs(key)).toBe(2);
    },
  );

  test("a request that conflicts with one that executes concurrently: 409 idempotency_error, nothing saved, may be retried (§12)", async () => {
    const under = gate();
    upstream.answer("concurrently", async (seen, nth) => {
      await under.pass();
      return charge(seen, nth);
    });
    const running = send({ key: "concurrently" });
    await under.entered;
    const conflict = await send({ key: "concurrently" });
    expectStripeError(conflict, 409, "idempotency_error", "in_progress");
    expect(Number(conflict.header("Retry-After"))).toBeGreaterThanOrEqual(1);
    under.open();
    const first = await running;
    expectReplay(await send({ key: "concurrently" }), first, MARKER);
    expect(upstream.runs("concurrently")).toBe(1);
  });
});

describe("keys", () => {
  test('"up to 255 characters": 256 are refused in Stripe\'s own format (§12 key length, §6)', async () => {
    const first = await send({ key: "s".repeat(255) });
    expect(first.status).toBe(200);
    expectReplay(await send({ key: "s".repeat(255) }), first, MARKER);
    const ran = upstream.seen.length;
    expectStripeError(await send({ key: "s".repeat(256) }), 400, "invalid_request_error", "key_invalid");
    expect(upstream.seen.length).toBe(ran);
  });

  test("removed once they are 24 hours old; a key that is reused after that is a new request (§4.10)", async () => {
    const sendHeld = clientOf(held.origin, { path: "/v1/charges", headers: FORM, body: "amount=2000" });
    const first = await sendHeld({ key: "pruned" });
    const [record] = await held.records("pruned");
    const arrivedAt = record?.createdAt ?? 0;
    held.clock.set(arrivedAt + DAY - 1);
    expectReplay(await sendHeld({ key: "pruned" }), first, MARKER);
    expectStripeError(await sendHeld({ key: "pruned", body: "amount=1" }), 400, "idempotency_error", "key_reused");
    held.clock.set(arrivedAt + DAY);
    const anew = await sendHeld({ key: "pruned", body: "amount=1" });
    expect(anew.status).toBe(200);
    expect(anew.header(MARKER)).toBeUndefined();
    expect(upstream.runs("pruned")).toBe(2);
  });

  test("two API keys are two accounts, in Basic and in Bearer form (S1)", async () => {
    const by = (authorization: string): Promise<Received> =>
      send({ key: "api-keys", account: null, headers: [["Authorization", authorization]] });
    await by(`Basic ${Buffer.from("sk_test_one:").toString("base64")}`);
    await by(`Basic ${Buffer.from("sk_test_two:").toString("base64")}`);
    await by("Bearer sk_test_one");
    expect(upstream.runs("api-keys")).toBe(3);
    await by("Bearer sk_test_one");
    expect(upstream.runs("api-keys")).toBe(3);
    expectStripeError(await send({ key: "api-keys", account: null }), 400, "invalid_request_error", "account_unknown");
  });
});

describe("compared parameters", () => {
  test.each([
    ["another amount", { body: "amount=2001&currency=usd" }],
    ["another parameter", { body: "amount=2000&currency=usd&capture=false" }],
    ["another endpoint", { path: "/v1/refunds" }],
    ["another query", { path: "/v1/charges?expand=customer" }],
  ])("%s under a used key: 400 with error.type idempotency_error, and nothing runs (§12, §6)", async (what, other) => {
    const key = `compared-${what}`.replaceAll(" ", "-");
    const first = await send({ key });
    const refused = await send({ key, ...other });
    expectStripeError(refused, 400, "idempotency_error", "key_reused");
    expect(refused.body.toString()).not.toMatch(/amount|2000/);
    expect(upstream.runs(key)).toBe(1);
    expectReplay(await send({ key }), first, MARKER);
  });

  test("while the first request runs, other parameters are an error of the same kind (§4)", async () => {
    const under = gate();
    upstream.answer("compared-running", async (seen, nth) => {
      await under.pass();
      return charge(seen, nth);
    });
    const running = send({ key: "compared-running" });
    await under.entered;
    expectStripeError(
      await send({ key: "compared-running", body: "amount=1" }),
      400,
      "idempotency_error",
      "key_reused",
    );
    under.open();
    expect((await running).status).toBe(200);
  });
});

describe("methods", () => {
  test("all POST requests accept keys (§12 methods)", async () => {
    for (const path of ["/v1/customers", "/v1/customers/cus_1", "/v1/payment_intents/pi_1/confirm"]) {
      const key = `post-${path.replaceAll("/", ".")}`;
      const first = await send({ key, path });
      expectReplay(await send({ key, path }), first, MARKER);
    }
  });

  test.each(["GET", "DELETE", "PUT", "PATCH"])("a key on %s has no effect (K8)", async (method) => {
    const key = `no-effect-${method}`;
    const client = clientOf(gateway.origin, { path: "/v1/customers/cus_1", method });
    const first = await client({ key });
    const second = await client({ key });
    expect(second.body).not.toEqual(first.body);
    expect(second.header(MARKER)).toBeUndefined();
    expect(upstream.runs(key)).toBe(2);
    expect((await client({ key: "s".repeat(300) })).status, "not even a key that is none").toBe(200);
  });

  test("keys are optional: without one each request runs (K7)", async () => {
    const one = await send();
    expect((await send()).body).not.toEqual(one.body);
  });
});

describe("errors of this layer itself", () => {
  test("a request that this layer refuses is an error that Stripe's clients can read, never a problem document (§6)", async () => {
    for (const refused of [
      await send({ key: '"unterminated' }),
      await send({
        headers: [
          ["Idempotency-Key", "a"],
          ["Idempotency-Key", "b"],
        ],
      }),
      await send({ key: "none", account: null }),
    ])
      expectStripeError(
        refused,
        400,
        "invalid_request_error",
        String((refused.json()["error"] as Record<string, unknown>)["code"]),
      );
  });

  test("an upstream that cannot be reached is an api_error, and the key stays unused (§4.5)", async () => {
    const nobody = await startUpstream();
    await nobody.close();
    const lonely = await startGateway({ upstream: nobody.url, profile: "stripe" });
    try {
      const answer = await clientOf(lonely.origin, { path: "/v1/charges", headers: FORM, body: "amount=1" })({
        key: "lonely",
      });
      expectStripeError(answer, answer.status, "api_error", "upstream_unavailable");
      expect([502, 503, 504]).toContain(answer.status);
      expect(await lonely.records("lonely")).toEqual([]);
    } finally {
      await lonely.stop();
    }
  });
});

test.skipIf(missing("curl"))("a curl call with an API key as its user: twice is one customer", async () => {
  const line = `curl https://api.stripe.com/v1/customers -u sk_test_curl: -H "Idempotency-Key: KG5LxwFBepaKHyUD" -d description="a customer"`;
  const replace = { from: "https://api.stripe.com", to: gateway.origin };
  const first = await curl(line, replace);
  const second = await curl(line, replace);
  expect(first.status).toBe(200);
  expect(first.head).not.toMatch(/Idempotent-Replayed/);
  expect(second.head).toMatch(/^Idempotent-Replayed: true\r$/m);
  expect(second.body).toBe(first.body);
  expect(upstream.runs("KG5LxwFBepaKHyUD")).toBe(1);
});
