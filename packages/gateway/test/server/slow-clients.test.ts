import { connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { raw, send, until } from "./support/client.js";
import { gateway } from "./support/gateway.js";
import { gatewayProcess } from "./support/process.js";
import { CLOSED_PORT, rawUpstream, upstream } from "./support/upstream.js";

const POST = "POST /pay HTTP/1.1\r\nHost: a\r\n";

/** What the history says of a run, by its key. */
async function flagsOf(port: number, key: string): Promise<readonly string[]> {
  const { items } = (await send(port, { path: `/api/runs?key=${key}` })).json() as unknown as {
    items: { flags: string[] }[];
  };
  return items[0]?.flags ?? [];
}

describe("clients that stop in the middle", () => {
  test("a body without a key that comes no further: 408, and the upstream's connection is closed", async () => {
    const behind = await rawUpstream(() => undefined);
    const { port } = await gateway({ upstream: behind.url, timeouts: { body: "300ms" } });
    const client = raw(port);
    client.write(`${POST}Content-Length: 100\r\n\r\nhalf`);
    await client.until(/^HTTP\/1\.1 408 [\s\S]*request_invalid/);
    await until(() => behind.sockets[0]?.destroyed === true);
    expect(behind.received()).toMatch(/half$/);
  });

  test.each([
    ["without a key", ""],
    ["with one, of an answer that is not kept", "Idempotency-Key: k\r\n"],
  ])("an answer that is not read, %s: the connection is closed after a while", async (_, key) => {
    const behind = await upstream((_seen, response) => void response.end(Buffer.alloc(30_000_000)));
    const { port } = await gateway({ upstream: behind.url, timeouts: { body: "400ms" } });
    const socket = connect(port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.write(`${POST}${key}Content-Length: 0\r\n\r\n`);
    socket.pause();
    await until(() => behind.seen.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    let bytes = 0;
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
    expect(bytes).toBeLessThan(30_000_000);
  });

  test("a replay that is not read is given up too", async () => {
    const behind = await upstream((_, response) => void response.end(Buffer.alloc(30_000_000)));
    const { port } = await gateway({ upstream: behind.url, maxBody: "40MiB", timeouts: { body: "400ms" } });
    await send(port, { method: "POST", path: "/pay", headers: { "Idempotency-Key": "k" } });
    const socket = connect(port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.on("error", () => undefined);
    socket.write(`${POST}Idempotency-Key: k\r\nContent-Length: 0\r\n\r\n`);
    socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
    expect(bytes).toBeLessThan(30_000_000);
    expect(behind.seen).toHaveLength(1);
  });

  test("100 requests on one connection without waiting are answered in order; far more close it", async () => {
    const behind = await upstream(({ url }, response) => void setTimeout(() => response.end(url), Math.random() * 20));
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    const get = (at: number): string => `GET /n${at} HTTP/1.1\r\nHost: a\r\n\r\n`;
    client.write(Array.from({ length: 50 }, (_, at) => get(at)).join(""));
    const text = await client.until((all) => all.includes("/n49"));
    expect([...text.matchAll(/\/n(\d+)/g)].map((match) => Number(match[1]))).toEqual(
      Array.from({ length: 50 }, (_, at) => at),
    );
    const greedy = raw(port);
    greedy.write(Array.from({ length: 1_000 }, (_, at) => get(at)).join(""));
    await greedy.closed();
    expect(behind.seen.length).toBeLessThan(200);
  });
});

describe("uploads that nobody reads", () => {
  test.each([
    ["refused, without a key", "", {}],
    ["refused, with a key and a spooled body", "Idempotency-Key: k\r\n", { limits: { spoolAbove: 1_000 } }],
  ])("to an upstream that is %s: 502, and the client that leaves takes nothing with it", async (_, key, more) => {
    const { port } = await gateway({ upstream: `http://127.0.0.1:${CLOSED_PORT}`, ...more });
    const length = 3_000_000;
    for (const leavesAt of [100_000, length]) {
      const client = raw(port);
      client.write(`${POST}${key}Content-Length: ${length}\r\n\r\n`);
      client.socket.write(Buffer.alloc(leavesAt));
      if (key === "" || leavesAt === length) await client.until(/^HTTP\/1\.1 502 [\s\S]*upstream_unavailable/);
      client.socket.destroy();
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await send(port)).status).toBe(502);
  });

  test("leave nothing that keeps the gateway's process from ending", async () => {
    const through = await gatewayProcess({ upstream: `http://127.0.0.1:${CLOSED_PORT}`, store: "memory:" });
    const client = raw(through.port);
    client.write(`${POST}Content-Length: 3000000\r\n\r\n`);
    client.socket.write(Buffer.alloc(200_000));
    await client.until(/^HTTP\/1\.1 502 /);
    client.socket.destroy();
    through.kill("SIGTERM");
    await through.gone;
    expect(through.child.exitCode).toBe(0);
  });

  test("an answer before the end of an endless upload: the client gets it whole, and the upload is cut off", async () => {
    const behind = await rawUpstream(
      (socket) => void socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
    );
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write(`${POST}Transfer-Encoding: chunked\r\n\r\n`);
    const piece = Buffer.from(`4000\r\n${"x".repeat(0x4000)}\r\n`);
    const feed = (): void => {
      if (client.socket.destroyed) return;
      if (client.socket.write(piece)) setImmediate(feed);
      else client.socket.once("drain", feed);
    };
    feed();
    await client.until(/^HTTP\/1\.1 (403 Forbidden[\s\S]*no|502 )/);
    await client.closed();
  });
});

describe("SPEC §11: the history says so", () => {
  test("CLIENT_GONE where the client left, TRUNCATED where the upstream died in an answer that is not kept", async () => {
    const slow = await upstream((_, response) => void setTimeout(() => response.end("paid"), 200));
    const first = await gateway({ upstream: slow.url, admin: "127.0.0.1:0" });
    const client = raw(first.port);
    client.write(`${POST}Idempotency-Key: gone\r\nContent-Length: 0\r\n\r\n`);
    await until(() => slow.seen.length === 1);
    client.socket.destroy();
    await until(async () => (await flagsOf(first.running.adminAddress!.port, "gone")).includes("CLIENT_GONE"));
    const dying = await rawUpstream((socket) => {
      socket.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
      );
      setTimeout(() => socket.destroy(), 50);
    });
    const second = await gateway({ upstream: dying.url, admin: "127.0.0.1:0" });
    const cut = raw(second.port);
    cut.write(`${POST}Idempotency-Key: cut\r\nContent-Length: 0\r\n\r\n`);
    await cut.closed();
    await until(async () => (await flagsOf(second.running.adminAddress!.port, "cut")).includes("TRUNCATED"));
  });
});
