// SPEC §12's table, row by row and profile by profile, against a gateway that has all six side by side.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { basic, type Client, clientOf, type Received, type Sent } from "./harness/client.js";
import { expectReplay } from "./harness/expectations.js";
import { type Gateway, type GatewayUnderTest, startGateway, startGatewayAt } from "./harness/gateway.js";
import { DAY } from "./harness/held-clock.js";
import { allProfiles, METHODS, type ProfileRow, ROWS, STATUSES } from "./harness/profile-rows.js";
import { gate, startUpstream, type Upstream } from "./harness/upstream.js";

let upstream: Upstream;
let gateway: Gateway;
let held: GatewayUnderTest;

beforeAll(async () => {
  upstream = await startUpstream();
  [gateway, held] = await Promise.all([
    startGateway(allProfiles(upstream.url)),
    startGatewayAt("2026-03-01T12:00:00Z", allProfiles(upstream.url)),
  ]);
});

afterAll(async () => {
  await Promise.all([gateway?.stop(), held?.stop()]);
  await upstream?.close();
});

function clientOfRow(server: Gateway, { profile }: ProfileRow): Client {
  return clientOf(server.origin, { path: `/${profile}/things?a=1`, body: '{"amount":10}' });
}

function codeOf(answer: Received): unknown {
  const body = answer.json();
  return body["code"] ?? (body["error"] as Record<string, unknown> | undefined)?.["code"];
}

