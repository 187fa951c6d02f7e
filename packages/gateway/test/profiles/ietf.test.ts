// The ietf profile against draft-ietf-httpapi-idempotency-key-header-07, sections 1 to 2.4: the key and the fingerprint.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, clientOf } from "./harness/client.js";
import { expectProblem, expectReplay } from "./harness/expectations.js";
import { type Gateway, type GatewayUnderTest, startGateway, startGatewayAt } from "./harness/gateway.js";
import { DAY } from "./harness/held-clock.js";
import { startUpstream, type Upstream } from "./harness/upstream.js";

const MARKER = "Idempotent-Replayed";

let upstream: Upstream;
let gateway: Gateway;
let held: GatewayUnderTest;
let send: Client;

beforeAll(async () => {
  upstream = await startUpstream();
  const config = {
    upstream: upstream.url,
    routes: [
      { match: "POST /required", required: true },
      { match: "/strict/**", strict: true, required: true },
      { match: "/fields/**", fingerprint: ["to", "amount"] },
      { match: "/json/**", fingerprint: "json" },
      { match: "/**" },
    ],
  };
  [gateway, held] = await Promise.all([startGateway(config), startGatewayAt("2025-10-15T00:00:00Z", config)]);
  send = clientOf(gateway.origin, { path: "/payments", body: '{"amount":10}' });
});

afterAll(async () => {
  await Promise.all([gateway?.stop(), held?.stop()]);
  await upstream?.close();
});

describe("1 Introduction", () => {
  test.each(["POST", "PATCH"])(
    '"make non-idempotent HTTP methods such as POST or PATCH fault-tolerant": %s (§12 methods)',
    async (method) => {
      const first = await send({ key: `"method-${method}"`, method });
      expectReplay(await send({ key: `"method-${method}"`, method }), first, MARKER);
      expect(upstream.runs(`"method-${method}"`)).toBe(1);
    },
  );

  test.each(["OPTIONS", "HEAD", "GET", "PUT", "DELETE"])(
    "the draft calls %s idempotent already: it passes through (K8)",
    async (method) => {
      const key = `"method-${method}"`;
      const unkeyed = clientOf(gateway.origin, { path: "/payments" });
      await unkeyed({ key, method });
      await unkeyed({ key, method });
      expect(upstream.runs(key)).toBe(2);
    },
  );
});

describe("2.1 Syntax", () => {
  test('"Its value MUST be a String": the example "8e03978e-40d5-43dd-bc93-6894a57f9324" in quotes (K2)', async () => {
    const key = '"8e03978e-40d5-43dd-bc93-6894a57f9324"';
    const first = await send({ key });
    expect(first.status).toBe(201);
    expectReplay(await send({ key }), first, MARKER);
    expect(upstream.runs(key)).toBe(1);
  });

  test("the bare form is the same key, and so are quotes with parameters (K2)", async () => {
    const first = await send({ key: "bare-and-quoted" });
    for (const key of ['"bare-and-quoted"', '"bare-and-quoted";a=1;b', ' "bare-and-quoted" '])
      expectReplay(await send({ key }), first, MARKER);
    expect(upstream.seen.filter(({ key }) => key?.includes("bare-and-quoted"))).toHaveLength(1);
  });

  test('escapes of sf-string: \\" and \\\\ stand for one character each (K2, K3)', async () => {
    const first = await send({ key: '"a \\"b\\" c\\\\d, e"' });
    expect(first.status).toBe(201);
    expectReplay(await send({ key: '"a \\"b\\" c\\\\d, e"' }), first, MARKER);
    const backslash = await send({ key: "f\\g" });
    expectReplay(await send({ key: '"f\\\\g"' }), backslash, MARKER);
  });

  test.each([
    ["an unterminated string", '"abc'],
    ["a quote inside a bare key", 'a"b'],
    ["text after the string", '"abc"def'],
    ["an unknown escape", '"a\\bc"'],
    ["an empty string", '""'],
    ["an empty value", ""],
    ["a list of strings", '"a", "b"'],
    ["a bare list", "a, b"],
    ["a bare key with a space", "a b"],
    ["a non-ASCII character in a string", '"caf\u00e9"'],
    ["a bare non-ASCII character", "caf\u00e9"],
    ["malformed parameters", '"abc";;'],
  ])("%s is no sf-string: 400 key_invalid, and nothing runs (K4, K6)", async (_, key) => {
    const ran = upstream.seen.length;
    expectProblem(await send({ key }), 400, "key_invalid");
    expect(upstream.seen.length).toBe(ran);
  });

  test('"MUST NOT include more than one Idempotency-Key header field": two are refused, equal or not (K4)', async () => {
    const ran = upstream.seen.length;
    for (const [one, other] of [
      ['"one"', '"two"'],
      ['"one"', '"one"'],
      ["one", ""],
    ] as const) {
      const headers = [
        ["Idempotency-Key", one],
        ["idempotency-key", other],
      ] as const;
      expectProblem(await send({ headers }), 400, "key_invalid");
    }
    expect(upstream.seen.length).toBe(ran);
  });

  test("`strict: true` accepts nothing but the draft's own spelling (K2)", async () => {
    const strict = { path: "/strict/payments" };
    expectProblem(await send({ ...strict, key: "8e03978e-40d5-43dd-bc93-6894a57f9324" }), 400, "key_invalid");
    expect((await send({ ...strict, key: '"8e03978e-40d5-43dd-bc93-6894a57f9325"' })).status).toBe(201);
  });

  test("255 characters within the quotes are a key, 256 are not (§12 key length)", async () => {
    const first = await send({ key: `"${"q".repeat(255)}"` });
    expect(first.status).toBe(201);
    expectReplay(await send({ key: "q".repeat(255) }), first, MARKER);
    expectProblem(await send({ key: `"${"q".repeat(256)}"` }), 400, "key_invalid");
  });
});

