import { writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { post, raw, send, until } from "./support/client.js";
import { gateway, temporaryFolder } from "./support/gateway.js";
import { upstream } from "./support/upstream.js";

describe("reload", () => {
  test("swaps routes and upstreams; a running request finishes on what it began with, no connection is dropped", async () => {
    let finish: () => void = () => undefined;
    const before = await upstream(({ url }, response) => {
      if (url === "/slow") finish = () => response.end("from before");
      else response.end("before");
    });
    const after = await upstream((_, response) => void response.end("after"));
    const { port, reload } = await gateway({ upstream: before.url });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    expect((await send(port, { agent })).body.toString()).toBe("before");
    const slow = post(port, "k", { path: "/slow" });
    await until(() => before.seen.length === 2);
    await reload({ upstream: after.url, routes: [{ match: "POST /pay", required: true }] });
    const next = await send(port, { agent });
    expect(next.body.toString()).toBe("after");
    expect((await send(port, { method: "POST", path: "/pay" })).json().code).toBe("key_missing");
    finish();
    expect((await slow).body.toString()).toBe("from before");
    const replay = await post(port, "k", { path: "/slow" });
    expect(replay.body.toString()).toBe("after");
  });

  test("keeps what was recorded, and says what needs a restart", async () => {
    const behind = await upstream();
    const { port, reload, logs } = await gateway({ upstream: behind.url });
    await post(port, "k");
    await reload({
      upstream: behind.url,
      listen: "127.0.0.1:1",
      store: `sqlite:${join(temporaryFolder(), "x.db")}`,
      limits: { maxWaiters: 5 },
    });
    expect((await post(port, "k")).header("Idempotent-Replayed")).toBe("true");
    expect(logs.filter(({ setting }) => setting !== undefined).map(({ setting }) => setting)).toEqual([
      "listen",
      "store",
    ]);
  });

  test("a configuration that cannot be served leaves the old one", async () => {
    const behind = await upstream();
    const { port, reload } = await gateway({ upstream: behind.url });
    const ca = join(temporaryFolder(), "ca.pem");
    writeFileSync(ca, "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n");
    await expect(reload({ upstream: behind.url, upstreamTls: { ca } })).rejects.toThrow(
      /^upstreamTls: .*ca\.pem cannot be used/,
    );
    expect((await send(port)).status).toBe(200);
  });
});

describe("SPEC §14.5: a graceful stop", () => {
  test("takes no new connection, and what runs finishes, is recorded, and closes its connection", async () => {
    const store = `sqlite:${join(temporaryFolder(), "stop.db")}`;
    const behind = await upstream((_, response) => void setTimeout(() => response.end("paid"), 400));
    const first = await gateway({ upstream: behind.url, store });
    const idle = raw(first.port);
    await new Promise((resolve) => idle.socket.once("connect", resolve));
    const running = post(first.port, "k", { agent: new Agent({ keepAlive: true }) });
    await until(() => behind.seen.length === 1);
    const stopped = first.running.stop();
    await idle.closed();
    const refused = new Promise((resolve) => connect(first.port, "127.0.0.1").once("error", resolve));
    expect(await refused).toMatchObject({ code: "ECONNREFUSED" });
    const answer = await running;
    expect([answer.status, answer.body.toString(), answer.header("Connection")]).toEqual([200, "paid", "close"]);
    await stopped;
    const second = await gateway({ upstream: behind.url, store });
    expect((await post(second.port, "k")).header("Idempotent-Replayed")).toBe("true");
    expect(behind.seen).toHaveLength(1);
  });

  test("waits for what runs without a client too, and not longer than it may", async () => {
    const store = `sqlite:${join(temporaryFolder(), "stop.db")}`;
    const behind = await upstream(({ url }, response) => {
      if (url !== "/never") setTimeout(() => response.end("paid"), 300);
    });
    const first = await gateway({ upstream: behind.url, store, lease: "1s", timeouts: { shutdown: "1s" } });
    const client = raw(first.port);
    client.write("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: gone\r\nContent-Length: 8\r\n\r\namount=1");
    const never = post(first.port, "never", { path: "/never" }).catch((error: Error) => error);
    await until(() => behind.seen.length === 2);
    client.socket.destroy();
    await first.running.stop();
    expect(await never).toBeInstanceOf(Error);
    const second = await gateway({ upstream: behind.url, store });
    expect((await post(second.port, "gone")).header("Idempotent-Replayed")).toBe("true");
    // What was left to its lease is found interrupted once that has lapsed (SPEC §4.6), and held.
    await until(async () => (await post(second.port, "never", { path: "/never" })).status !== 409);
    const held = await post(second.port, "never", { path: "/never" });
    expect([held.status, held.json().code]).toEqual([500, "outcome_unknown"]);
    expect(behind.seen).toHaveLength(2);
  });
});

test("keyed requests beyond limits.maxInFlight: 503 with Retry-After, and nothing runs; `observe` refuses none", async () => {
  let finish: () => void = () => undefined;
  const behind = await upstream((_, response) => {
    finish = () => response.end("paid");
  });
  const routes = [{ match: "/watched", mode: "observe" }, { match: "/**" }];
  const { port } = await gateway({ upstream: behind.url, routes }, { maxInFlight: 1 });
  const first = post(port, "a");
  await until(() => behind.seen.length === 1);
  const refused = await post(port, "b");
  expect([refused.status, refused.json().code, refused.header("Retry-After")]).toEqual([
    503,
    "upstream_unavailable",
    "1",
  ]);
  const finishFirst = finish;
  const watched = post(port, "b", { path: "/watched" });
  await until(() => behind.seen.length === 2);
  finish();
  expect((await watched).status).toBe(200);
  finishFirst();
  expect((await first).status).toBe(200);
  expect(behind.seen).toHaveLength(2);
});

test("connections beyond limits.maxConnections are closed", async () => {
  const behind = await upstream();
  const { port } = await gateway({ upstream: behind.url }, { maxConnections: 1 });
  const held = raw(port);
  await new Promise((resolve) => held.socket.once("connect", resolve));
  await until(async () => (await raw(port).closed()) === "");
  held.socket.destroy();
  await until(async () => (await send(port).catch(() => null))?.status === 200);
});

test("SPEC §4.10: expired records are purged in the background", async () => {
  const behind = await upstream();
  const { port, running } = await gateway({
    upstream: behind.url,
    admin: "127.0.0.1:0",
    retention: "1s",
    timeouts: { purge: "200ms" },
  });
  await post(port, "k");
  const admin = running.adminAddress!.port;
  const purged = async (): Promise<boolean> =>
    /onceward_records_purged_total [1-9]/.test((await send(admin, { path: "/metrics" })).body.toString());
  await until(purged);
  expect((await post(port, "k")).header("Idempotent-Replayed")).toBeUndefined();
});
