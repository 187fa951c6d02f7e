import { describe, expect, test } from "vitest";
import { post, raw, send } from "./support/client.js";
import { gateway } from "./support/gateway.js";
import { CLOSED_PORT, rawUpstream, upstream } from "./support/upstream.js";

const FINE = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

describe("SPEC §4.5: where not a byte was sent, the key stays unused", () => {
  test("connection refused: 502 upstream_unavailable with Retry-After, and the same key runs once it is there", async () => {
    const port = CLOSED_PORT;
    const { port: at, ...through } = await gateway({ upstream: `http://127.0.0.1:${port}` });
    const refused = await post(at, "k");
    expect([refused.status, refused.json().code]).toEqual([502, "upstream_unavailable"]);
    expect(refused.header("Retry-After")).toBeDefined();
    expect(refused.header("Cache-Control")).toBe("no-store");
    const behind = await upstream();
    await through.reload({ upstream: behind.url });
    expect((await post(at, "k")).status).toBe(200);
    expect(behind.seen).toHaveLength(1);
  });

  test("a name that does not resolve: 502 upstream_unavailable", async () => {
    const { port } = await gateway({ upstream: "http://nowhere.invalid:80" });
    for (const _ of [1, 2]) {
      const answer = await post(port, "k");
      expect([answer.status, answer.json().code]).toEqual([502, "upstream_unavailable"]);
    }
  });

  test("a TLS handshake that fails: 502 upstream_unavailable", async () => {
    const behind = await rawUpstream((socket) => void socket.end("not TLS at all\r\n"));
    const { port } = await gateway({ upstream: `https://127.0.0.1:${behind.port}` });
    const answer = await post(port, "k");
    expect([answer.status, answer.json().code]).toEqual([502, "upstream_unavailable"]);
  });

  test("a TLS handshake that hangs: 504 upstream_unavailable", async () => {
    const behind = await rawUpstream(() => undefined);
    const { port } = await gateway({ upstream: `https://127.0.0.1:${behind.port}`, timeouts: { connect: "200ms" } });
    const answer = await post(port, "k");
    expect([answer.status, answer.json().code]).toEqual([504, "upstream_unavailable"]);
  });
});

