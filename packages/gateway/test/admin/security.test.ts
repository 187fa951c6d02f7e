import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { memoryStore } from "onceward/stores/memory";
import { afterEach, describe, expect, test } from "vitest";
import { startAdmin } from "../../src/admin/admin-server.js";
import { isLoopback } from "../../src/admin/guard.js";
import { createLogger } from "../../src/log.js";
import { createMetrics } from "../../src/metrics.js";
import { ask, done, type Fixture, start, unknown } from "./make.js";

const TOKEN = "correct-horse-battery-staple";
const open: Fixture[] = [];
afterEach(async () => {
  for (const fixture of open.splice(0)) await fixture.close();
});

async function started(options: Parameters<typeof start>[0] = {}): Promise<Fixture> {
  const fixture = await start(options);
  open.push(fixture);
  return fixture;
}

describe("9.5 on loopback without a token", () => {
  test.each(["127.0.0.1", "localhost", "LOCALHOST", "127.8.9.1", "[::1]", "console.localhost"])(
    "9.5 Host %s with the port is let in",
    async (name) => {
      const { admin } = await started();
      const answer = await ask(admin, "/api/runs", { headers: { Host: `${name}:${admin.address.port}` } });
      expect(answer.status).toBe(200);
    },
  );

  test.each([
    "evil.test",
    "127.0.0.1.evil.test",
    "localhost.evil.test",
    "evil-localhost",
    "1270.0.0.1",
    "0.0.0.0",
    "[::2]",
    "169.254.169.254",
    "user@localhost",
  ])("9.5 Host %s is not, whatever it asks for", async (name) => {
    const { admin, store } = await started();
    const record = await unknown(store);
    for (const path of ["/", "/api/runs", "/api/records", "/metrics", "/nowhere"]) {
      const answer = await ask(admin, path, { headers: { Host: `${name}:${admin.address.port}` } });
      expect([400, 403]).toContain(answer.status);
      expect(answer.headers["content-type"]).toBe("application/problem+json");
    }
    const body = { reason: "x", outcome: "never-happened" };
    const post = await ask(admin, `/api/records/${record.id}/settle`, { json: body, headers: { Host: name } });
    expect([400, 403]).toContain(post.status);
    expect((await store.find(record.id))?.record.state).toBe("unknown");
  });

  test.each(["localhost", "localhost:1", "127.0.0.1", "127.0.0.1:80"])(
    "9.5 Host %s, of another port, is not",
    async (host) => {
      const { admin } = await started();
      expect((await ask(admin, "/api/runs", { headers: { Host: host } })).status).toBe(403);
    },
  );

  test("9.5 a page of another origin is not, one of its own is", async () => {
    const { admin, store } = await started();
    const host = `127.0.0.1:${admin.address.port}`;
    for (const origin of [
      "http://evil.test",
      "null",
      "http://127.0.0.1",
      `http://127.0.0.1:${admin.address.port + 1}`,
      `http://localhost:${admin.address.port}`,
      `http://evil.test/?http://${host}`,
      `http://evil@${host}`,
    ]) {
      const record = await unknown(store, { key: origin });
      const body = { reason: "x", outcome: "never-happened" };
      const answer = await ask(admin, `/api/records/${record.id}/settle`, {
        json: body,
        headers: { Host: host, Origin: origin },
      });
      expect(answer.status, origin).toBe(403);
      expect((await ask(admin, "/api/runs", { headers: { Host: host, Origin: origin } })).status, origin).toBe(403);
      expect((await store.find(record.id))?.record.state).toBe("unknown");
    }
    const record = await unknown(store);
    const answer = await ask(admin, `/api/records/${record.id}/settle`, {
      json: { reason: "x", outcome: "never-happened" },
      headers: { Host: host, Origin: `http://${host}` },
    });
    expect(answer.status).toBe(200);
    expect(answer.json["entry"]).toMatchObject({ who: "local" });
  });

  test("9.5 nothing is said to other origins: no CORS, no preflight", async () => {
    const { admin } = await started();
    const answer = await ask(admin, "/api/runs", {
      method: "OPTIONS",
      headers: { "Access-Control-Request-Method": "POST" },
    });
    expect(answer.status).toBe(405);
    for (const name of Object.keys(answer.headers)) expect(name).not.toMatch(/^access-control/);
  });

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "",
    "application/jsonp",
  ])("9.5 a body of type %j, which a form could send, changes nothing", async (type) => {
    const { admin, store } = await started();
    const record = await unknown(store);
    const answer = await ask(admin, `/api/records/${record.id}/settle`, {
      method: "POST",
      headers: { "Content-Type": type },
      body: JSON.stringify({ reason: "x", outcome: "never-happened" }),
    });
    expect(answer.status).toBe(415);
    expect((await store.find(record.id))?.record.state).toBe("unknown");
  });

  test.each([
    ["a second Host", (own: string) => `Host: ${own}\r\nHost: evil.test\r\n`],
    ["an empty Host", () => "Host: \r\n"],
    ["no Host", () => ""],
  ])("9.5 %s is refused", async (_, fields) => {
    const { admin } = await started();
    const { port } = admin.address;
    const answer = await new Promise<string>((resolve) => {
      const request = `GET /api/runs HTTP/1.1\r\n${fields(`127.0.0.1:${port}`)}Connection: close\r\n\r\n`;
      const socket = connect(port, "127.0.0.1", () => socket.write(request));
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString();
      });
      socket.on("close", () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 40[03] /);
  });
});