describe.each(ROWS)("profile $profile", (row) => {
  const { profile, marker } = row;
  let send: Client;

  beforeAll(() => {
    send = clientOfRow(gateway, row);
  });

  test.each(METHODS)(`§12 methods of ${profile}: %s`, async (method) => {
    const key = `${profile}-method-${method}`;
    const first = await send({ key, method });
    const second = await send({ key, method });
    expect(first.status).toBe(201);
    if (row.methods.includes(method)) {
      expect(upstream.runs(key)).toBe(1);
      expectReplay(second, first, marker);
    } else {
      expect(upstream.runs(key), "the header is ignored (K8)").toBe(2);
      expect(second.body).not.toEqual(first.body);
    }
  });

  test.each(["HEAD", "OPTIONS"])(`K8: %s is never keyed under ${profile}`, async (method) => {
    const key = `${profile}-method-${method}`;
    for (let time = 1; time <= 2; time += 1) {
      const answer = await clientOf(gateway.origin)({ method, path: `/${profile}/things`, key });
      expect(answer.status).toBe(201);
      expect(upstream.runs(key)).toBe(time);
    }
  });

  test(`§12 key length of ${profile}: up to ${row.keyLength}, K4 counted after unquoting`, async () => {
    const longest = `${profile}-`.padEnd(row.keyLength, "k");
    const first = await send({ key: longest });
    expect(first.status).toBe(201);
    expectReplay(await send({ key: `"${longest}"` }), first, marker);
    expect(upstream.runs(longest)).toBe(1);

    const ran = upstream.seen.length;
    for (const key of [`${longest}k`, `"${longest}k"`]) {
      const refused = await send({ key });
      expect(refused.status).toBe(400);
      expect(refused.header("Content-Type")).toBe(row.ownAnswers);
      expect(codeOf(refused)).toBe("key_invalid");
    }
    expect(upstream.seen.length, "nothing ran").toBe(ran);
  });

  const others: readonly (readonly [string, Sent])[] = [
    ["another body", { body: '{"amount":11}' }],
    ["another spelling of the same JSON", { body: '{"amount": 10}' }],
    ["another path", { path: `/${profile}/others?a=1` }],
    ["another query", { path: `/${profile}/things?a=2` }],
    ["another media type", { headers: [["Content-Type", "text/plain"]] }],
    ...row.methods.filter((method) => method !== "POST").map((method) => [`${method}`, { method }] as const),
  ];
  test.each(others)(`§12 reused with other data under ${profile}: %s`, async (what, other) => {
    const key = `${profile}-reused-${what}`.replaceAll(" ", "-");
    const first = await send({ key });
    const reused = await send({ key, ...other });
    expect(upstream.runs(key)).toBe(1);
    if (row.reused === "first answer") {
      expectReplay(reused, first, marker);
    } else {
      expect(reused.status).toBe(row.reused);
      expect(codeOf(reused)).toBe("key_reused");
      expect(reused.header("Content-Type")).toBe(row.ownAnswers);
      expect(reused.body.toString(), "nothing of either request is told (§5.6)").not.toMatch(/amount|[0-9a-f]{32}/);
      expectReplay(await send({ key }), first, marker);
    }
  });

  test(`§12 duplicate while running under ${profile}: 409, not run again, and may be retried`, async () => {
    const key = `${profile}-running`;
    const under = gate();
    upstream.answer(key, async () => {
      await under.pass();
      return { status: 200, body: "done" };
    });
    const running = send({ key });
    await under.entered;
    for (const duplicate of await Promise.all([send({ key }), send({ key })])) {
      expect(duplicate.status).toBe(409);
      expect(codeOf(duplicate)).toBe("in_progress");
      expect(duplicate.header("Content-Type")).toBe(row.ownAnswers);
      expect(Number(duplicate.header("Retry-After"))).toBeGreaterThanOrEqual(1);
    }
    under.open();
    const first = await running;
    expect(first.body.toString()).toBe("done");
    expectReplay(await send({ key }), first, marker);
    expect(upstream.runs(key)).toBe(1);
  });

  test.each(STATUSES)(`§12 recorded, validation failures and not started under ${profile}: %i`, async (status) => {
    const key = `${profile}-status-${status}`;
    const body = status === 204 ? {} : { body: Buffer.from([0, 255, 10, 13, 128]) };
    upstream.answer(key, {
      status,
      headers: [
        ["X-One", "a"],
        ["x-two", "b"],
        ["X-One", "c"],
      ],
      ...body,
    });
    const first = await send({ key });
    expect(first.status).toBe(status);
    expect(first.all("X-One")).toEqual(["a", "c"]);
    const second = await send({ key });
    if (row.notStarted.includes(status)) {
      expect(upstream.runs(key), "the key stays unused").toBe(2);
      upstream.answer(key, { status: 201, body: "corrected" });
      const corrected = await send({ key, body: '{"amount":12}' });
      expect(corrected.body.toString()).toBe("corrected");
      expectReplay(await send({ key, body: '{"amount":12}' }), corrected, marker);
    } else {
      expect(upstream.runs(key), "every answer of the operation is recorded").toBe(1);
      expectReplay(second, first, marker);
    }
  });

  test(`§12 statuses taken as not started under ${profile}: 503 with Retry-After (§4.8)`, async () => {
    const key = `${profile}-busy`;
    upstream.answer(key, { status: 503, headers: [["Retry-After", "2"]], body: "busy" });
    const first = await send({ key });
    const second = await send({ key });
    expect(first.status).toBe(503);
    expect(upstream.runs(key)).toBe(row.busyNotStarted ? 2 : 1);
    expect(second.header("Idempotent-Replayed")).toBeUndefined();
    if (!row.busyNotStarted) expectReplay(second, first, marker);
  });

  test(`§4.8: the upstream's own word goes before the statuses of ${profile}`, async () => {
    const final = `${profile}-final`;
    upstream.answer(final, { status: 429, headers: [["Onceward-Outcome", "final"]], body: "final" });
    const first = await send({ key: final });
    expect(first.header("Onceward-Outcome"), "removed before sending").toBeUndefined();
    expectReplay(await send({ key: final }), first, marker);
    expect(upstream.runs(final)).toBe(1);

    const unused = `${profile}-unused`;
    upstream.answer(unused, { status: 200, headers: [["Onceward-Outcome", "not-started"]] });
    expect((await send({ key: unused })).header("Onceward-Outcome")).toBeUndefined();
    await send({ key: unused });
    expect(upstream.runs(unused)).toBe(2);
  });

  test(`§12 Date and Set-Cookie of ${profile}, and §5.3 its marker`, async () => {
    const key = `${profile}-cookie`;
    upstream.answer(key, {
      status: 200,
      headers: [
        ["Date", "Thu, 01 Jan 2015 00:00:00 GMT"],
        ["Set-Cookie", "a=1; Path=/"],
        ["Set-Cookie", "b=2; Path=/"],
      ],
      body: "ok",
    });
    const first = await send({ key });
    const replay = await send({ key });
    expect(upstream.runs(key)).toBe(1);
    expect(first.all("Set-Cookie"), "the first answer is whole").toEqual(["a=1; Path=/", "b=2; Path=/"]);
    expect(replay.all("Set-Cookie")).toEqual(row.keepsSetCookie ? ["a=1; Path=/", "b=2; Path=/"] : []);
    expect(replay.all("Date")).toHaveLength(1);
    if (row.keepsDate) expect(replay.header("Date")).toBe("Thu, 01 Jan 2015 00:00:00 GMT");
    else expect(replay.header("Date")).not.toBe("Thu, 01 Jan 2015 00:00:00 GMT");
    expect(replay.all("Idempotent-Replayed")).toEqual(marker === null ? [] : ["true"]);
  });

  test(`§12 retention of ${profile}: 24 hours, to the millisecond, and the key is free at that instant (§4.10)`, async () => {
    const sendHeld = clientOfRow(held, row);
    const key = `${profile}-retention`;
    const first = await sendHeld({ key });
    const [record] = await held.records(key);
    expect(record).toBeDefined();
    const { createdAt, expiresAt } = record ?? { createdAt: 0, expiresAt: 0 };
    expect(expiresAt - createdAt).toBe(DAY);
    expect(createdAt, "from the first request's arrival").toBeLessThanOrEqual(held.clock.at);

    held.clock.set(expiresAt - 1);
    expectReplay(await sendHeld({ key }), first, marker);
    expect(upstream.runs(key)).toBe(1);

    held.clock.set(expiresAt);
    const again = await sendHeld({ key, body: '{"amount":99}' });
    expect(again.status).toBe(201);
    expect(upstream.runs(key), "a new request").toBe(2);
    expect(again.body).not.toEqual(first.body);
    expectReplay(await sendHeld({ key, body: '{"amount":99}' }), again, marker);
  });

  test(`§12 in the history of ${profile}: IDEMPOTENT_REQUEST in a duplicate's steps, never in a first run's (§11)`, async () => {
    const key = `${profile}-history`;
    const first = await send({ key });
    await send({ key });
    await send({ key });
    const runs = await gateway.runs(key, 3);
    expect(runs.map((run) => run.outcome)).toEqual(["replayed", "replayed", "recorded"]);
    const original = runs[2];
    expect(original?.flags).not.toContain("IDEMPOTENT_REQUEST");
    expect(original?.steps.map((step) => step.name)).not.toContain("IDEMPOTENT_REQUEST");
    for (const duplicate of runs.slice(0, 2)) {
      expect(duplicate).toMatchObject({ key, method: "POST", path: `/${profile}/things`, status: first.status });
      expect(duplicate.flags).toContain("IDEMPOTENT_REQUEST");
      expect(duplicate.steps.map((step) => step.name)).toContain("IDEMPOTENT_REQUEST");
      expect(duplicate.replayOf).toBe(original?.id);
    }
  });

  test(`P3, S1: under ${profile} a key is the account's own; without an account it is refused (S3)`, async () => {
    const key = `${profile}-account`;
    const first = await send({ key });
    const other = await send({ key, account: "bob" });
    expect(upstream.runs(key)).toBe(2);
    expect(other.body).not.toEqual(first.body);
    expect(fieldNames(other), "S7: as if nobody had used it").toEqual(fieldNames(first));
    expectReplay(await send({ key }), first, marker);
    expectReplay(await send({ key, account: "bob" }), other, marker);
    expectReplay(await send({ key, account: null, headers: [["authorization", basic("alice")]] }), first, marker);

    const nobody = await send({ key, account: null });
    expect(nobody.status).toBe(400);
    expect(codeOf(nobody)).toBe("account_unknown");
    expect(upstream.runs(key)).toBe(2);
    const unkeyed = await send({ account: null });
    expect(unkeyed.status, "without a key it passes through (K7)").toBe(201);
  });

  test(`§4.9: under ${profile} an upstream that breaks off leaves the outcome unknown, and nothing runs twice`, async () => {
    const key = `${profile}-broken-off`;
    upstream.answer(key, "hang up");
    const first = await send({ key });
    expect(first.status).toBe(502);
    expect(codeOf(first)).toBe("outcome_unknown");
    expect(first.header("Content-Type")).toBe(row.ownAnswers);
    upstream.answer(key, { status: 201, body: "would be a second time" });
    for (let time = 0; time < 2; time += 1) {
      const duplicate = await send({ key });
      expect(duplicate.status).toBe(502);
      expect(codeOf(duplicate)).toBe("outcome_unknown");
    }
    expect(upstream.runs(key)).toBe(1);
    const runs = await gateway.runs(key, 3);
    expect(runs.at(-1)).toMatchObject({ outcome: "unknown", status: 502 });
  });

  test(`§4.7: under ${profile} an operation whose client went away is recorded all the same`, async () => {
    const key = `${profile}-gone`;
    const under = gate();
    upstream.answer(key, async (_, nth) => {
      await under.pass();
      return { status: 201, body: `made ${nth}` };
    });
    const left = send({ key, leaveAfter: under.entered });
    await expect(left).rejects.toThrow();
    under.open();
    const [run] = await gateway.runs(key, 1);
    expect(run).toMatchObject({ outcome: "recorded", status: 201 });
    const retry = await send({ key });
    expect(retry.body.toString()).toMatch(/^made \d+$/);
    expect(upstream.runs(key)).toBe(1);
  });
});

function fieldNames(answer: Received): string[] {
  return answer.headers.map(([name]) => name);
}

test("P1, §14.5: what was answered under each profile is replayed after kill -9 and a new start", async () => {
  const before = new Map<string, Received>();
  for (const row of ROWS) before.set(row.profile, await clientOfRow(gateway, row)({ key: `${row.profile}-durable` }));
  await gateway.killAndStartAgain();
  for (const row of ROWS) {
    const first = before.get(row.profile);
    const replay = await clientOfRow(gateway, row)({ key: `${row.profile}-durable` });
    expect(upstream.runs(`${row.profile}-durable`)).toBe(1);
    if (first !== undefined) expectReplay(replay, first, row.marker);
  }
});
