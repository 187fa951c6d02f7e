// The fyno profile's x-idempotency-expiration header (SPEC §8), at the millisecond edges of its bounds.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, clientOf, type Received, type Sent } from "./harness/client.js";
import { expectProblem, expectReplay } from "./harness/expectations.js";
import { type GatewayUnderTest, startGatewayAt } from "./harness/gateway.js";
import { DAY, HOUR, MINUTE, SECOND } from "./harness/held-clock.js";
import { gate, startUpstream, type Upstream } from "./harness/upstream.js";

const YEAR = 365 * DAY;
const TOLERANCE = 5 * MINUTE;
const START = Date.parse("2026-05-01T10:00:00Z");

let upstream: Upstream;
let gateway: GatewayUnderTest;
let send: Client;

beforeAll(async () => {
  upstream = await startUpstream();
  gateway = await startGatewayAt(START, {
    upstream: upstream.url,
    routes: [
      { match: "POST /v1/:workspace/event", profile: "fyno" },
      { match: "POST /gains", profile: "gains" },
    ],
  });
  send = clientOf(gateway.origin, { path: "/v1/FYXXXXXXXXXXXX/event", body: '{"event":"OrderConfirmed"}' });
});

afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

function sendUntil(key: string, until: string | number, more: Sent = {}): Promise<Received> {
  return send({ key, ...more, headers: [["x-idempotency-expiration", String(until)]] });
}

async function expiresAt(key: string): Promise<number | undefined> {
  return (await gateway.records(key))[0]?.expiresAt;
}

/** Runs with an expiration, and is replayed until the very millisecond, when the key is free. */
async function expectKeptUntil(key: string, header: string | number, instant: number): Promise<void> {
  const first = await sendUntil(key, header);
  expect(first.status).toBe(201);
  expect(await expiresAt(key)).toBe(instant);
  const before = gateway.clock.at;
  gateway.clock.set(instant - 1);
  expectReplay(await send({ key }), first, null);
  expect(upstream.runs(key)).toBe(1);
  gateway.clock.set(instant);
  await send({ key });
  expect(upstream.runs(key)).toBe(2);
  gateway.clock.set(before);
}

describe("§8.1 three formats", () => {
  const instant = START + 3 * DAY + 123;

  test("epoch milliseconds, 13 digits", () => expectKeptUntil("format-ms", instant, instant));

  test("epoch seconds, 10 digits", () => expectKeptUntil("format-s", Math.floor(instant / SECOND), instant - 123));

  test.each([
    ["Z", "2026-05-04T10:00:00.123Z", instant],
    ["an offset east", "2026-05-04T15:30:00.123+05:30", instant],
    ["an offset west", "2026-05-04T03:00:00.123-07:00", instant],
    ["without a fraction", "2026-05-04T10:00:00Z", instant - 123],
    ["to the minute", "2026-05-04T10:00+00:00", instant - 123],
  ])("ISO 8601 with a zone: %s", (name, header, at) =>
    expectKeptUntil(`format-iso-${name}`.replaceAll(" ", "-"), header, at),
  );

  test.each([
    ["no zone", "2026-05-04T10:00:00"],
    ["a date", "2026-05-04"],
    ["a duration", "48h"],
    ["12 digits", "177788880000"],
    ["14 digits", "17778888000000"],
    ["11 digits", "17778888000"],
    ["negative", "-1777888800000"],
    ["a fraction of seconds", "1777888800.5"],
    ["no such day", "2026-06-31T10:00:00Z"],
    ["hour 25", "2026-05-04T25:00:00Z"],
    ["words", "tomorrow"],
    ["empty", ""],
    ["two", "1777888800000, 1777888800000"],
  ])("%s is none: 400 expiration_invalid, nothing runs, and the key stays unused", async (name, header) => {
    const key = `unreadable-${name}`.replaceAll(" ", "-");
    expectProblem(await sendUntil(key, header), 400, "expiration_invalid");
    expect(upstream.runs(key)).toBe(0);
    expect(await gateway.records(key)).toEqual([]);
    expect((await send({ key })).status).toBe(201);
  });

  test("sent twice it is none either", async () => {
    const until = String(START + 2 * DAY);
    const headers = [
      ["x-idempotency-expiration", until],
      ["X-Idempotency-Expiration", until],
    ] as const;
    expectProblem(await send({ key: "sent-twice", headers }), 400, "expiration_invalid");
    expect(upstream.runs("sent-twice")).toBe(0);
  });
});

describe("§8.1 bounds: 24 hours to 1 year from now, with 5 minutes' tolerance", () => {
  test.each([
    ["the lower bound", DAY, true],
    ["the lower bound less the tolerance", DAY - TOLERANCE, true],
    ["a millisecond less", DAY - TOLERANCE - 1, false],
    ["an hour from now", HOUR, false],
    ["now", 0, false],
    ["the past", -DAY, false],
    ["the upper bound", YEAR, true],
    ["the upper bound and the tolerance", YEAR + TOLERANCE, true],
    ["a millisecond more", YEAR + TOLERANCE + 1, false],
    ["two years", 2 * YEAR, false],
  ])("%s", async (name, fromNow, accepted) => {
    const key = `bound-${name}`.replaceAll(" ", "-");
    const until = gateway.clock.at + fromNow;
    const answer = await sendUntil(key, until);
    if (accepted) {
      expect(answer.status).toBe(201);
      expect(await expiresAt(key), "it is kept until then, not until the bound").toBe(until);
    } else {
      expectProblem(answer, 400, "expiration_invalid");
      expect(answer.body.toString()).toMatch(/24 hours|365 days/);
      expect(upstream.runs(key)).toBe(0);
      expect(await gateway.records(key)).toEqual([]);
    }
  });

  test("a year is kept for a year, to the millisecond (§4.10)", () =>
    expectKeptUntil("a-year", START + YEAR, START + YEAR));

  test("the edges hold for epoch seconds and ISO 8601 as well", async () => {
    const now = gateway.clock.at;
    const low = now + DAY - TOLERANCE;
    expect((await sendUntil("edge-s", low / SECOND)).status).toBe(201);
    expectProblem(await sendUntil("edge-s-less", low / SECOND - 1), 400, "expiration_invalid");
    expect((await sendUntil("edge-iso", new Date(low).toISOString())).status).toBe(201);
    expectProblem(await sendUntil("edge-iso-less", new Date(low - 1).toISOString()), 400, "expiration_invalid");
  });
});