describe("2.2 Uniqueness of Idempotency Key", () => {
  test('"MUST NOT be reused with another request with a different request payload": 422, and the first answer stays', async () => {
    const first = await send({ key: "reused" });
    expectProblem(await send({ key: "reused", body: '{"amount":11}' }), 422, "key_reused");
    expect(upstream.runs("reused")).toBe(1);
    expectReplay(await send({ key: "reused" }), first, MARKER);
  });

  test("another key with the same payload is another request", async () => {
    const one = await send({ key: "payload-1" });
    const other = await send({ key: "payload-2" });
    expect(other.body).not.toEqual(one.body);
  });
});

describe("2.3 Idempotency Key Validity and Expiry", () => {
  test('"MAY enforce time based idempotency keys": 24 hours, to the millisecond (§4.10)', async () => {
    const sendHeld = clientOf(held.origin, { path: "/payments", body: '{"amount":10}' });
    const first = await sendHeld({ key: "expiry" });
    const [record] = await held.records("expiry");
    const arrivedAt = record?.createdAt ?? 0;
    held.clock.set(arrivedAt + DAY - 1);
    expectReplay(await sendHeld({ key: "expiry" }), first, MARKER);
    expectProblem(await sendHeld({ key: "expiry", body: "{}" }), 422, "key_reused");
    held.clock.set(arrivedAt + DAY);
    expect((await sendHeld({ key: "expiry", body: "{}" })).status, "free for any request").toBe(201);
    expect(upstream.runs("expiry")).toBe(2);
  });

  test('"SHOULD define such expiration policy and publish it in the documentation" (§10.1)', async () => {
    const document = await clientOf(gateway.origin)({ method: "GET", path: "/.well-known/idempotency", account: null });
    expect(document.status).toBe(200);
    expect(document.header("Content-Type")).toMatch(/^application\/json/);
    const { routes } = document.json() as { routes: { route: string; policy: Record<string, unknown> }[] };
    const policy = routes.find(({ route }) => route === "/**")?.policy;
    expect(policy).toMatchObject({
      profile: "ietf",
      header: "Idempotency-Key",
      required: false,
      retention: { seconds: 86_400 },
    });
    expect(routes.find(({ route }) => route === "POST /required")?.policy).toMatchObject({ required: true });
  });
});

describe("2.4 Idempotency Fingerprint", () => {
  test('"Checksum of the entire request payload": one byte is another request (§5.6 exact)', async () => {
    await send({ key: "checksum", body: '{"amount":10}' });
    expectProblem(await send({ key: "checksum", body: '{"amount":10} ' }), 422, "key_reused");
    expect(upstream.runs("checksum")).toBe(1);
  });

  test("and of what the payload is for: method, path, query and media type (§5.6)", async () => {
    const first = await send({ key: "whole-request" });
    for (const other of [
      { method: "PATCH" },
      { path: "/refunds" },
      { path: "/payments?x" },
      { headers: [["Content-Type", "text/plain"]] as const },
    ])
      expectProblem(await send({ key: "whole-request", ...other }), 422, "key_reused");
    expectReplay(
      await send({
        key: "whole-request",
        headers: [
          ["Content-Type", "application/json; charset=utf-8"],
          ["X-Trace", "2"],
        ],
      }),
      first,
      MARKER,
    );
    expect(upstream.runs("whole-request")).toBe(1);
  });

  test('"selected element(s) in the request payload": a list of fields (§5.6)', async () => {
    const path = "/fields/payments";
    const first = await send({ key: "selected", path, body: '{"to":"bob","amount":10,"sentAt":1}' });
    expectReplay(await send({ key: "selected", path, body: '{"sentAt":2, "amount":10, "to":"bob"}' }), first, MARKER);
    expectProblem(
      await send({ key: "selected", path, body: '{"to":"eve","amount":10,"sentAt":1}' }),
      422,
      "key_reused",
    );
    expect(upstream.runs("selected")).toBe(1);
  });

  test('"Field value match for each field": the JSON\'s meaning, with numbers as exact decimals (§5.6 json)', async () => {
    const path = "/json/payments";
    const first = await send({ key: "meaning", path, body: '{"a":1.0,"b":[9007199254740993]}' });
    expectReplay(await send({ key: "meaning", path, body: ' {"b": [9007199254740993], "a": 1}' }), first, MARKER);
    expectProblem(await send({ key: "meaning", path, body: '{"a":1,"b":[9007199254740992]}' }), 422, "key_reused");
  });
});
