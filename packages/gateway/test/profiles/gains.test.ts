// The gains profile against "Idempotency" of the GAINS API documentation, sentence by sentence.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missing } from "../tools.js";
import { type Client, clientOf } from "./harness/client.js";
import { curl } from "./harness/curl.js";
import { expectProblem, expectReplay } from "./harness/expectations.js";
import { type Gateway, type GatewayUnderTest, startGateway, startGatewayAt } from "./harness/gateway.js";
import { DAY } from "./harness/held-clock.js";
import { gate, type Reply, type Seen, startUpstream, type Upstream } from "./harness/upstream.js";

/** A registry: a POST makes one more entry, a PUT or PATCH is one more change, a DELETE one more deletion. */
class Registry {
  readonly log: { readonly did: string; readonly key: string | undefined }[] = [];

  readonly serve = ({ method, url, key }: Seen, nth: number): Reply => {
    this.log.push({ did: `${method} ${url}`, key });
    return {
      status: method === "POST" ? 201 : 200,
      headers: [
        ["Content-Type", "application/json"],
        ["X-Nth", String(nth)],
      ],
      body: JSON.stringify({ id: nth, did: `${method} ${url}` }),
    };
  };

  effects(key: string): number {
    return this.log.filter((entry) => entry.key === key).length;
  }
}

const registry = new Registry();
let upstream: Upstream;
let gateway: Gateway;
let send: Client;

beforeAll(async () => {
  upstream = await startUpstream(registry.serve);
  gateway = await startGateway({
    upstream: upstream.url,
    profile: "gains",
    routes: [
      // "endpoints that trigger delete tasks are not applicable", though they are POSTs.
      { match: "POST /api/v1/delete-tasks", enabled: false },
      { match: "/api/v1/refusing/**", duplicates: "reject" },
      { match: "/**" },
    ],
  });
  send = clientOf(gateway.origin, { path: "/api/v1/vendors", body: '{"name":"Acme"}' });
});

afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

describe("idempotency", () => {
  test('"safely retrying requests without accidentally performing the same operation twice" (P1, P2)', async () => {
    const first = await send({ key: "retry" });
    expect(first.status).toBe(201);
    for (let time = 0; time < 3; time += 1) expectReplay(await send({ key: "retry" }), first, null);
    expect(registry.effects("retry")).toBe(1);
  });

  test.each(["POST", "PUT", "PATCH"])(
    '"When creating or updating an object, use an idempotency key": %s (§12 methods)',
    async (method) => {
      const key = `applicable-${method}`;
      const first = await send({ key, method });
      expectReplay(await send({ key, method }), first, null);
      expect(registry.effects(key)).toBe(1);
    },
  );

  test('"if an error occurs, you can safely repeat the request without risk of […] performing the update twice" (§4.7)', async () => {
    const under = gate();
    upstream.answer("error-occurs", async (seen, nth) => {
      await under.pass();
      return registry.serve(seen, nth);
    });
    const update = { key: "error-occurs", method: "PUT", path: "/api/v1/vendors/7" };
    await expect(send({ ...update, leaveAfter: under.entered })).rejects.toThrow();
    under.open();
    await gateway.runs("error-occurs", 1);
    const repeated = await send(update);
    expect(repeated.status).toBe(200);
    expectReplay(await send(update), repeated, null);
    expect(registry.effects("error-occurs")).toBe(1);
  });

  test.each(["GET", "DELETE"])(
    '"GET requests or endpoints that trigger delete tasks are not applicable": %s (K8)',
    async (method) => {
      const key = `not-applicable-${method}`;
      const first = await send({ key, method, path: "/api/v1/vendors/7" });
      const second = await send({ key, method, path: "/api/v1/vendors/7" });
      expect(second.body).not.toEqual(first.body);
      expect(registry.effects(key)).toBe(2);
      // And the key is as unused as ever.
      const created = await send({ key });
      expect(created.status).toBe(201);
      expect(registry.effects(key)).toBe(3);
    },
  );

  test('"endpoints that trigger delete tasks": a POST that does is let through where its route says so (§14.2)', async () => {
    await send({ key: "delete-task", path: "/api/v1/delete-tasks" });
    await send({ key: "delete-task", path: "/api/v1/delete-tasks" });
    expect(registry.effects("delete-task")).toBe(2);
  });
});

