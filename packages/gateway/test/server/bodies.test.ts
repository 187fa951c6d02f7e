import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { post, raw, send, until } from "./support/client.js";
import { gateway } from "./support/gateway.js";
import { rawUpstream, upstream } from "./support/upstream.js";

const spools = (): string[] => readdirSync(tmpdir()).filter((name) => /^onceward-[0-9a-f-]{36}$/.test(name));

describe("SPEC §5.5: the body of a keyed request", () => {
  test("larger than memory takes it goes through a file without a name, byte for byte, with its length", async () => {
    const behind = await upstream(({ body }, response) => void response.end(String(body.length)));
    const { port } = await gateway({ upstream: behind.url, limits: { spoolAbove: 1_000 } });
    const body = Buffer.from(Array.from({ length: 3_000_000 }, (_, at) => (at * 31) & 0xff));
    const first = await post(port, "k", { body });
    const second = await post(port, "k", { body, headers: { "Transfer-Encoding": "chunked" } });
    expect(first.body.toString()).toBe("3000000");
    expect(second.header("Idempotent-Replayed")).toBe("true");
    expect(behind.seen).toHaveLength(1);
    expect(behind.seen[0]?.body.equals(body)).toBe(true);
    expect(behind.seen[0]?.headers["content-length"]).toBe("3000000");
    expect(behind.seen[0]?.headers["transfer-encoding"]).toBeUndefined();
    expect(spools()).toEqual([]);
  });

  test("goes through a file as well where the memory for bodies is used up; where the disk is too: 503, unused", async () => {
    const behind = await upstream(({ body }, response) => void response.end(String(body.length)));
    const { port, reload } = await gateway({ upstream: behind.url }, { maxBufferBytes: 1_024 });
    const body = Buffer.alloc(500_000, 7);
    expect((await post(port, "a", { body })).body.toString()).toBe("500000");
    await reload({ upstream: behind.url }, { maxBufferBytes: 1_024, maxSpoolBytes: 102_400 });
    const refused = await post(port, "b", { body });
    expect([refused.status, refused.json().code]).toEqual([503, "upstream_unavailable"]);
    await reload({ upstream: behind.url });
    expect((await post(port, "b", { body })).header("Idempotent-Replayed")).toBeUndefined();
    expect(behind.seen).toHaveLength(2);
  });

  test("over maxRequestBody: 413 by its declared length, before it is read", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, maxRequestBody: 1_000 });
    const client = raw(port);
    client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 9000000000\r\n\r\n");
    const text = await client.until(/"code":"request_too_large"/);
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    client.socket.destroy();
    expect(behind.seen).toHaveLength(0);
  });

  test("over maxRequestBody in chunks: 413, the upload is not read on forever, and the connection closes", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, maxRequestBody: 1_000 });
    const client = raw(port);
    client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n");
    const piece = Buffer.from(`4000\r\n${"x".repeat(0x4000)}\r\n`);
    const feed = (): void => {
      if (client.socket.destroyed) return;
      if (client.socket.write(piece)) setImmediate(feed);
      else client.socket.once("drain", feed);
    };
    feed();
    await client.until(/^HTTP\/1\.1 413 [\s\S]*request_too_large/);
    await client.closed();
    expect(behind.seen).toHaveLength(0);
  });

  test("that breaks off claims nothing", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 100\r\n\r\nhalf");
    await new Promise((resolve) => setTimeout(resolve, 100));
    client.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const answer = await post(port, "k");
    expect([answer.status, answer.header("Idempotent-Replayed")]).toEqual([200, undefined]);
    expect(behind.seen).toHaveLength(1);
  });

  test("that comes too slowly: 408, and nothing is claimed", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, timeouts: { body: "300ms" } });
    const client = raw(port);
    client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 100\r\n\r\nslow");
    expect(await client.until(/request_invalid/)).toMatch(/^HTTP\/1\.1 408 /);
    client.socket.destroy();
    expect((await post(port, "k")).header("Idempotent-Replayed")).toBeUndefined();
  });
});

