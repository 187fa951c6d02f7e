// Ways to reach a protected operation as if it were another one (SPEC P4, S5, §5.7, §5.8).

import { describe, expect, test } from "vitest";
import { post, send } from "../server/support/client.js";
import { gateway } from "../server/support/gateway.js";
import { upstream } from "../server/support/upstream.js";

describe("SPEC §5.8: no spelling of a path escapes its policy", () => {
  const spellings = [
    "/v1/transfers",
    "/v1/transfers/",
    "/v1/transfers;x=1",
    "/;/v1/transfers",
    "/;a=b/v1;c/transfers",
    "/v1/;a=b/transfers",
    "/v1/;/;/transfers",
    "/v1/transfers/;x",
    "/V1/Transfers",
    "/v1/TRANSFERS;x",
    "/v1/%54ransfers",
  ];

  test.each(spellings)("%s is under the route of POST /v1/transfers", async (path) => {
    const behind = await upstream();
    const { port } = await gateway({
      upstream: behind.url,
      routes: [
        { match: "POST /v1/transfers", required: true },
        { match: "/**", enabled: false },
      ],
    });
    const answer = await send(port, { method: "POST", path });
    expect([answer.status, answer.json().code]).toEqual([400, "key_missing"]);
    expect(behind.seen).toHaveLength(0);
  });

  test("a path in another case goes by its own route where that has a policy, and by an earlier exemption's", async () => {
    const behind = await upstream();
    const { port } = await gateway({
      upstream: behind.url,
      routes: [
        { match: "POST /open", enabled: false },
        { match: "POST /a", required: true },
        { match: "POST /A", errorFormat: "stripe", required: true },
        { match: "POST /b", enabled: false },
        { match: "POST /**", required: true },
      ],
    });
    const at = async (path: string) => {
      const { status, body } = await send(port, { method: "POST", path });
      return status === 200 ? "passed" : body.includes('"error"') ? "stripe" : "problem";
    };
    expect([await at("/a"), await at("/A")]).toEqual(["problem", "stripe"]);
    expect([await at("/open"), await at("/b"), await at("/c")]).toEqual(["passed", "passed", "problem"]);
    expect(await at("/B")).toBe("problem");
  });
});

describe("SPEC S5: a route's condition", () => {
  const routes = [
    { match: "POST /host", required: true, when: { host: "api.example.com" } },
    { match: "POST /env", required: true, when: { header: "X-Environment", equals: "live" } },
  ];

  test.each(["api.example.com", "API.Example.com:80", "api.example.com.", "api.example.com.:80"])(
    "holds for the host %s",
    async (Host) => {
      const behind = await upstream();
      const { port } = await gateway({ upstream: behind.url, routes });
      const answer = await send(port, { method: "POST", path: "/host", headers: { Host } });
      expect(answer.json().code).toBe("key_missing");
      expect(behind.seen).toHaveLength(0);
    },
  );

  test("a host in percent-encoding is no host", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, routes });
    const answer = await send(port, { method: "POST", path: "/host", headers: { Host: "api%2eexample.com" } });
    expect([answer.status, answer.json().code]).toEqual([400, "request_invalid"]);
    expect(behind.seen).toHaveLength(0);
  });

  test.each([[["live", "live"]], [["live", "test"]], [["test", "live"]]])(
    "a header that it rests on is refused where it is sent twice: %s",
    async (values) => {
      const behind = await upstream();
      const { port } = await gateway({ upstream: behind.url, routes });
      const answer = await send(port, { method: "POST", path: "/env", headers: { "X-Environment": values } });
      expect([answer.status, answer.json().code]).toEqual([400, "request_invalid"]);
      expect(behind.seen).toHaveLength(0);
    },
  );

  test("an environment's header too, or one key would have two records", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, environment: { header: "X-Environment" } });
    expect((await post(port, "k", { headers: { "X-Environment": "live" } })).status).toBe(200);
    const twice = await post(port, "k", { headers: { "X-Environment": ["live", "live"] } });
    expect([twice.status, twice.json().code]).toEqual([400, "request_invalid"]);
    expect(behind.seen).toHaveLength(1);
  });
});

describe("fields that servers of the CGI kind take for others", () => {
  const forged = {
    X_Forwarded_For: "6.6.6.6",
    "X-Forwarded_Proto": "https",
    X_Real_IP: "6.6.6.6",
    X_Environment: "live",
    Content_Length: "3",
    Transfer_Encoding: "chunked",
    Idempotency_Key: "forged",
    Onceward_Outcome: "final",
    X_Original_URI: "/free",
  };

  test("SPEC §5.7: are not forwarded; other names with underscores are", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, environment: { header: "X-Environment" } });
    await send(port, { method: "POST", headers: { ...forged, X_Trace_Id: "7" } });
    const names = behind.seen[0]?.rawHeaders.filter((name) => name.includes("_"));
    expect(names).toEqual(["X_Original_URI", "X_Trace_Id"]);
  });

  test("SPEC §5.7: a key's header that has underscores itself is", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, header: "Idempotency_Key" });
    const sent = { method: "POST", headers: { Idempotency_Key: "k" } };
    await send(port, sent);
    expect((await send(port, sent)).header("Idempotent-Replayed")).toBe("true");
    expect(behind.seen).toHaveLength(1);
    expect(behind.seen[0]?.headers["idempotency_key"]).toBe("k");
  });

  test("SPEC S6: who is asked before a replay is told of the client what the upstream is told", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, authorize: { url: `${behind.url}/may` } });
    const headers = { ...forged, "X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", Forwarded: "for=6.6.6.6" };
    await post(port, "k", { headers });
    expect((await post(port, "k", { headers })).header("Idempotent-Replayed")).toBe("true");
    const asked = behind.seen[1];
    expect(asked?.url).toBe("/may");
    expect(asked?.headers["x-original-uri"]).toBe("/pay");
    expect(asked?.headers["x-forwarded-for"]).toBe("127.0.0.1");
    expect(asked?.rawHeaders.join("\n")).not.toContain("6.6.6.6");
    expect(asked?.rawHeaders.join("\n")).not.toContain("/free");
  });
});