describe.skipIf(missing("curl"))("the curl line", () => {
  // It presents no credential, so a gateway must be told that there is one caller only.
  const LINE = `curl --request POST \\
     --url https://client.gainsystems.com/api/v1/customers \\
     --header 'content-type: application/json' \\
     --header 'Idempotency-Key: 943ut39gbfw39gf2' \\`;

  test("as written, twice, before a gateway with `account: single`: one customer", async () => {
    const single = await startGateway({ upstream: upstream.url, profile: "gains", account: "single" });
    try {
      const replace = { from: "https://client.gainsystems.com", to: single.origin };
      const first = await curl(LINE, replace);
      const second = await curl(LINE, replace);
      expect(first.status).toBe(201);
      expect(second.body).toBe(first.body);
      expect(second.head.replace(/^Date.*$/im, "")).toBe(first.head.replace(/^Date.*$/im, ""));
      expect(registry.log.filter((entry) => entry.key === "943ut39gbfw39gf2")).toEqual([
        { did: "POST /api/v1/customers", key: "943ut39gbfw39gf2" },
      ]);
    } finally {
      await single.stop();
    }
  });

  test("as written, before a gateway that tells accounts apart: refused, and the answer names the setting (S3)", async () => {
    const before = registry.log.length;
    const refused = await curl(LINE, { from: "https://client.gainsystems.com", to: gateway.origin });
    expect(refused.status).toBe(400);
    expect(JSON.parse(refused.body)).toMatchObject({ code: "account_unknown" });
    expect(refused.body).toMatch(/account/);
    expect(registry.log.length).toBe(before);
  });
});

describe("the key", () => {
  test('"recognize subsequent retries of the same request", whatever is in it (§12 compared: key only)', async () => {
    const first = await send({ key: "recognised" });
    for (const other of [
      { body: '{"name":"Other"}' },
      { path: "/api/v1/customers" },
      { path: "/api/v1/vendors?x=1" },
      { method: "PUT" },
    ])
      expectReplay(await send({ key: "recognised", ...other }), first, null);
    expect(registry.effects("recognised")).toBe(1);
  });

  test('"generated specific to your requirements": UUIDs and other strings (K3)', async () => {
    for (const key of ["943ut39gbfw39gf3", "6f8e9f5c-63d5-4a0f-8f3e-1f2f0a6a7b11", "vendor:Acme/2026-05-01"]) {
      const first = await send({ key });
      expectReplay(await send({ key }), first, null);
      expect(registry.effects(key)).toBe(1);
    }
  });

  test('"up to 255 characters long": 255 are one, 256 are refused before anything runs (K4)', async () => {
    const longest = "n".repeat(255);
    const first = await send({ key: longest });
    expect(first.status).toBe(201);
    expectReplay(await send({ key: longest }), first, null);
    expectProblem(await send({ key: `${longest}n` }), 400, "key_invalid");
    expect(registry.effects(`${longest}n`)).toBe(0);
  });

  test("each client's keys are its own (P3)", async () => {
    await send({ key: "1234-of-each" });
    await send({ key: "1234-of-each", account: "bob" });
    expect(registry.effects("1234-of-each")).toBe(2);
  });
});

describe("what is saved", () => {
  test.each([200, 201, 303, 402, 500, 502, 503])(
    '"We save results only after an endpoint starts executing": %i is the result of one that did (§12 recorded)',
    async (status) => {
      const key = `saved-${status}`;
      upstream.answer(key, (_, nth) => ({ status, body: `result ${nth}` }));
      const first = await send({ key });
      expect(first.status).toBe(status);
      expectReplay(await send({ key }), first, null);
      expect(upstream.runs(key)).toBe(1);
    },
  );

  test.each([400, 405, 415, 422])(
    '"If incoming parameters fail validation": after %i "the idempotency key is not used or considered" (§4.8)',
    async (status) => {
      const key = `validation-${status}`;
      upstream.answer(key, { status, body: "name is missing" });
      expect((await send({ key, body: "{}" })).status).toBe(status);
      expect((await send({ key, body: "{}" })).status).toBe(status);
      expect(upstream.runs(key)).toBe(2);
      expect(await gateway.records(key), "nothing is kept of it").toEqual([]);
      upstream.answer(key, registry.serve);
      const accepted = await send({ key });
      expect(accepted.status).toBe(201);
      expectReplay(await send({ key }), accepted, null);
      expect(registry.effects(key)).toBe(1);
    },
  );

  test.each([401, 403, 429])("a caller that was turned away has not begun either: %i (§12)", async (status) => {
    const key = `turned-away-${status}`;
    upstream.answer(key, { status });
    await send({ key });
    upstream.answer(key, registry.serve);
    expect((await send({ key })).status).toBe(201);
    expect(registry.effects(key)).toBe(1);
  });

  test('"conflicts with another concurrent request": "we don\'t save the idempotent result", "You can retry these requests"', async () => {
    const key = "concurrent";
    const under = gate();
    upstream.answer(key, async (seen, nth) => {
      await under.pass();
      return registry.serve(seen, nth);
    });
    const running = send({ key });
    await under.entered;
    const conflict = await send({ key });
    expectProblem(conflict, 409, "in_progress");
    expect(Number(conflict.header("Retry-After"))).toBeGreaterThanOrEqual(1);
    under.open();
    const first = await running;
    expectReplay(await send({ key }), first, null);
    expect(registry.effects(key)).toBe(1);
  });

  test("the endpoint's own 409 is a conflict that may be retried as well (§4.8)", async () => {
    upstream.answer("own-conflict", { status: 409, body: "vendor is being edited" });
    expect((await send({ key: "own-conflict" })).status).toBe(409);
    upstream.answer("own-conflict", registry.serve);
    expect((await send({ key: "own-conflict" })).status).toBe(201);
    expect(registry.effects("own-conflict")).toBe(1);
  });
});

