import { describe, expect, test } from "vitest";
import { post, send, until } from "./support/client.js";
import { gateway } from "./support/gateway.js";
import { CLOSED_PORT, rawUpstream, upstream } from "./support/upstream.js";

describe("SPEC S6: authorize asks the upstream before a replay", () => {
  test("2xx lets it through; a refusal is sent instead; out of reach is 502", async () => {
    let allowed = true;
    const behind = await upstream(({ url }, response) => {
      if (url !== "/check") response.end("paid");
      else if (allowed) response.writeHead(204).end();
      else response.writeHead(401, { "WWW-Authenticate": "Bearer" }).end("revoked");
    });
    const settings = { upstream: behind.url, routes: [{ match: "/**", authorize: { url: `${behind.url}/check` } }] };
    const { port, reload } = await gateway(settings);
    const headers = { Authorization: "Bearer t", "X-Original-Method": "forged" };
    await post(port, "k", { headers, path: "/pay?a=1" });
    expect(behind.seen).toHaveLength(1);
    expect((await post(port, "k", { headers, path: "/pay?a=1" })).header("Idempotent-Replayed")).toBe("true");
    const asked = behind.seen[1]!;
    expect([asked.method, asked.url, asked.headers.authorization]).toEqual(["GET", "/check", "Bearer t"]);
    expect(asked.headers["x-original-method"]).toBe("POST");
    expect(asked.headers["x-original-uri"]).toBe("/pay?a=1");
    expect(asked.headers["content-length"]).toBeUndefined();
    allowed = false;
    const refused = await post(port, "k", { headers, path: "/pay?a=1" });
    expect([refused.status, refused.body.toString(), refused.header("WWW-Authenticate")]).toEqual([
      401,
      "revoked",
      "Bearer",
    ]);
    const nobody = `http://127.0.0.1:${CLOSED_PORT}/check`;
    await reload({ upstream: behind.url, routes: [{ match: "/**", authorize: { url: nobody } }] });
    const unreachable = await post(port, "k", { headers, path: "/pay?a=1" });
    expect([unreachable.status, unreachable.json().code]).toEqual([502, "upstream_unavailable"]);
  });
});

