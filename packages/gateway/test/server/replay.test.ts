import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { post, send } from "./support/client.js";
import { gateway } from "./support/gateway.js";
import { upstream } from "./support/upstream.js";

const bytes = Buffer.from(Array.from({ length: 1024 }, (_, at) => (at * 7) & 0xff));

const answers: readonly (readonly [
  name: string,
  status: number,
  headers: readonly [string, string][],
  body: Buffer,
])[] = [
  ["binary", 200, [["Content-Type", "application/octet-stream"]], bytes],
  [
    "gzip",
    201,
    [
      ["Content-Type", "application/json"],
      ["Content-Encoding", "gzip"],
    ],
    gzipSync('{"id":1}'),
  ],
  ["204", 204, [["X-Id", "7"]], Buffer.alloc(0)],
  ["303", 303, [["Location", "/transfers/7"]], Buffer.from("see")],
  ["402", 402, [["Content-Type", "text/plain"]], Buffer.from("no funds")],
  ["an empty 200", 200, [], Buffer.alloc(0)],
  ["500", 500, [["Content-Type", "text/plain"]], Buffer.from("broke after it ran")],
  [
    "repeated fields",
    200,
    [
      ["X-A", "1"],
      ["x-a", "2"],
      ["Warning", "a"],
      ["Warning", "b"],
    ],
    Buffer.from("r"),
  ],
  ["latin1 values", 200, [["X-Name", "Zo\xeb \xff"]], Buffer.from([0xff, 0, 1])],
];

describe("SPEC §5.1: a replay has the status, the fields and the bytes of the first answer", () => {
  test.each(answers)("%s", async (_, status, headers, body) => {
    const behind = await upstream((_seen, response) => {
      response.writeHead(status, headers.flat());
      response.end(body);
    });
    const { port } = await gateway({ upstream: behind.url });
    const first = await post(port, "k-1");
    const second = await post(port, "k-1");
    expect(behind.seen).toHaveLength(1);
    expect([first.status, second.status]).toEqual([status, status]);
    expect(first.body.equals(body)).toBe(true);
    expect(second.body.equals(body)).toBe(true);
    const own = (list: typeof first.headers) => list.filter(([name]) => headers.some(([field]) => field === name));
    expect(own(first.headers)).toEqual(headers);
    expect(own(second.headers)).toEqual(headers);
    expect(first.header("Idempotent-Replayed")).toBeUndefined();
    expect(second.header("Idempotent-Replayed")).toBe("true");
    const hasLength = status !== 204;
    expect(second.header("Content-Length")).toBe(hasLength ? String(body.length) : undefined);
  });

  test("SPEC §5.2: Set-Cookie reaches the first client, twice and in order, and no duplicate", async () => {
    const behind = await upstream((_, response) => {
      response.writeHead(200, [
        "Set-Cookie",
        "a=1",
        "Set-Cookie",
        "b=2",
        "Connection",
        "X-Hop",
        "X-Hop",
        "1",
        "X-End",
        "2",
      ]);
      response.end("x");
    });
    const { port } = await gateway({ upstream: behind.url });
    const first = await post(port, "k");
    const second = await post(port, "k");
    expect(first.message.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    expect(second.message.headers["set-cookie"]).toBeUndefined();
    for (const answer of [first, second]) {
      expect(answer.header("X-Hop")).toBeUndefined();
      expect(answer.header("X-End")).toBe("2");
    }
  });

  test("SPEC §12: under glyue the first answer and its replay have identical fields, Date included", async () => {
    let count = 0;
    const behind = await upstream((_, response) => {
      count += 1;
      response.sendDate = false;
      response.writeHead(200, ["Set-Cookie", `n=${count}`, "X-N", String(count)]);
      response.end(`n=${count}`);
    });
    const { port } = await gateway({ upstream: behind.url, profile: "glyue" });
    const first = await post(port, "k");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const second = await post(port, "k");
    expect(second.headers).toEqual(first.headers);
    expect(second.header("Date")).toBeDefined();
    expect(second.body.toString()).toBe("n=1");
  });
});

describe("SPEC §1", () => {
  test("P1: 100 simultaneous duplicates run once, and every one that waits gets the one answer", async () => {
    const behind = await upstream((_, response) => void setTimeout(() => response.end("paid"), 300));
    const { port } = await gateway({ upstream: behind.url, whileRunning: { wait: "20s" } });
    const all = await Promise.all(Array.from({ length: 100 }, () => post(port, "one")));
    expect(behind.seen).toHaveLength(1);
    expect(all.every((answer) => answer.status === 200 && answer.body.toString() === "paid")).toBe(true);
    expect(all.filter((answer) => answer.header("Idempotent-Replayed") === undefined)).toHaveLength(1);
  });

  test("P1: without waiting the others are told that it is in progress", async () => {
    const behind = await upstream((_, response) => void setTimeout(() => response.end("paid"), 500));
    const { port } = await gateway({ upstream: behind.url });
    const all = await Promise.all(Array.from({ length: 20 }, () => post(port, "one")));
    expect(behind.seen).toHaveLength(1);
    expect(all.filter(({ status }) => status === 200)).toHaveLength(1);
    const others = all.filter(({ status }) => status !== 200);
    expect(others.every((answer) => answer.status === 409 && answer.json().code === "in_progress")).toBe(true);
    expect(others.every((answer) => answer.header("Retry-After") === "1")).toBe(true);
  });

  test("P3: the same key of two accounts never meets", async () => {
    const behind = await upstream(({ headers }, response) => void response.end(`for ${headers.authorization}`));
    const { port } = await gateway({ upstream: behind.url, account: { from: "credential" } });
    const a = await post(port, "k", { headers: { Authorization: "Bearer a-secret" } });
    const b = await post(port, "k", { headers: { Authorization: "Bearer b-secret" } });
    const again = await post(port, "k", { headers: { Authorization: "Bearer a-secret" } });
    expect(behind.seen).toHaveLength(2);
    expect([a, b, again].map((answer) => answer.body.toString())).toEqual([
      "for Bearer a-secret",
      "for Bearer b-secret",
      "for Bearer a-secret",
    ]);
  });

  test.each([
    ["another body", { body: "amount=2" }],
    ["another query", { path: "/pay?x=1" }],
    ["another path", { path: "/pay2" }],
    ["another method", { method: "PATCH" }],
  ])("SPEC §4: a reused key with %s is told apart", async (_, other) => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url });
    expect((await post(port, "k")).status).toBe(200);
    const answer = await post(port, "k", other);
    expect(answer.status).toBe(422);
    expect(answer.json().code).toBe("key_reused");
    expect(behind.seen).toHaveLength(1);
  });
});

test("SPEC K8: a key on GET is ignored, and the request passes through", async () => {
  const behind = await upstream();
  const { port } = await gateway({ upstream: behind.url, announceIgnored: true });
  const answers = await Promise.all([1, 2].map(() => send(port, { headers: { "Idempotency-Key": "k" } })));
  expect(behind.seen).toHaveLength(2);
  expect(answers.map((answer) => answer.header("Idempotency-Status"))).toEqual(["ignored", "ignored"]);
});
