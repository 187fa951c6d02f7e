// The fyno profile against "Idempotent Requests" of the Fyno documentation, sentence by sentence.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missing } from "../tools.js";
import { type Client, clientOf } from "./harness/client.js";
import { curl } from "./harness/curl.js";
import { expectProblem, expectReplay } from "./harness/expectations.js";
import { type Gateway, type GatewayUnderTest, refusedStart, startGateway, startGatewayAt } from "./harness/gateway.js";
import { DAY } from "./harness/held-clock.js";
import { gate, type Reply, type Seen, startUpstream, type Upstream } from "./harness/upstream.js";

const EVENT = "/v1/FYXXXXXXXXXXXX/event";
const BULK = "/v1/FYXXXXXXXXXXXX/event/bulk";
const AUTOMATION = "/v1/FYXXXXXXXXXXXX/automation";
const APIS = ["POST /v1/:workspace/event", "POST /v1/:workspace/event/bulk", "POST /v1/:workspace/automation"];

/** What customers were sent: each request that reaches the service notifies somebody. */
const notifications: { readonly event: string; readonly amount: unknown; readonly key: string | undefined }[] = [];

function notify({ body, key, url }: Seen, nth: number): Reply {
  const parsed = body === "" ? {} : (JSON.parse(body) as { event?: string; data?: { amount?: unknown } });
  notifications.push({ event: parsed.event ?? url, amount: parsed.data?.amount, key });
  return {
    status: 200,
    headers: [
      ["Content-Type", "application/json"],
      ["X-Request-Id", `fyno-${nth}`],
    ],
    body: JSON.stringify({ status: "ok", received_time: nth, request_id: `r${nth}` }),
  };
}

let upstream: Upstream;
let gateway: Gateway;
let send: Client;

function config(): Record<string, unknown> {
  const live = { header: "X-Environment", equals: "live" };
  return {
    upstream: upstream.url,
    routes: [
      ...APIS.map((match) => ({ match, profile: "fyno", when: live })),
      // The document's curl line says nothing of an environment; there the host does.
      ...APIS.map((match) => ({ match, profile: "fyno", when: { host: "live.localhost" } })),
    ],
  };
}

const orderConfirmed = (amount: number): string =>
  JSON.stringify({ event: "OrderConfirmed", to: { email: "customer@example.com" }, data: { amount } });

function sent(key: string): number {
  return notifications.filter((one) => one.key === key).length;
}

const LIVE = [["X-Environment", "live"]] as const;

beforeAll(async () => {
  upstream = await startUpstream(notify);
  gateway = await startGateway(config());
  send = clientOf(gateway.origin, { path: EVENT, headers: LIVE, body: orderConfirmed(100) });
});

afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

