import { join } from "node:path";
import { sqliteStore } from "onceward/stores/sqlite";
import { describe, expect, test } from "vitest";
import { post, raw, until } from "./support/client.js";
import { temporaryFolder } from "./support/gateway.js";
import { gatewayProcess } from "./support/process.js";
import { rawUpstream, upstream } from "./support/upstream.js";

const settings = (upstreamUrl: string, more: object = {}) => ({
  upstream: upstreamUrl,
  store: `sqlite:${join(temporaryFolder(), "killed.db")}`,
  lease: "1s",
  ...more,
});

const PAY = "POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 8\r\n\r\n";

/** Waits until the lease of the killed process has lapsed; what came before it was 409 `in_progress`. */
async function afterLease(port: number): ReturnType<typeof post> {
  const before: string[] = [];
  for (;;) {
    const answer = await post(port, "k");
    if (answer.status !== 409) return answer;
    before.push(String(answer.json().code));
    expect(new Set(before)).toEqual(new Set(["in_progress"]));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("SPEC §4, §14.5: the gateway killed at each stage and started again on the same file", () => {
  test("while the request comes in: nothing was claimed, and the retry runs", async () => {
    const behind = await upstream();
    const config = settings(behind.url);
    const first = await gatewayProcess(config);
    const client = raw(first.port);
    client.write(`${PAY}amou`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    first.kill("SIGKILL");
    await first.gone;
    const second = await gatewayProcess(config);
    const answer = await post(second.port, "k");
    expect([answer.status, answer.header("Idempotent-Replayed")]).toEqual([200, undefined]);
    expect(behind.seen).toHaveLength(1);
  });

  test("after the claim, before a byte went to the upstream: unknown, since nobody can tell (§4.6)", async () => {
    const behind = await upstream();
    const config = settings(behind.url);
    const preload = `import net from "node:net";
      const connect = net.Socket.prototype.connect;
      net.Socket.prototype.connect = function (...args) {
        if (JSON.stringify(args).includes('"${behind.port}"')) process.kill(process.pid, "SIGKILL");
        return connect.apply(this, args);
      };`;
    const first = await gatewayProcess(config, preload);
    await expect(post(first.port, "k")).rejects.toThrow();
    await first.gone;
    const second = await gatewayProcess(config);
    const answer = await afterLease(second.port);
    expect([answer.status, answer.json().code]).toEqual([500, "outcome_unknown"]);
    expect((await post(second.port, "k")).status).toBe(500);
    expect(behind.seen).toHaveLength(0);
  });

  test("while the upstream works: in progress until the lease lapses, then unknown, and it ran once", async () => {
    const behind = await upstream((_, response) => void setTimeout(() => response.end("paid"), 300));
    const config = settings(behind.url);
    const first = await gatewayProcess(config);
    const broken = post(first.port, "k").catch((error: Error) => error);
    await until(() => behind.seen.length === 1);
    first.kill("SIGKILL");
    expect(await broken).toBeInstanceOf(Error);
    const second = await gatewayProcess(config);
    const answer = await afterLease(second.port);
    expect([answer.status, answer.json().code]).toEqual([500, "outcome_unknown"]);
    expect(behind.seen).toHaveLength(1);
  });

  test("the same, and nobody retries: after the lease the operator finds it unknown (P5)", async () => {
    const behind = await upstream((_, response) => void setTimeout(() => response.end("paid"), 3_000));
    const config = settings(behind.url, { timeouts: { purge: "1s" } });
    const first = await gatewayProcess(config);
    const broken = post(first.port, "k").catch((error: Error) => error);
    await until(() => behind.seen.length === 1);
    // The history is written in batches: a run that lasts is there within a second (SPEC §11).
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    first.kill("SIGKILL");
    await broken;
    await gatewayProcess(config);
    const store = sqliteStore({ path: config.store.slice("sqlite:".length) });
    await store.open();
    await until(async () => (await store.list({ state: "unknown", limit: 10 })).items.length === 1);
    const runs = async () => (await store.history?.listRuns({ outcome: "unknown", limit: 10 }))?.items ?? [];
    await until(async () => (await runs()).length === 1);
    expect((await runs())[0]).toMatchObject({ key: "k", status: 500, flags: [] });
    await store.close();
  });

  test("the same under rerun: the retry takes it over and runs it again", async () => {
    const behind = await upstream(
      (_, response) => void setTimeout(() => response.end("paid"), behind.seen.length === 1 ? 2_000 : 0),
    );
    const config = settings(behind.url, { onInterrupted: "rerun" });
    const first = await gatewayProcess(config);
    const broken = post(first.port, "k").catch((error: Error) => error);
    await until(() => behind.seen.length === 1);
    first.kill("SIGKILL");
    await broken;
    const second = await gatewayProcess(config);
    const answer = await afterLease(second.port);
    expect([answer.status, answer.body.toString(), answer.header("Idempotent-Replayed")]).toEqual([
      200,
      "paid",
      undefined,
    ]);
    expect((await post(second.port, "k")).header("Idempotent-Replayed")).toBe("true");
    expect(behind.seen).toHaveLength(2);
  });

  test("after the upstream answered, before it was recorded: unknown, and it ran once", async () => {
    let first: Awaited<ReturnType<typeof gatewayProcess>> | null = null;
    const behind = await rawUpstream((socket, soFar) => {
      if (!soFar.endsWith("amount=1")) return;
      // It sleeps while the answer arrives, so it cannot have read a byte of it.
      first?.kill("SIGSTOP");
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npaid", () => first?.kill("SIGKILL"));
    });
    const config = settings(behind.url);
    first = await gatewayProcess(config);
    await expect(post(first.port, "k")).rejects.toThrow();
    await first.gone;
    const second = await gatewayProcess(config);
    const answer = await afterLease(second.port);
    expect([answer.status, answer.json().code]).toEqual([500, "outcome_unknown"]);
    expect(behind.sockets).toHaveLength(1);
  });

  test("after it was recorded, before its first byte was sent (§4.4): the retry gets the answer", async () => {
    const behind = await upstream((_, response) => void response.writeHead(201, { "X-Id": "7" }).end("paid"));
    const config = settings(behind.url);
    const preload = `import http from "node:http";
      http.ServerResponse.prototype.writeHead = function () { process.kill(process.pid, "SIGKILL"); };`;
    const first = await gatewayProcess(config, preload);
    await expect(post(first.port, "k")).rejects.toThrow();
    await first.gone;
    const second = await gatewayProcess(config);
    const answer = await post(second.port, "k");
    expect([
      answer.status,
      answer.body.toString(),
      answer.header("X-Id"),
      answer.header("Idempotent-Replayed"),
    ]).toEqual([201, "paid", "7", "true"]);
    expect(behind.seen).toHaveLength(1);
  });

  test("after the answer was sent: the retry gets it again, and a graceful SIGTERM loses nothing either", async () => {
    const behind = await upstream((_, response) => void response.end("paid"));
    const config = settings(behind.url);
    const first = await gatewayProcess(config);
    expect((await post(first.port, "k")).status).toBe(200);
    first.kill("SIGKILL");
    await first.gone;
    const second = await gatewayProcess(config);
    expect((await post(second.port, "k")).header("Idempotent-Replayed")).toBe("true");
    second.kill("SIGTERM");
    await second.gone;
    expect(second.child.exitCode).toBe(0);
    const third = await gatewayProcess(config);
    expect((await post(third.port, "k")).header("Idempotent-Replayed")).toBe("true");
    expect(behind.seen).toHaveLength(1);
  });
});