describe("key validity period", () => {
  let held: GatewayUnderTest;
  let sendHeld: Client;
  beforeAll(async () => {
    held = await startGatewayAt("2026-05-01T10:00:00Z", {
      upstream: upstream.url,
      profile: "gains",
      routes: [{ match: "/refusing/**", duplicates: "reject" }, { match: "/**" }],
    });
    sendHeld = clientOf(held.origin, { path: "/api/v1/vendors", body: '{"name":"Acme"}' });
  });
  afterAll(() => held?.stop());

  test('the example: "1234 at 10:00 AM on May 1st", "again at 2:00 PM on May 1st", "at 11:00 AM on May 2nd"', async () => {
    held.clock.set("2026-05-01T10:00:00Z");
    const created = await sendHeld({ key: "1234" });
    expect(created.status).toBe(201);

    held.clock.set("2026-05-01T14:00:00Z");
    const duplicate = await sendHeld({ key: "1234" });
    expectReplay(duplicate, created, null);
    expect(registry.effects("1234"), '"recognize this as a duplicate and will not accept the record"').toBe(1);

    held.clock.set("2026-05-02T11:00:00Z");
    const anew = await sendHeld({ key: "1234" });
    expect(anew.status).toBe(201);
    expect(anew.body, '"potentially creating a new record"').not.toEqual(created.body);
    expect(registry.effects("1234")).toBe(2);
  });

  test('the same example under `duplicates: reject`, which is the other reading of "will not accept the record" (§12)', async () => {
    held.clock.set("2027-05-01T10:00:00Z");
    const refusing = { key: "1234-refusing", path: "/refusing/vendors" };
    const created = await sendHeld(refusing);
    held.clock.set("2027-05-01T14:00:00Z");
    expectProblem(await sendHeld(refusing), 409, "duplicate");
    held.clock.set("2027-05-02T11:00:00Z");
    const anew = await sendHeld(refusing);
    expect(anew.status).toBe(created.status);
    expect(registry.effects("1234-refusing")).toBe(2);
    expectProblem(await sendHeld(refusing), 409, "duplicate");
  });

  test('"using the same key after 24 hours will be treated as a new, valid request": at the millisecond (§4.10)', async () => {
    const first = await sendHeld({ key: "edge" });
    const [record] = await held.records("edge");
    const arrivedAt = record?.createdAt ?? 0;
    held.clock.set(arrivedAt + DAY - 1);
    expectReplay(await sendHeld({ key: "edge" }), first, null);
    held.clock.set(arrivedAt + DAY);
    expect((await sendHeld({ key: "edge" })).body).not.toEqual(first.body);
    expect(registry.effects("edge")).toBe(2);
  });
});

describe("`duplicates: reject`", () => {
  const path = "/api/v1/refusing/vendors";

  test("a duplicate is refused, whatever is in it, and does not run; the history says what it was (§6 duplicate, §11)", async () => {
    const key = "refused-duplicate";
    expect((await send({ key, path })).status).toBe(201);
    expectProblem(await send({ key, path }), 409, "duplicate");
    expectProblem(await send({ key, path, body: '{"name":"Other"}' }), 409, "duplicate");
    expect(registry.effects(key)).toBe(1);
    const runs = await gateway.runs(key, 3);
    expect(runs.map((run) => run.code)).toEqual(["duplicate", "duplicate", null]);
    expect(runs.map((run) => run.flags.includes("IDEMPOTENT_REQUEST"))).toEqual([true, true, false]);
  });

  test("while it runs a duplicate is told to come back, and a failed validation leaves the key unused all the same", async () => {
    const key = "refused-running";
    const under = gate();
    upstream.answer(key, async () => {
      await under.pass();
      return { status: 422, body: "invalid" };
    });
    const running = send({ key, path });
    await under.entered;
    expectProblem(await send({ key, path }), 409, "in_progress");
    under.open();
    expect((await running).status).toBe(422);
    upstream.answer(key, registry.serve);
    expect((await send({ key, path })).status).toBe(201);
    expectProblem(await send({ key, path }), 409, "duplicate");
  });
});