describe("9.5 with a token", () => {
  test.each(["127.0.0.1", "0.0.0.0"])("9.5 on %s everything but the probes needs it", async (host) => {
    const { admin, store } = await started({ token: TOKEN, host });
    const record = await unknown(store);
    const reach = { ...admin, address: { host: "127.0.0.1", port: admin.address.port } };
    for (const path of ["/", "/metrics", "/api/runs", `/api/records/${record.id}`, "/api/audit", "/nowhere"]) {
      const without = await ask(reach, path);
      expect(without.status, path).toBe(401);
      expect(without.headers["www-authenticate"]).toMatch(/^Bearer realm=/);
      for (const value of [
        "Bearer wrong",
        `Bearer ${TOKEN}x`,
        `Bearer ${TOKEN.slice(1)}`,
        `Basic ${TOKEN}`,
        TOKEN,
        "Bearer ",
        `Bearer ${TOKEN} x`,
      ]) {
        expect((await ask(reach, path, { headers: { Authorization: value } })).status, value).toBe(401);
      }
      const status = (await ask(reach, path, { headers: { Authorization: `bearer ${TOKEN}` } })).status;
      expect(status).toBe(path === "/nowhere" ? 404 : 200);
    }
    for (const path of ["/healthz", "/readyz"]) expect((await ask(reach, path)).status).toBe(200);
  });

  test("9.5 without it nothing is changed, with it the trail says who", async () => {
    const { admin, store } = await started({ token: TOKEN });
    const record = await unknown(store);
    const json = { reason: "x", outcome: "never-happened" };
    expect((await ask(admin, `/api/records/${record.id}/settle`, { json })).status).toBe(401);
    expect((await store.find(record.id))?.record.state).toBe("unknown");
    const answer = await ask(admin, `/api/records/${record.id}/settle`, {
      json,
      headers: { Authorization: `Bearer ${TOKEN}` },
    });
    expect(answer.json["entry"]).toMatchObject({ who: "admin token" });
  });

  test("9.5 on loopback Host is checked too", async () => {
    const { admin } = await started({ token: TOKEN });
    const headers = { Authorization: `Bearer ${TOKEN}`, Host: "evil.test" };
    expect((await ask(admin, "/api/runs", { headers })).status).toBe(403);
  });

  test("9.5 on another address any name will do, another origin will not", async () => {
    const { admin } = await started({ token: TOKEN, host: "0.0.0.0" });
    const reach = { ...admin, address: { host: "127.0.0.1", port: admin.address.port } };
    const headers = { Authorization: `Bearer ${TOKEN}`, Host: "admin.internal" };
    expect((await ask(reach, "/api/runs", { headers })).status).toBe(200);
    expect((await ask(reach, "/api/runs", { headers: { ...headers, Origin: "https://admin.internal" } })).status).toBe(
      200,
    );
    expect((await ask(reach, "/api/runs", { headers: { ...headers, Origin: "https://evil.test" } })).status).toBe(403);
  });

  test("9.2 it is never logged", async () => {
    const { admin, lines, store } = await started({ token: TOKEN });
    const record = await unknown(store);
    const headers = { Authorization: `Bearer ${TOKEN}` };
    await ask(admin, `/api/records/${record.id}/settle`, { json: { reason: "x", outcome: "never-happened" }, headers });
    expect(lines.join("")).toContain(record.id);
    expect(lines.join("")).not.toContain(TOKEN);
  });
});

