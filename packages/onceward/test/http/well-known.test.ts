// What the library publishes of its routes and of a caller's keys (SPEC §10).

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { type FetchIdempotencyOptions, idempotency } from "../../src/adapters/fetch.js";
import { type PolicyDocument, wellKnown } from "../../src/http/well-known.js";
import { memoryStore } from "../../src/stores/memory.js";
import { ORIGIN, post } from "../adapters/web-kit.js";

const DOCUMENT = `${ORIGIN}/.well-known/idempotency`;

function middleware(over: Partial<FetchIdempotencyOptions> = {}) {
  const account: FetchIdempotencyOptions["account"] = (request) => request.headers.get("x-account");
  return idempotency({ store: memoryStore(), account, background: false, ...over });
}

function get(url: string, headers: Record<string, string> = {}, method = "GET"): Request {
  return new Request(url, { method, headers });
}

test("10.1 the document says what holds on each route, and nothing of what is compared in it", async () => {
  const published = wellKnown({
    routes: {
      "POST /v1/transfers": middleware({ required: true, retention: "7d", fingerprint: ["secret.field"] }),
      "/v1/reports/**": null,
      "GET /v1/items": middleware(),
    },
  });
  const response = await published.fetch(get(DOCUMENT));
  expect([response?.status, response?.headers.get("content-type")]).toEqual([200, "application/json"]);
  const text = (await response?.text()) ?? "";
  const document = JSON.parse(text) as PolicyDocument;
  expect(document).toMatchObject({ version: 1, keyStatus: null });
  expect(document.routes.map(({ route, policy }) => [route, policy?.methods])).toEqual([
    ["POST /v1/transfers", ["POST"]],
    ["/v1/reports/**", undefined],
    // The policy keys POST and PATCH only.
    ["GET /v1/items", undefined],
  ]);
  expect(document.routes[0]?.policy).toMatchObject({
    header: "Idempotency-Key",
    required: true,
    retention: { seconds: 604_800 },
    mismatch: { compared: "fields", answer: 422 },
    recorded: { statuses: "all", except: [] },
    replayMarker: "Idempotent-Replayed",
  });
  expect(text).not.toContain("secret");
});

test("10.1 browsers get a page, caches are told when it changes, and HEAD has no body", async () => {
  const published = wellKnown({ routes: { "POST /a": middleware() } });
  const page = await published.fetch(get(DOCUMENT, { Accept: "text/html,*/*;q=0.8" }));
  expect(page?.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(await page?.text()).toContain("<code>POST /a</code>");
  const etag = page?.headers.get("etag") ?? "";
  const same = await published.fetch(get(DOCUMENT, { Accept: "text/html", "If-None-Match": etag }));
  expect([same?.status, await same?.text()]).toEqual([304, ""]);
  const head = await published.fetch(get(DOCUMENT, {}, "HEAD"));
  expect([head?.status, await head?.text()]).toEqual([200, ""]);
});

test("10.1 other requests are not answered", async () => {
  const published = wellKnown({ routes: {} });
  for (const request of [get(`${ORIGIN}/`), get(`${DOCUMENT}/`), get(`${DOCUMENT}/keys/k`), get(DOCUMENT, {}, "POST")])
    expect(await published.fetch(request)).toBeNull();
});

test("13 a route's name that cannot be read is refused at once", () => {
  expect(() => wellKnown({ routes: { transfers: null } })).toThrow(expect.objectContaining({ code: "config_invalid" }));
});

test("10.2 the state of a key is for the account that used it", async () => {
  const wrap = middleware();
  const handler = wrap(() => new Response("made", { status: 201 }));
  const published = wellKnown({ routes: { "POST /orders": wrap }, keys: wrap });
  await handler(post({ key: '"order 7/a"', headers: { "X-Account": "alice" } }));
  const state = async (account: string): Promise<unknown> =>
    (await published.fetch(get(`${DOCUMENT}/keys/order%207%2Fa`, { "X-Account": account })))?.json();
  expect(await state("alice")).toMatchObject({ state: "done", status: 201 });
  expect(await state("bob")).toEqual({ state: "absent" });
  expect(await state("")).toMatchObject({ code: "account_unknown" });
});

test("10.2 where keys are unique for each operation, the operation is asked for", async () => {
  const wrap = middleware({ scope: "account+operation" });
  await wrap(() => new Response("made"))(post({ headers: { "X-Account": "alice" } }));
  const published = wellKnown({ routes: { "POST /orders": wrap }, keys: wrap });
  const state = async (query: string): Promise<unknown> =>
    (await published.fetch(get(`${DOCUMENT}/keys/k-1${query}`, { "X-Account": "alice" })))?.json();
  expect(await state("")).toMatchObject({ code: "request_invalid" });
  expect(await state("?operation=POST%20/orders")).toMatchObject({ state: "done" });
  expect(await state("?operation=POST%20/other")).toEqual({ state: "absent" });
});

test("10.1 10.2 node:http and what is built on it are served too, and go on where it is another's request", async () => {
  const wrap = middleware();
  await wrap(() => new Response("made"))(post({ headers: { "X-Account": "alice" } }));
  // The account resolver is given Node's request here, in a framework's adapter its own.
  const keys = {
    ...wrap,
    keyStatus: (_request: object, question: Parameters<typeof wrap.keyStatus>[1]) => {
      const headers = new Headers(question.headers.map(([name, value]): [string, string] => [name, value]));
      return wrap.keyStatus(new Request(ORIGIN, { headers }), question);
    },
  };
  const published = wellKnown<object>({ routes: { "POST /orders": wrap }, keys });
  const server = createServer((request, response) =>
    published.node(request, response, (error) => response.writeHead(error === undefined ? 404 : 500).end("next")),
  ).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const document = await fetch(`${origin}/.well-known/idempotency`);
  expect([document.status, await document.json()]).toMatchObject([200, { version: 1 }]);
  const key = await fetch(`${origin}/.well-known/idempotency/keys/k-1`, { headers: { "X-Account": "alice" } });
  expect(await key.json()).toMatchObject({ state: "done" });
  expect(await (await fetch(`${origin}/other`)).text()).toBe("next");
});