describe("SPEC §4.6: onInterrupted: { ask } asks the upstream what became of an operation", () => {
  /** Breaks the operation off; answers the question as told. */
  const interrupted = async (question: (url: string) => string) => {
    let runs = 0;
    const asked: string[] = [];
    const behind = await rawUpstream((socket, soFar) => {
      const url = /^GET (\S+)/.exec(soFar)?.[1];
      if (url !== undefined) {
        asked.push(url);
        socket.end(question(url));
      } else {
        runs += 1;
        if (runs === 1) socket.destroy();
        else socket.end("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain");
      }
    });
    const ask = `${behind.url}/status/{key}?a={account}&o={operation}`;
    const { port } = await gateway({ upstream: behind.url, onInterrupted: { ask }, lease: "200ms" });
    expect((await post(port, "k/1")).json().code).toBe("outcome_unknown");
    await until(async () => asked.length > 0 || (await post(port, "k/1")).status === 0);
    return { port, asked, runs: () => runs };
  };

  test("final: its answer is recorded and replayed", async () => {
    const { port, asked, runs } = await interrupted(
      () => "HTTP/1.1 201 Created\r\nOnceward-Outcome: final\r\nX-Id: 7\r\nContent-Length: 4\r\n\r\npaid",
    );
    const answer = await post(port, "k/1");
    expect([answer.status, answer.body.toString(), answer.header("X-Id")]).toEqual([201, "paid", "7"]);
    expect(answer.header("Onceward-Outcome")).toBeUndefined();
    expect(asked[0]).toBe("/status/k%2F1?a=single%3A&o=POST%20%2Fpay");
    expect(runs()).toBe(1);
  });

  test("not-started: it runs", async () => {
    const { port, runs } = await interrupted(
      () => "HTTP/1.1 404 Not Found\r\nOnceward-Outcome: not-started\r\nContent-Length: 0\r\n\r\n",
    );
    await until(async () => (await post(port, "k/1")).body.toString() === "again");
    expect(runs()).toBe(2);
  });

  test("anything else: it stays unknown, and nothing runs", async () => {
    const { port, runs } = await interrupted(() => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (const _ of [1, 2, 3]) expect((await post(port, "k/1")).json().code).toBe("outcome_unknown");
    expect(runs()).toBe(1);
  });
});

test("mode: observe changes nothing, and the history says what would have been done", async () => {
  const behind = await upstream(({ body }, response) => void response.end(`got ${body}`));
  const { port, running, logs } = await gateway({ upstream: behind.url, admin: "127.0.0.1:0", mode: "observe" });
  for (const body of ["a=1", "a=1", "a=2"]) {
    const answer = await post(port, "k", { body });
    expect([answer.status, answer.body.toString()]).toEqual([200, `got ${body}`]);
    expect(answer.header("Idempotent-Replayed")).toBeUndefined();
  }
  expect(behind.seen).toHaveLength(3);
  const runs = async (): Promise<{ outcome: string; code: string }[]> =>
    (await send(running.adminAddress!.port, { path: "/api/runs" })).json()["items"] as {
      outcome: string;
      code: string;
    }[];
  await until(async () => (await runs()).filter(({ outcome }) => outcome === "observed").length === 3);
  expect((await runs()).map(({ code }) => code)).toEqual(["key_reused", "replay", "run"]);
  expect(logs.filter(({ msg }) => msg === "observed")).toMatchObject([
    { level: 20, method: "POST", route: "/**", status: 200, would: "run" },
    { level: 30, would: "replay" },
    { level: 30, would: "key_reused" },
  ]);
  const metrics = (await send(running.adminAddress!.port, { path: "/metrics" })).body.toString();
  for (const code of ["run", "replay", "key_reused"])
    expect(metrics).toContain(`onceward_observed_total{route="/**",code="${code}"} 1`);
});

test("SPEC S5: environments never meet, and a route's condition decides whether it covers a request", async () => {
  const behind = await upstream(({ headers }, response) => void response.end(String(headers["x-environment"])));
  const { port } = await gateway({
    upstream: behind.url,
    environment: { header: "X-Environment" },
    routes: [
      { match: "POST /pay", when: { header: "X-Environment", equals: "live" } },
      { match: "/**", enabled: false },
    ],
  });
  const at = (environment: string) => post(port, "k", { headers: { "X-Environment": environment } });
  const answers = [await at("live"), await at("live"), await at("test"), await at("test")];
  expect(answers.map((answer) => answer.header("Idempotent-Replayed"))).toEqual([
    undefined,
    "true",
    undefined,
    undefined,
  ]);
  expect(behind.seen).toHaveLength(3);
});

test("an upstream of a route's own", async () => {
  const one = await upstream((_, response) => void response.end("one"));
  const two = await upstream((_, response) => void response.end("two"));
  const { port } = await gateway({
    upstream: one.url,
    routes: [{ match: "/two/**", upstream: two.url }, { match: "/**" }],
  });
  expect((await post(port, "a", { path: "/two/x" })).body.toString()).toBe("two");
  expect((await post(port, "b", { path: "/x" })).body.toString()).toBe("one");
});

test("SPEC §10: the policy and the state of a key are published on the public address", async () => {
  const behind = await upstream();
  const { port } = await gateway({ upstream: behind.url, account: { from: "credential" } });
  const document = await send(port, { path: "/.well-known/idempotency" });
  expect(document.status).toBe(200);
  const headers = { Authorization: "Bearer t" };
  const state = async (more: Record<string, string>) =>
    (await send(port, { path: "/.well-known/idempotency/keys/a%2Fb", headers: more })).json()["state"];
  expect(await state(headers)).toBe("absent");
  const answer = await post(port, "a/b", { headers });
  expect(answer.status).toBe(200);
  expect(await state(headers)).toBe("done");
  expect(await state({ Authorization: "Bearer other" })).toBe("absent");
  expect(behind.seen).toHaveLength(1);
  const refused = await post(port, "x");
  expect(refused.header("Link")).toBe('</.well-known/idempotency>; rel="describedby"');
});

test("logs name no key, credential or body", async () => {
  const behind = await rawUpstream((socket) => socket.destroy());
  const { port, logs } = await gateway({ upstream: behind.url, account: { from: "credential" } });
  await post(port, "very-secret-key-1", {
    headers: { Authorization: "Bearer very-secret-token" },
    body: "very-secret-body",
  });
  await until(() => logs.some(({ msg }) => msg === "upstream failed") && logs.some(({ msg }) => msg === "served"));
  expect(JSON.stringify(logs)).not.toContain("very-secret");
});