describe("the OrderConfirmed example", () => {
  test('"make the same OrderConfirmed request with the same idempotency key again": one notification, the same response', async () => {
    const key = "order-confirmed";
    const under = gate();
    upstream.answer(key, async (seen, nth) => {
      await under.pass();
      return notify(seen, nth);
    });
    // "your connection fails before you receive response from Fyno"
    await expect(send({ key, leaveAfter: under.entered })).rejects.toThrow();
    under.open();
    await gateway.runs(key, 1);
    // "You don't know what happened to your request and therefore you make the request again"
    const again = await send({ key });
    expect(again.status, '"Instead of getting an error"').toBe(200);
    expect(again.json()).toMatchObject({ status: "ok" });
    expectReplay(await send({ key }), again, null);
    expect(sent(key), '"It doesn\'t send the notification again"').toBe(1);
  });

  test('"change the OrderConfirmed request (for example, specify a different order amount)": the first response, one notification', async () => {
    const key = "order-changed";
    const first = await send({ key, body: orderConfirmed(100) });
    expectReplay(await send({ key, body: orderConfirmed(250) }), first, null);
    expect(notifications.filter((one) => one.key === key)).toEqual([{ event: "OrderConfirmed", amount: 100, key }]);
  });

  test('"doesn\'t go through due to a network glitch, simply retry the request using the same idempotency key": it is sent once (§4.5)', async () => {
    const gone = await startUpstream(notify);
    await gone.close();
    const glitch = await startGateway({ ...config(), upstream: gone.url });
    try {
      const sendThere = clientOf(glitch.origin, { path: EVENT, headers: LIVE, body: orderConfirmed(100) });
      const failed = await sendThere({ key: "glitch" });
      expect([502, 503, 504]).toContain(failed.status);
      expect(failed.json()).toMatchObject({ code: "upstream_unavailable" });
      const back = await startUpstream(notify, Number(new URL(gone.url).port));
      const retried = await sendThere({ key: "glitch" });
      expect(retried.status).toBe(200);
      expectReplay(await sendThere({ key: "glitch" }), retried, null);
      expect(sent("glitch")).toBe(1);
      await back.close();
    } finally {
      await glitch.stop();
    }
  });

  test('"an API call gets interrupted in transit, leaving you without a response": "no more than one notification" (§4.9)', async () => {
    upstream.answer("in-transit", (seen, nth) => {
      notify(seen, nth);
      return "hang up";
    });
    for (let time = 0; time < 3; time += 1) expectProblem(await send({ key: "in-transit" }), 502, "outcome_unknown");
    expect(sent("in-transit")).toBe(1);
  });

  test('"sending the same notification twice" is what happens without a key (K7)', async () => {
    const before = notifications.length;
    await send();
    await send();
    expect(notifications.length).toBe(before + 2);
  });

  test('"no more than one notification will be sent": fifty requests at once (P1)', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => send({ key: "fifty" })));
    expect(sent("fifty")).toBe(1);
    for (const { status } of answers) expect([200, 409]).toContain(status);
  });
});

describe('"Fyno supports idempotency with only 3 APIs"', () => {
  test.each([
    ["Event", EVENT],
    ["Event Bulk", BULK],
    ["Automations", AUTOMATION],
  ])("%s", async (name, path) => {
    const key = `api-${name.replace(" ", "-")}`;
    const first = await send({ key, path });
    expectReplay(await send({ key, path }), first, null);
    expect(sent(key)).toBe(1);
  });

  test.each(["/v1/FYXXXXXXXXXXXX/templates", "/v1/FYXXXXXXXXXXXX/event/logs", "/v2/FYXXXXXXXXXXXX/event"])(
    "and no other: %s passes through, key and all (K8)",
    async (path) => {
      const key = `other-${path.replaceAll("/", ".")}`;
      await send({ key, path });
      await send({ key, path });
      expect(sent(key)).toBe(2);
    },
  );

  test.each(["GET", "PUT", "PATCH", "DELETE"])(
    "%s on the Event API is not one of them (§12 methods)",
    async (method) => {
      const key = `method-${method}`;
      await send({ key, method, body: "" });
      await send({ key, method, body: "" });
      expect(sent(key)).toBe(2);
    },
  );

  test("no spelling of a path escapes its policy (§5.8)", async () => {
    const first = await send({ key: "spelling" });
    for (const path of ["/v1//FYXXXXXXXXXXXX/event", "/v1/x/../FYXXXXXXXXXXXX/./event", "/v1/FYXXXXXXXXXXXX/%65vent"])
      expectReplay(await send({ key: "spelling", path }), first, null);
    expect(sent("spelling")).toBe(1);
  });

  test("a gateway whose fyno profile names no APIs is refused at start, with the fix (§12)", async () => {
    const { code, output } = await refusedStart({ upstream: upstream.url, profile: "fyno" });
    expect(code).toBe(1);
    expect(output).toMatch(/fyno/);
    expect(output).toMatch(/routes/);
  });

  test('"Only Live version […] supports idempotency keys": in the test environment each request runs (S5)', async () => {
    const test = [["X-Environment", "test"]] as const;
    const inTest = clientOf(gateway.origin, { path: EVENT, headers: test, body: orderConfirmed(1) });
    await inTest({ key: "environment" });
    await inTest({ key: "environment" });
    expect(sent("environment")).toBe(2);
    const live = await send({ key: "environment" });
    expect(sent("environment"), "and live has met nothing of it").toBe(3);
    expectReplay(await send({ key: "environment" }), live, null);
    await inTest({ key: "environment" });
    expect(sent("environment")).toBe(4);
    await clientOf(gateway.origin, { path: EVENT, body: orderConfirmed(1) })({ key: "environment" });
    expect(sent("environment"), "no environment is not live").toBe(5);
  });
});