describe("9.5 where it listens", () => {
  const deps = {
    metrics: createMetrics({ process: false }),
    log: createLogger({ level: "silent", format: "json" }),
    version: "1",
    stopping: () => false,
  };

  test.each(["0.0.0.0", "::"])("9.5 %s without a token is an error at start that says how to mend it", async (host) => {
    await expect(
      startAdmin({ admin: { host, port: 0 }, adminToken: null }, { ...deps, store: memoryStore() }),
    ).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringContaining("adminToken"),
    });
  });

  test("9.5 an empty token is an error at start", async () => {
    await expect(
      startAdmin({ admin: { host: "0.0.0.0", port: 0 }, adminToken: "" }, { ...deps, store: memoryStore() }),
    ).rejects.toMatchObject({
      code: "config_invalid",
    });
  });

  test("a port in use, or an address of another machine, is an error at start that names it", async () => {
    const { admin } = await started();
    const { port } = admin.address;
    await expect(
      startAdmin({ admin: { host: "127.0.0.1", port }, adminToken: null }, { ...deps, store: memoryStore() }),
    ).rejects.toThrow(`admin: 127.0.0.1:${port} is in use`);
    await expect(
      startAdmin({ admin: { host: "192.0.2.1", port: 0 }, adminToken: TOKEN }, { ...deps, store: memoryStore() }),
    ).rejects.toThrow("admin: 192.0.2.1:0 is no address of this machine");
  });

  test("9.5 loopback is 127/8 and ::1, and nothing that looks like it", () => {
    for (const address of ["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"])
      expect(isLoopback(address), address).toBe(true);
    for (const address of [
      "0.0.0.0",
      "::",
      "10.0.0.1",
      "128.0.0.1",
      "::ffff:10.0.0.1",
      "127.0.0.1.evil.test",
      "1270.0.0.1",
    ]) {
      expect(isLoopback(address), address).toBe(false);
    }
  });
});

describe("9.3 what a request may be", () => {
  test("9.3 a body beyond the limit is refused, announced or not", async () => {
    const { admin, store } = await started();
    const record = await unknown(store);
    const large = JSON.stringify({ reason: "x", response: { status: 200, body: "A".repeat(3_000_000) } });
    const path = `/api/records/${record.id}/settle`;
    const announced = await ask(admin, path, {
      method: "POST",
      body: large,
      headers: { "Content-Type": "application/json" },
    }).catch((error: NodeJS.ErrnoException) => error.code);
    // The refusal may overtake the upload, whose connection is closed then.
    if (typeof announced === "object") expect(announced.status).toBe(413);
    else expect(["EPIPE", "ECONNRESET"]).toContain(announced);
    const { host, port } = admin.address;
    const status = await new Promise((resolve) => {
      const request = httpRequest(
        { host, port, path, method: "POST", headers: { "Content-Type": "application/json" } },
        (response) => {
          resolve(response.statusCode);
          request.destroy();
        },
      );
      request.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
      const more = (): void =>
        void (
          request.destroyed || (request.write("a".repeat(65_536)) ? setImmediate(more) : request.once("drain", more))
        );
      more();
    });
    expect([413, "EPIPE", "ECONNRESET"]).toContain(status);
    expect((await store.find(record.id))?.record.state).toBe("unknown");
  });

  test("9.5 every answer carries the protective fields", async () => {
    const { admin, store } = await started();
    const record = await done(store);
    for (const path of [
      "/",
      "/healthz",
      "/metrics",
      "/api/runs",
      `/api/records/${record.id}`,
      "/nowhere",
      "/api/runs?x=1",
    ]) {
      const { headers } = await ask(admin, path);
      expect(headers["cache-control"]).toBe("no-store");
      expect(headers["x-content-type-options"]).toBe("nosniff");
      expect(headers["x-frame-options"]).toBe("DENY");
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(headers["referrer-policy"]).toBe("no-referrer");
    }
  });
});
