// The ietf profile against draft-ietf-httpapi-idempotency-key-header-07, sections 2.5 to 2.7 and 5: enforcement and errors.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, clientOf, type Received } from "./harness/client.js";
import { expectProblem, expectReplay } from "./harness/expectations.js";
import { type Gateway, startGateway } from "./harness/gateway.js";
import { gate, startUpstream, type Upstream } from "./harness/upstream.js";

const MARKER = "Idempotent-Replayed";

let upstream: Upstream;
let gateway: Gateway;
let send: Client;

beforeAll(async () => {
  upstream = await startUpstream();
  gateway = await startGateway({
    upstream: upstream.url,
    routes: [{ match: "POST /required", required: true }, { match: "/**" }],
  });
  send = clientOf(gateway.origin, { path: "/payments", body: '{"amount":10}' });
});

afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

/** What `Link: rel="describedby"` leads to. */
async function linked(answer: Received, accept: string): Promise<Received> {
  const target = /^<([^>]+)>; rel="describedby"$/.exec(answer.header("Link") ?? "")?.[1] ?? "";
  const { pathname } = new URL(target, gateway.origin);
  return await clientOf(gateway.origin)({
    method: "GET",
    path: pathname,
    account: null,
    headers: [["Accept", accept]],
  });
}

describe("2.5 Responsibilities", () => {
  test('"MUST publish idempotency related specification", for programs and for people (§10.1)', async () => {
    const refusal = await send({ key: "" });
    const json = await linked(refusal, "application/json");
    expect(json.status).toBe(200);
    expect(json.json()).toHaveProperty("routes");
    const page = await linked(refusal, "text/html");
    expect(page.status).toBe(200);
    expect(page.header("Content-Type")).toMatch(/^text\/html/);
    expect(page.body.toString()).toMatch(/Idempotency-Key/);
  });

  test('"Server is responsible for managing the lifecycle of the idempotency key": callers can ask about theirs (§10.2)', async () => {
    const ask = (account: string): Promise<Received> =>
      clientOf(gateway.origin)({ method: "GET", path: "/.well-known/idempotency/keys/lifecycle", account });
    expect((await ask("alice")).json()).toMatchObject({ state: "absent" });
    const under = gate();
    upstream.answer("lifecycle", async () => {
      await under.pass();
      return { status: 202 };
    });
    const running = send({ key: "lifecycle" });
    await under.entered;
    expect((await ask("alice")).json()).toMatchObject({ state: "running" });
    under.open();
    await running;
    expect((await ask("alice")).json()).toMatchObject({ state: "done", status: 202 });
    expect((await ask("bob")).json(), "for the caller's own account only").toEqual({ state: "absent" });
  });
});

describe("2.6 Idempotency Enforcement Scenarios", () => {
  test('"First time request": processed normally, and nothing is added to it (§5.3)', async () => {
    const first = await send({ key: "first-time" });
    expect(first.status).toBe(201);
    expect(first.header(MARKER)).toBeUndefined();
    expect(upstream.seen.at(-1)).toMatchObject({
      method: "POST",
      url: "/payments",
      body: '{"amount":10}',
      key: "first-time",
    });
  });

  test.each([
    [200, "ok"],
    [303, ""],
    [402, "declined"],
    [500, "broken"],
    [503, "down"],
  ])(
    '"respond with the result of the previously completed operation, success or an error": %i (§12 recorded)',
    async (status, body) => {
      const key = `completed-${status}`;
      upstream.answer(key, (_, nth) => ({ status, headers: [["X-Nth", String(nth)]], body }));
      const first = await send({ key });
      expect(first.status).toBe(status);
      expectReplay(await send({ key }), first, MARKER);
      expect(upstream.runs(key)).toBe(1);
    },
  );

  test('"Concurrent Request": "MUST respond with a resource conflict error" (§4)', async () => {
    const under = gate();
    upstream.answer("concurrent", async () => {
      await under.pass();
      return { status: 201, body: "paid" };
    });
    const original = send({ key: "concurrent" });
    await under.entered;
    const conflict = await send({ key: "concurrent" });
    expectProblem(conflict, 409, "in_progress");
    expect(Number(conflict.header("Retry-After"))).toBeGreaterThanOrEqual(1);
    expectProblem(await send({ key: "concurrent", body: '{"amount":11}' }), 422, "key_reused");
    under.open();
    const first = await original;
    expectReplay(await send({ key: "concurrent" }), first, MARKER);
    expect(upstream.runs("concurrent")).toBe(1);
  });

  test("a hundred simultaneous duplicates run once, and all answers of the operation are the same (P1, P2)", async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => send({ key: "hundred" })));
    expect(upstream.runs("hundred")).toBe(1);
    const done = answers.filter(({ status }) => status === 201);
    expect(done.length).toBeGreaterThanOrEqual(1);
    expect(new Set(done.map(({ body }) => body.toString())).size).toBe(1);
    for (const answer of answers) if (answer.status !== 201) expectProblem(answer, 409, "in_progress");
  });
});