describe.skipIf(missing("curl"))('"how it works?"', () => {
  const LINE = `curl -X POST 'https://api.fyno.io/v1/FYXXXXXXXXXXXX/event' \\
-H 'Authorization: Bearer <YOUR_FYNO_API_KEY>' \\
-H 'Content-Type: application/json' \\
-H 'Idempotency-Key: 5de04035-9105-4c76-a6dc-fd20441a5ab9' \\
-d '{
  "event": "Welcome_Email",
  "to": {
    "email": "<receivers_email>"
  },
  "data": {
    "name": "Rahul"
  }
}'`;

  test("the curl line as written, twice: one Welcome_Email", async () => {
    const { port } = new URL(gateway.origin);
    const replace = { from: "https://api.fyno.io", to: `http://live.localhost:${port}` };
    const first = await curl(LINE, replace);
    const second = await curl(LINE, replace);
    const key = "5de04035-9105-4c76-a6dc-fd20441a5ab9";
    expect(first.status).toBe(200);
    expect(second.body).toBe(first.body);
    expect(second.head.replace(/^Date.*$/im, "")).toBe(first.head.replace(/^Date.*$/im, ""));
    expect(notifications.filter((one) => one.key === key)).toEqual([
      { event: "Welcome_Email", amount: undefined, key },
    ]);
  });
});

describe("what is recorded", () => {
  test.each([200, 202, 302, 402, 500, 501, 502, 503, 504])(
    '"regardless of its outcome - success or failure […] even in the case of 500 errors": %i (§12 recorded)',
    async (status) => {
      const key = `outcome-${status}`;
      upstream.answer(key, (_, nth) => ({ status, headers: [["Content-Type", "text/plain"]], body: `outcome ${nth}` }));
      const first = await send({ key });
      expect(first.status).toBe(status);
      expectReplay(await send({ key }), first, null);
      expect(upstream.runs(key)).toBe(1);
    },
  );

  test.each([400, 404, 413, 415, 422])(
    '"If incoming parameters don\'t pass validation […] no idempotent result is stored": %i, and "You can confidently retry"',
    async (status) => {
      const key = `validation-${status}`;
      upstream.answer(key, { status, body: "event is missing" });
      for (let time = 1; time <= 2; time += 1) {
        expect((await send({ key, body: "{}" })).status).toBe(status);
        expect(upstream.runs(key)).toBe(time);
      }
      upstream.answer(key, notify);
      const corrected = await send({ key });
      expect(corrected.status).toBe(200);
      expectReplay(await send({ key }), corrected, null);
      expect(sent(key)).toBe(1);
    },
  );

  test('"results are only saved if an API endpoint initiates execution": refused callers and a busy service have not (§4.8)', async () => {
    for (const reply of [
      { status: 401 },
      { status: 403 },
      { status: 429 },
      { status: 503, headers: [["Retry-After", "1"]] as const },
    ]) {
      const key = `not-begun-${reply.status}`;
      upstream.answer(key, reply);
      expect((await send({ key })).status).toBe(reply.status);
      upstream.answer(key, notify);
      expect((await send({ key })).status).toBe(200);
      expect(sent(key)).toBe(1);
    }
  });

  test('"conflict with a concurrently executing request": 409, nothing stored of it, and the retry gets the result', async () => {
    const key = "concurrent";
    const under = gate();
    upstream.answer(key, async (seen, nth) => {
      await under.pass();
      return notify(seen, nth);
    });
    const running = send({ key });
    await under.entered;
    expectProblem(await send({ key }), 409, "in_progress");
    expectProblem(await send({ key, body: orderConfirmed(7) }), 409, "in_progress");
    under.open();
    const first = await running;
    expectReplay(await send({ key }), first, null);
    expect(sent(key)).toBe(1);
  });

  test("another customer's request with the same key is its own (P3), and none without a credential is taken (S3)", async () => {
    await send({ key: "customers" });
    await send({ key: "customers", account: "bob" });
    expect(sent("customers")).toBe(2);
    expectProblem(await send({ key: "customers", account: null }), 400, "account_unknown");
    expect(sent("customers")).toBe(2);
  });

  test("no marker tells the duplicate on the wire, and the history does (§12 marker, §11)", async () => {
    const first = await send({ key: "marker" });
    expectReplay(await send({ key: "marker" }), first, null);
    const [duplicate, original] = await gateway.runs("marker", 2);
    expect(duplicate?.flags).toContain("IDEMPOTENT_REQUEST");
    expect(original?.flags).not.toContain("IDEMPOTENT_REQUEST");
  });
});

