import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { raw, until } from "./support/client.js";
import { gateway } from "./support/gateway.js";
import { rawUpstream, upstream } from "./support/upstream.js";

const HANDSHAKE =
  "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/** Echoes what it is sent, and greets first. */
async function echo(): Promise<{ readonly url: string; readonly server: WebSocketServer }> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (socket, request) => {
    socket.on("error", () => undefined);
    socket.send(`hello ${request.url} ${request.headers["x-forwarded-for"]} ${request.headers["idempotency-key"]}`);
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  });
  await new Promise((resolve) => server.once("listening", resolve));
  onTestFinished(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

describe("SPEC §5.7: a WebSocket is passed through both ways and never keyed", () => {
  test("messages of every size, both ways, with a key on it too", async () => {
    const { url } = await echo();
    const { port } = await gateway({ upstream: url, profile: "glyue" });
    const open = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/ws?a=1`, { headers: { "Idempotency-Key": "k" } });
        const big = Buffer.alloc(1_000_000, 3);
        const got: string[] = [];
        socket.on("error", reject);
        socket.on("message", (data: Buffer) => {
          got.push(data.length > 100 ? `${data.length} ${data.equals(big)}` : data.toString());
          if (got.length === 1) socket.send("hi");
          if (got.length === 2) socket.send(big);
          if (got.length === 3) socket.close(1000);
        });
        socket.on("close", (code) => resolve([...got, code].join("|")));
      });
    const expected = "hello /ws?a=1 127.0.0.1 k|hi|1000000 true|1000";
    expect(await open()).toBe(expected);
    expect(await open()).toBe(expected);
  });

  test("an upstream that declines is passed on as it answered", async () => {
    const behind = await upstream((_, response) => void response.writeHead(403, { "X-A": "1" }).end("no sockets"));
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write(`${HANDSHAKE}\r\n`);
    const text = await client.closed();
    expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*X-A: 1[\s\S]*no sockets/);
  });

  test("an upstream that cannot be reached: 502", async () => {
    const { port } = await gateway({ upstream: "http://nowhere.invalid" });
    const client = raw(port);
    client.write(`${HANDSHAKE}\r\n`);
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 502 /);
  });

  test("either end that goes away takes the other with it, and bytes sent right behind the head are not lost", async () => {
    const accept =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\nfirst";
    const behind = await rawUpstream((socket, soFar) => {
      if (soFar.endsWith("\r\n\r\n") || soFar.endsWith("early")) if (!soFar.includes("late")) socket.write(accept);
    });
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write(`${HANDSHAKE}\r\n`);
    expect(await client.until(/first$/)).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n[\s\S]*X-A: 1/);
    client.write("late");
    await until(() => behind.received().endsWith("late"));
    client.socket.destroy();
    await until(() => behind.sockets[0]?.destroyed === true);
    const other = raw(port);
    other.write(`${HANDSHAKE}\r\n`);
    await other.until(/first$/);
    behind.sockets[1]?.end("bye");
    expect(await other.closed()).toMatch(/firstbye$/);
  });

  test("one that arrives behind a request without an answer yet does not overtake it", async () => {
    const behind = await upstream(() => undefined);
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => behind.seen.length === 1);
    client.write(`${HANDSHAKE}\r\n`);
    expect(await client.closed()).toBe("");
  });

  test("is closed when the gateway stops", async () => {
    const { url } = await echo();
    const { port, running } = await gateway({ upstream: url });
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    await new Promise((resolve) => socket.once("message", resolve));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await running.stop();
    await closed;
  });
});