describe("2.7 Error Handling", () => {
  test('"missing for a documented idempotent operation requiring this header": 400 with a link to the documentation (K7)', async () => {
    const ran = upstream.seen.length;
    const refused = await send({ path: "/required" });
    expectProblem(refused, 400, "key_missing");
    expect((await linked(refused, "text/html")).status).toBe(200);
    expect(upstream.seen.length).toBe(ran);
    expect((await send({ path: "/required", key: '"present"' })).status).toBe(201);
  });

  test("where the key is optional a request without one is processed each time (K7)", async () => {
    const one = await send();
    const two = await send();
    expect(one.status).toBe(201);
    expect(two.body).not.toEqual(one.body);
    expect(two.header(MARKER)).toBeUndefined();
  });

  test('"attempt to reuse an idempotency key with a different request payload": 422 with a link (§6)', async () => {
    await send({ key: "422" });
    const refused = await send({ key: "422", body: "another" });
    expectProblem(refused, 422, "key_reused");
    expect((await linked(refused, "text/html")).status).toBe(200);
  });

  test('"retried, while the original request is still being processed": 409 with a problem description and a link (§6)', async () => {
    const under = gate();
    upstream.answer("409", async () => {
      await under.pass();
      return { status: 200 };
    });
    const running = send({ key: "409" });
    await under.entered;
    const refused = await send({ key: "409" });
    under.open();
    await running;
    expectProblem(refused, 409, "in_progress");
    expect((await linked(refused, "text/html")).status).toBe(200);
  });

  test('"MUST correct the requests (with the exception of 409 where no correction is required)": the same request again is answered', async () => {
    const first = await send({ key: "corrected" });
    expectProblem(await send({ key: "corrected", body: "wrong" }), 422, "key_reused");
    expectProblem(await send({ key: "corrected", body: "wrong" }), 422, "key_reused");
    expectReplay(await send({ key: "corrected" }), first, MARKER);
    expect((await send({ key: "corrected-anew", body: "wrong" })).status).toBe(201);
  });

  test.each([400, 401, 403, 404, 409, 422, 429])(
    '"other 4xx/5xx errors": the service\'s own %i before it began is passed on and not kept (§4.8)',
    async (status) => {
      const key = `own-${status}`;
      upstream.answer(key, { status, headers: [["Content-Type", "text/plain"]], body: "the service's own words" });
      const first = await send({ key });
      expect(first.status).toBe(status);
      expect(first.body.toString()).toBe("the service's own words");
      upstream.answer(key, { status: 201, body: "made" });
      const second = await send({ key, body: "corrected" });
      expect(second.status).toBe(201);
      expectReplay(await send({ key, body: "corrected" }), second, MARKER);
    },
  );
});

describe("Security Considerations", () => {
  test('"Injection attacks": a key is data, whatever it looks like (K5)', async () => {
    for (const key of ["'; DROP TABLE onceward_records; --", "../../etc/passwd", "%00", "$(reboot)", "1 OR 1=1"]) {
      const quoted = `"${key}"`;
      const first = await send({ key: quoted });
      expect(first.status).toBe(201);
      expectReplay(await send({ key: quoted }), first, MARKER);
    }
    expect((await send({ key: "still-serving" })).status).toBe(201);
  });

  test('"Data leaks": another client\'s entry is not fetched with its key, nor is it seen to exist (P3, S7)', async () => {
    const alices = await send({ key: "low-entropy" });
    const bobs = await send({ key: "low-entropy", account: "bob", body: '{"amount":99}' });
    expect(bobs.status).toBe(201);
    expect(bobs.header(MARKER)).toBeUndefined();
    expect(bobs.body).not.toEqual(alices.body);
    expect(upstream.runs("low-entropy")).toBe(2);
  });

  test('"a unique composite key": account and key are joined without a seam that could be moved (S4)', async () => {
    // Named by a header, since a credential's digest is of one length and has no seam to move.
    const named = await startGateway({ upstream: upstream.url, account: { from: "header", name: "X-Account" } });
    try {
      const as = (account: string, key: string): Promise<Received> =>
        clientOf(named.origin, { path: "/payments", body: "{}" })({
          key,
          account: null,
          headers: [["X-Account", account]],
        });
      const seams = [":", "-", "-:", ":-", "|", "/", ".", "::", "1:"];
      const pairs = [
        ...seams.flatMap((seam) => [[`a${seam}b`, "c"] as const, ["a", `b${seam}c`] as const]),
        ["a", "c"] as const,
      ];
      const answers = new Map<string, Received>();
      for (const [account, key] of pairs) answers.set(`${account} ${key}`, await as(account, key));
      expect(new Set([...answers.values()].map(({ body }) => body.toString())).size, "all ran").toBe(pairs.length);
      for (const [account, key] of pairs) {
        const first = answers.get(`${account} ${key}`);
        if (first !== undefined) expectReplay(await as(account, key), first, MARKER);
      }
    } finally {
      await named.stop();
    }
  });

  test('"Always validate the key as per its published specification before processing any request" (K4, §10.1)', async () => {
    const document = await clientOf(gateway.origin)({ method: "GET", path: "/.well-known/idempotency", account: null });
    const { routes } = document.json() as {
      routes: { route: string; policy: { key: { maxLength: number; minLength: number } } }[];
    };
    const key = routes.find(({ route }) => route === "/**")?.policy.key;
    expect(key).toMatchObject({ minLength: 1, maxLength: 255 });
    expect((await send({ key: "v".repeat(key?.maxLength ?? 0) })).status).toBe(201);
    expectProblem(await send({ key: "v".repeat((key?.maxLength ?? 0) + 1) }), 400, "key_invalid");
  });
});