describe("the key", () => {
  test.each([1, 36, 64, 255, 256, 257, 1_000, 4_096, 8_192])(
    '"We don\'t have a length limit for idempotency key": %i characters (§12 key length)',
    async (length) => {
      const key = `${length}`.padEnd(length, "f").slice(0, length);
      const first = await send({ key });
      expect(first.status).toBe(200);
      expectReplay(await send({ key }), first, null);
      expect(upstream.runs(key)).toBe(1);
    },
  );

  test("8 KiB is this product's own bound (§12): beyond it 400, and nothing runs", async () => {
    expectProblem(await send({ key: "f".repeat(8_193) }), 400, "key_invalid");
    expect(upstream.runs("f".repeat(8_193))).toBe(0);
  });

  test("two long keys that differ in their last character are two keys (K5)", async () => {
    const key = "x".repeat(8_191);
    await send({ key: `${key}a` });
    await send({ key: `${key}b` });
    expect(sent(`${key}a`)).toBe(1);
    expect(sent(`${key}b`)).toBe(1);
  });

  test('"V4 UUIDs or a similarly random string": any visible ASCII (K3)', async () => {
    const key = "!#$%&'()*+-./0:;<=>?@[]^_`{|}~\\";
    const first = await send({ key });
    expect(first.status).toBe(200);
    expectReplay(await send({ key }), first, null);
  });
});

describe("key expiration", () => {
  let held: GatewayUnderTest;
  let sendHeld: Client;
  beforeAll(async () => {
    held = await startGatewayAt("2026-05-01T10:00:00Z", config());
    sendHeld = clientOf(held.origin, { path: EVENT, headers: LIVE, body: orderConfirmed(100) });
  });
  afterAll(() => held?.stop());

  test('"purged from the system after 24 hours", "automatically eligible for reuse after 24 hours": to the millisecond', async () => {
    const first = await sendHeld({ key: "purged" });
    const [record] = await held.records("purged");
    const arrivedAt = record?.createdAt ?? 0;
    expect((record?.expiresAt ?? 0) - arrivedAt).toBe(DAY);
    held.clock.set(arrivedAt + DAY - 1);
    expectReplay(await sendHeld({ key: "purged" }), first, null);
    expect(sent("purged")).toBe(1);
    held.clock.set(arrivedAt + DAY);
    const reused = await sendHeld({ key: "purged", body: orderConfirmed(200) });
    expect(reused.status).toBe(200);
    expect(sent("purged")).toBe(2);
    expectReplay(await sendHeld({ key: "purged" }), reused, null);
  });
});