describe("Expect: 100-continue", () => {
  const head = (more: string, length = 8): string =>
    `POST /pay HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n${more}\r\n`;

  test.each([
    ["key_missing", "", { required: true }],
    ["key_invalid", 'Idempotency-Key: "open\r\n', {}],
    ["account_unknown", "Idempotency-Key: k\r\n", { account: { from: "credential" } }],
    ["request_too_large", "Idempotency-Key: k\r\n", { maxRequestBody: 4 }],
  ])("%s is sent instead of it", async (code, more, settings) => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, ...settings });
    const client = raw(port);
    client.write(head(more));
    const text = await client.closed();
    expect(text).toContain(`"code":"${code}"`);
    expect(text).not.toContain("100 Continue");
    expect(behind.seen).toHaveLength(0);
  });

  test.each([
    ["with a key", "Idempotency-Key: k\r\n"],
    ["without a key", ""],
  ])("%s it is sent when the body is first read", async (_, more) => {
    const behind = await upstream(({ body }, response) => void response.end(`got ${body.toString()}`));
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write(head(more));
    expect(await client.until(/\r\n\r\n/)).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    client.write("amount=1");
    await client.until(/got amount=1$/);
    client.socket.destroy();
    expect(behind.seen[0]?.headers["expect"]).toBeUndefined();
  });

  test("an upstream that cannot be reached is told of instead of it", async () => {
    const behind = await rawUpstream(() => undefined);
    const { port } = await gateway({ upstream: `https://127.0.0.1:${behind.port}`, timeouts: { connect: "200ms" } });
    const client = raw(port);
    client.write(head(""));
    const text = await client.closed();
    expect(text).toMatch(/^HTTP\/1\.1 504 /);
  });

  test("any other expectation: 417", async () => {
    const { port } = await gateway({ upstream: (await upstream()).url });
    const answer = await send(port, { method: "POST", headers: { Expect: "a-miracle" } });
    expect(answer.status).toBe(417);
  });
});

describe("SPEC §5.4: answers that are not kept", () => {
  test("larger than maxBody: passed on whole, and duplicates get 409 response_not_kept, never a second run", async () => {
    const body = Buffer.alloc(200_000, 5);
    const behind = await upstream(
      (_, response) => void response.writeHead(200, { "X-A": "1", "Content-Length": body.length }).end(body),
    );
    const { port } = await gateway({ upstream: behind.url, maxBody: 1_000 });
    const first = await post(port, "k");
    expect([first.status, first.header("X-A"), first.body.equals(body)]).toEqual([200, "1", true]);
    expect(first.header("Content-Length")).toBe("200000");
    const second = await post(port, "k");
    expect(second.status).toBe(409);
    expect(second.json()).toMatchObject({ code: "response_not_kept", originalStatus: 200 });
    expect(behind.seen).toHaveLength(1);
  });

  test("of unknown length that turn out larger: nothing of what was held is lost", async () => {
    const body = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 13) & 0xff));
    const behind = await upstream((_, response) => {
      for (let at = 0; at < body.length; at += 1_000) response.write(body.subarray(at, at + 1_000));
      response.end();
    });
    const { port } = await gateway({ upstream: behind.url, maxBody: 10_500 });
    const first = await post(port, "k");
    expect(first.body.equals(body)).toBe(true);
    expect((await post(port, "k")).json().code).toBe("response_not_kept");
  });

  test("are those beyond the memory for bodies too", async () => {
    const behind = await upstream((_, response) => void response.end(Buffer.alloc(50_000)));
    const { port } = await gateway({ upstream: behind.url }, { maxBufferBytes: 10_240 });
    expect((await post(port, "k")).body.length).toBe(50_000);
    expect((await post(port, "k")).json().code).toBe("response_not_kept");
  });

  test("event streams come as they are sent", async () => {
    let finish: () => void = () => undefined;
    const behind = await upstream((_, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
      response.write("data: 1\n\n");
      finish = () => response.end("data: 2\n\n");
    });
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n");
    await client.until(/data: 1/);
    expect((await post(port, "k", { body: "" })).json().code).toBe("response_not_kept");
    finish();
    await client.until(/data: 2[\s\S]*0\r\n\r\n$/);
    client.socket.destroy();
  });

  test("an upstream that dies in the middle: the client's connection breaks, and it is still done", async () => {
    const behind = await rawUpstream((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
      socket.write("data: 1\n\n");
      setTimeout(() => socket.resetAndDestroy(), 100);
    });
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n");
    const text = await client.closed();
    expect(text).toContain("data: 1");
    expect(text).not.toContain("0\r\n\r\n");
    expect((await post(port, "k", { body: "" })).json().code).toBe("response_not_kept");
    expect(behind.sockets).toHaveLength(1);
  });
});

describe("SPEC §4.7: a client that goes away", () => {
  test("changes nothing: the operation finishes, is recorded, and the retry gets its answer", async () => {
    const behind = await upstream((_, response) => void setTimeout(() => response.end("paid"), 200));
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 8\r\n\r\namount=1");
    await until(() => behind.seen.length === 1);
    client.socket.destroy();
    await until(async () => (await post(port, "k")).status === 200);
    const retry = await post(port, "k");
    expect([retry.body.toString(), retry.header("Idempotent-Replayed")]).toEqual(["paid", "true"]);
    expect(behind.seen).toHaveLength(1);
  });

  test("without a key it is told to the upstream, whose work nobody wants any more", async () => {
    let aborted = false;
    const behind = await upstream(
      (_, response) =>
        void response.on("close", () => {
          aborted = !response.writableFinished;
        }),
    );
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => behind.seen.length === 1);
    client.socket.destroy();
    await until(() => aborted);
  });
});