/** What the upstream does with the request, and the status that its client gets. */
const broken: readonly (readonly [string, number, Parameters<typeof rawUpstream>])[] = [
  ["closes at once", 502, [(socket) => socket.destroy()]],
  ["resets at once", 502, [(socket) => socket.resetAndDestroy()]],
  ["closes before it has read", 502, [() => undefined, (socket) => socket.destroy()]],
  ["sends half a head", 502, [(socket) => void socket.end("HTTP/1.1 200 O")]],
  ["sends half a body", 502, [(socket) => void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")]],
  [
    "breaks off in a chunk",
    502,
    [(socket) => void socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nha")],
  ],
  [
    "ends without the last chunk",
    502,
    [(socket) => void socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nha\r\n")],
  ],
  ["sends no HTTP", 502, [(socket) => void socket.end("220 mail ready\r\n")]],
  [
    "sends two framings",
    502,
    [
      (socket) =>
        void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
  ],
  [
    "upgrades unasked",
    502,
    [(socket) => void socket.end("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")],
  ],
  [
    "sends a control character",
    502,
    [(socket) => void socket.end("HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n")],
  ],
  [
    "sends too many fields",
    502,
    [(socket) => void socket.end(`HTTP/1.1 200 OK\r\n${"A: b\r\n".repeat(300)}Content-Length: 0\r\n\r\n`)],
  ],
  [
    "sends too large a head",
    502,
    [(socket) => void socket.end(`HTTP/1.1 200 OK\r\nA: ${"b".repeat(100_000)}\r\n\r\n`)],
  ],
  [
    "resets in the middle of a body that ends with its connection",
    502,
    [
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\n\r\nhalf");
        setTimeout(() => socket.resetAndDestroy(), 50);
      },
    ],
  ],
  ["says nothing", 504, [() => undefined]],
  ["stops in the middle", 504, [(socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")]],
];

describe("SPEC §4.9: an upstream that fails once bytes were sent leaves the outcome unknown", () => {
  test.each(broken)(
    "%s: %i outcome_unknown, for every duplicate too, and nothing runs again",
    async (_, status, [onData, onConnect]) => {
      const behind = await rawUpstream(onData, onConnect);
      const { port } = await gateway({
        upstream: behind.url,
        timeouts: { upstreamHeaders: "300ms", upstreamBody: "300ms" },
      });
      for (const _ of [1, 2, 3]) {
        const answer = await post(port, "k");
        expect([answer.status, answer.json().code]).toEqual([status, "outcome_unknown"]);
        expect(answer.header("Idempotent-Replayed")).toBeUndefined();
      }
      expect(behind.sockets).toHaveLength(1);
    },
  );

  test("unknownStatuses: a 502 of a proxy behind means the same", async () => {
    const behind = await upstream((_, response) => void response.writeHead(502).end("bad gateway"));
    const { port } = await gateway({ upstream: behind.url, unknownStatuses: [502] });
    for (const _ of [1, 2]) {
      const answer = await post(port, "k");
      expect([answer.status, answer.json().code]).toEqual([502, "outcome_unknown"]);
    }
    expect(behind.seen).toHaveLength(1);
  });
});

describe("SPEC §4.8: what the upstream says of its own answer", () => {
  test.each([
    ["a 422 of the list", 422, {}, 2],
    ["a 503 with Retry-After", 503, { "Retry-After": "1" }, 2],
    ["a 503 without", 503, {}, 1],
    ["a 200 that says not-started", 200, { "Onceward-Outcome": "not-started" }, 2],
    ["a 422 that says final", 422, { "Onceward-Outcome": "final" }, 1],
    ["a 500", 500, {}, 1],
  ])("%s", async (_, status, headers, runs) => {
    const behind = await upstream((_seen, response) => void response.writeHead(status, headers).end("x"));
    const { port } = await gateway({ upstream: behind.url });
    for (const _ of [1, 2]) {
      const answer = await post(port, "k");
      expect(answer.status).toBe(status);
      expect(answer.header("Onceward-Outcome")).toBeUndefined();
    }
    expect(behind.seen).toHaveLength(runs);
  });
});

describe("SPEC §4.9: connections of keyed requests", () => {
  test("one that was idle for more than a second is not used again, and nothing is sent twice", async () => {
    const behind = await upstream(
      (_, response) => void response.writeHead(200, { "Keep-Alive": "timeout=60" }).end("x"),
    );
    behind.server.keepAliveTimeout = 60_000;
    const { port } = await gateway({ upstream: behind.url });
    await post(port, "a");
    await post(port, "b");
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    await post(port, "c");
    const [a, b, c] = behind.seen.map(({ connection }) => connection);
    expect(b).toBe(a);
    expect(c).not.toBe(b);
    expect(behind.seen).toHaveLength(3);
  });

  test("an upstream that closes idle connections as they are used: each key runs at most once, and says so", async () => {
    const ran = new Map<string, number>();
    const behind = await rawUpstream((socket, soFar) => {
      // Answers the first request on a connection and closes it a moment later, racing the next one.
      const keys = [...soFar.matchAll(/idempotency-key: (\S+)[\s\S]*?\r\n\r\namount=1/gi)].map(
        (match) => match[1] ?? "",
      );
      const key = keys.at(-1) ?? "";
      ran.set(key, (ran.get(key) ?? 0) + 1);
      socket.write(FINE);
      if (Math.random() < 0.5) setImmediate(() => socket.destroy());
      else setTimeout(() => socket.end(), Math.random() * 3);
    });
    const { port } = await gateway({ upstream: behind.url });
    for (let round = 0; round < 150; round += 1) {
      const key = `k${round}`;
      const first = await post(port, key);
      const second = await post(port, key);
      expect([200, 502]).toContain(first.status);
      expect(second.status).toBe(first.status);
      if (first.status === 502) expect(second.json().code).toBe(first.json().code);
    }
    expect(Math.max(...ran.values())).toBe(1);
  });

  test("an upstream that answers before the request is whole, and one that says close", async () => {
    const behind = await upstream(() => undefined, {
      early: (_, response, request) => {
        response.writeHead(201, { Connection: "close" }).end("early");
        request.resume();
      },
    });
    const { port } = await gateway({ upstream: behind.url });
    const body = Buffer.alloc(3_000_000, 1);
    const first = await post(port, "k", { body });
    const second = await post(port, "k", { body });
    expect([first.status, second.status]).toEqual([201, 201]);
    expect([first.body.toString(), second.body.toString()]).toEqual(["early", "early"]);
    expect(second.header("Idempotent-Replayed")).toBe("true");
  });
});

describe("a request without a key", () => {
  test("upstream refused: 502; broken after it was sent: 502; silent: 504", async () => {
    const nobody = await gateway({ upstream: `http://127.0.0.1:${CLOSED_PORT}` });
    expect((await send(nobody.port)).json().code).toBe("upstream_unavailable");
    const breaks = await rawUpstream((socket) => socket.destroy());
    const broken = await gateway({ upstream: breaks.url });
    expect((await send(broken.port)).status).toBe(502);
    const silent = await rawUpstream(() => undefined);
    const waiting = await gateway({ upstream: silent.url, timeouts: { upstreamHeaders: "200ms" } });
    expect((await send(waiting.port)).status).toBe(504);
  });

  test("an upstream that dies in the middle closes the client's connection, and never ends the answer", async () => {
    const behind = await rawUpstream((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
      setTimeout(() => socket.destroy(), 50);
    });
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const text = await client.closed();
    expect(text).toContain("half");
    expect(text).not.toContain("0\r\n\r\n");
  });
});