describe("§8.1 the bounds bind only a request that would make a record", () => {
  test("a bad value on a key that is done gets the recorded answer", async () => {
    const first = await send({ key: "bad-on-done" });
    for (const bad of ["tomorrow", gateway.clock.at, gateway.clock.at + 2 * YEAR])
      expectReplay(await sendUntil("bad-on-done", bad), first, null);
    expect(upstream.runs("bad-on-done")).toBe(1);
  });

  test("a bad value while the first request runs gets 409", async () => {
    const under = gate();
    upstream.answer("bad-on-running", async () => {
      await under.pass();
      return { status: 200, body: "done" };
    });
    const running = send({ key: "bad-on-running" });
    await under.entered;
    expectProblem(await sendUntil("bad-on-running", "tomorrow"), 409, "in_progress");
    under.open();
    expectReplay(await sendUntil("bad-on-running", "tomorrow"), await running, null);
    expect(upstream.runs("bad-on-running")).toBe(1);
  });

  test("the retry of a request whose expiration was 24 hours away when it was first sent is answered an hour later", async () => {
    const until = gateway.clock.at + DAY;
    const first = await sendUntil("aged", until);
    gateway.clock.advance(HOUR);
    expectReplay(await sendUntil("aged", until), first, null);
    expectProblem(await sendUntil("aged-but-new", until), 400, "expiration_invalid");
    gateway.clock.advance(-HOUR);
    expect(upstream.runs("aged")).toBe(1);
  });

  test("another account's record is not found by it (P3)", async () => {
    await send({ key: "bad-of-another" });
    expectProblem(await sendUntil("bad-of-another", "tomorrow", { account: "bob" }), 400, "expiration_invalid");
    expect(upstream.runs("bad-of-another")).toBe(1);
  });
});

describe('§8.2 "can not be modified until the original request expires"', () => {
  test('"even if a new request is made with the same key and a different x-idempotency-expiration header value"', async () => {
    const until = gateway.clock.at + 2 * DAY;
    const first = await sendUntil("fixed", until);
    for (const other of [gateway.clock.at + 3 * DAY, gateway.clock.at + DAY, gateway.clock.at + YEAR]) {
      expectReplay(await sendUntil("fixed", other), first, null);
      expect(await expiresAt("fixed")).toBe(until);
    }
    expectReplay(await send({ key: "fixed" }), first, null);
    expect(await expiresAt("fixed")).toBe(until);
    gateway.clock.set(until - 1);
    expectReplay(await sendUntil("fixed", until + 30 * DAY), first, null);
    expect(upstream.runs("fixed")).toBe(1);
    gateway.clock.set(until);
    const next = until + 30 * DAY;
    expect((await sendUntil("fixed", next)).status).toBe(201);
    expect(upstream.runs("fixed")).toBe(2);
    expect(await expiresAt("fixed"), "the original has expired: now it counts").toBe(next);
    gateway.clock.set(START);
  });

  test("a key that was first used without the header keeps its 24 hours", async () => {
    const first = await send({ key: "plain-first" });
    const until = await expiresAt("plain-first");
    expectReplay(await sendUntil("plain-first", gateway.clock.at + 9 * DAY), first, null);
    expect(await expiresAt("plain-first")).toBe(until);
    expect(until).toBeLessThanOrEqual(START + DAY);
  });

  test("where the first request did not start, the next one's header is the one that counts", async () => {
    upstream.answer("not-begun", { status: 422, body: "invalid" });
    await sendUntil("not-begun", gateway.clock.at + 5 * DAY);
    upstream.answer("not-begun", { status: 200, body: "ok" });
    const until = gateway.clock.at + 6 * DAY;
    expect((await sendUntil("not-begun", until)).status).toBe(200);
    expect(await expiresAt("not-begun")).toBe(until);
  });
});

test("the header goes on to the service as it came, and means nothing under a profile without it", async () => {
  const until = String(gateway.clock.at + 4 * DAY);
  await sendUntil("forwarded", until);
  expect(upstream.seen.at(-1)?.headers).toContainEqual(["x-idempotency-expiration", until]);
  expect((await sendUntil("elsewhere", "tomorrow", { path: "/gains" })).status).toBe(201);
  await sendUntil("elsewhere-2", gateway.clock.at + 9 * DAY, { path: "/gains" });
  expect(await expiresAt("elsewhere-2")).toBeLessThanOrEqual(gateway.clock.at + DAY);
});

test("without a key the header means nothing (K7)", async () => {
  expect((await send({ headers: [["x-idempotency-expiration", "tomorrow"]] })).status).toBe(201);
});
