// Clients and upstreams that hold on to what they were given (SPEC §9.3, P5).

import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { post, raw, until } from "../server/support/client.js";
import { gateway } from "../server/support/gateway.js";
import { rawUpstream, upstream } from "../server/support/upstream.js";

/** A client that never closes its side. */
function clinging(port: number): Socket {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => undefined).resume();
  return socket;
}

const WEBSOCKET = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

test.each([
  ["CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"],
  ["a WebSocket to a path that is refused", `GET /%2f HTTP/1.1\r\n${WEBSOCKET}`],
  ["a WebSocket that the upstream declines", `GET / HTTP/1.1\r\n${WEBSOCKET}`],
])(
  "SPEC §9.3, §14.5: %s: a client that never closes its side does not keep the gateway from stopping",
  async (_, bytes) => {
    const behind = await upstream();
    const { running, port } = await gateway({ upstream: behind.url, timeouts: { shutdown: "1s" } });
    const socket = clinging(port);
    socket.write(bytes);
    await new Promise((resolve) => socket.once("end", resolve));
    await running.stop();
  },
);

test("SPEC §9.3: nor does it keep its connection for ever", async () => {
  const behind = await upstream();
  const { port } = await gateway({ upstream: behind.url });
  const socket = clinging(port);
  socket.write("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
  await new Promise((resolve) => socket.once("end", resolve));
  // Writing shows that the other end is gone for good: it answers with a reset.
  const asking = setInterval(() => void socket.write("."), 200);
  onTestFinished(() => clearInterval(asking));
  await until(() => socket.destroyed);
});

test("SPEC §9.3: requests behind a refused one, which waits behind one that runs, are not hoarded", async () => {
  const behind = await rawUpstream(() => undefined);
  const { port } = await gateway({ upstream: behind.url, timeouts: { shutdown: "1s" } });
  const client = raw(port);
  onTestFinished(() => {
    client.socket.destroy();
    for (const socket of behind.sockets) socket.destroy();
  });
  client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\na");
  await until(() => behind.received().includes("\r\n\r\na"));
  client.write(`GET /%2f HTTP/1.1\r\nHost: a\r\n\r\n${"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500)}`);
  await client.closed();
  expect(behind.received()).not.toContain("GET");
});

test.each([["102 Processing"], ["103 Early Hints"]])(
  "SPEC P5, §4.9: an upstream that sends nothing but %s leaves the outcome unknown when time is up",
  async (line) => {
    const behind = await rawUpstream((socket) => {
      const sending = setInterval(() => socket.write(`HTTP/1.1 ${line}\r\n\r\n`), 20);
      socket.on("close", () => clearInterval(sending));
    });
    const { port } = await gateway({ upstream: behind.url, timeouts: { upstreamHeaders: "1s", shutdown: "1s" } });
    const first = await post(port, "k");
    expect([first.status, first.json().code]).toEqual([504, "outcome_unknown"]);
    const second = await post(port, "k");
    expect([second.status, second.json().code]).toEqual([504, "outcome_unknown"]);
    expect(behind.sockets).toHaveLength(1);
  },
);

test.each(["", "Idempotency-Key: k\r\n"])(
  "SPEC §5.1: a 204 announces no body, whatever the upstream says (%j)",
  async (key) => {
    const behind = await rawUpstream((socket) => {
      socket.write("HTTP/1.1 204 No Content\r\nContent-Length: 9000000\r\n\r\n");
    });
    const { port } = await gateway({ upstream: behind.url, timeouts: { shutdown: "1s" } });
    const client = raw(port);
    onTestFinished(() => {
      client.socket.destroy();
      for (const socket of behind.sockets) socket.destroy();
    });
    client.write(`POST /x HTTP/1.1\r\nHost: a\r\n${key}Content-Length: 0\r\n\r\n`);
    const text = await client.until(/\r\n\r\n/);
    expect(text).toMatch(/^HTTP\/1\.1 204 /);
    expect(text).not.toMatch(/content-length|transfer-encoding/i);
  },
);
