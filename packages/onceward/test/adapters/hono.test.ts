// The adapter of Hono, behind @hono/node-server over real HTTP, and what is its own.

import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { streamSSE, streamText } from "hono/streaming";
import { validator } from "hono/validator";
import { describe, expect, it, vi } from "vitest";
import { idempotency } from "../../src/adapters/hono.js";
import type { Transactions } from "../../src/core/transactions.js";
import { memoryStore } from "../../src/stores/memory.js";
import { adapterSuite, type RunningApp, type SuiteApp } from "../../src/testing/adapter-suite.js";
import { faultStore } from "../../src/testing/fault-store.js";
import { webAnswer } from "./fetch-bridge.js";
import { codeOf, expectReplay, ORIGIN, options, post, type Whole, whole } from "./web-kit.js";

adapterSuite<Response>({ name: "hono", runner: { describe, it }, start });

async function start(suite: SuiteApp<Response>): Promise<RunningApp> {
  const app = new Hono();
  const middleware = idempotency(suite.options);
  for (const { method, path, guarded, handle } of suite.routes) {
    if (!guarded) app.on(method, path, async (c) => webAnswer(await handle({ body: await c.req.text(), claim: null })));
    else
      app.on(method, path, middleware, async (c) =>
        webAnswer(await handle({ body: await c.req.text(), claim: c.var.idempotency })),
      );
  }
  app.onError((_error, c) => c.text("the app's own error", 500));
  return listening(app, () => middleware.close());
}

async function listening(app: Hono, closed: () => Promise<void>): Promise<RunningApp> {
  const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }) as Server;
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      const ended = once(server, "close");
      server.close();
      server.closeAllConnections();
      await ended;
      await closed();
    },
  };
}

function init({ method, headers }: Request): { readonly method: string; readonly headers: Headers } {
  return { method, headers };
}

interface Order {
  readonly amount: number;
}

describe("the adapter of Hono", () => {
  it.each(["app.request", "@hono/node-server"])(
    "5.5 leaves the body to whatever way a handler reads it, `c.req.raw` included, under %s",
    async (server) => {
      const ways: Readonly<Record<string, (c: Context) => Promise<unknown>>> = {
        json: (c) => c.req.json(),
        text: (c) => c.req.text(),
        bytes: async (c) => new TextDecoder().decode(await c.req.arrayBuffer()),
        raw: (c) => c.req.raw.text(),
        clone: (c) => c.req.raw.clone().json(),
        stream: async (c) => new Response(c.req.raw.body).text(),
        copy: (c) => new Request(c.req.raw).text(),
        again: async (c) => [await c.req.text(), await c.req.json(), await c.req.raw.headers.get("content-type")],
        never: async () => "unread",
      };
      const app = new Hono();
      for (const [way, read] of Object.entries(ways)) {
        app.post(`/${way}`, idempotency(options()), async (c) => {
          expect(c.req.raw).toBeInstanceOf(Request);
          expect(c.req.raw.signal.aborted).toBe(false);
          return c.json({ got: await read(c), type: c.req.header("content-type") });
        });
      }
      const { url, close } = await listening(app, async () => {});
      for (const way of Object.keys(ways)) {
        const sent = async (): Promise<Whole> => {
          const request = post({ path: `/${way}`, body: '{"amount":1}' });
          if (server === "app.request") return whole(app.request(request));
          const { status, headers, text } = await whole(
            fetch(`${url}/${way}`, { ...init(request), body: '{"amount":1}' }),
          );
          return { status, headers: headers.filter(([name]) => name !== "date"), text };
        };
        const first = await sent();
        expect(first.text, way).toContain(way === "never" ? "unread" : "amount");
        expect(first.text, way).toContain("application/json");
        expectReplay(first, await sent());
      }
      await close();
    },
  );

  it("5.6 compares a body that a middleware before it has read already", async () => {
    const app = new Hono().post(
      "/orders",
      validator("json", (value: Order) => value),
      idempotency(options()),
      (c) => c.json(c.req.valid("json")),
    );
    const first = await whole(app.request(post({ body: '{"amount":1}' })));
    expect(first.text).toBe('{"amount":1}');
    expectReplay(first, await whole(app.request(post({ body: '{"amount":1}' }))));
    expect(codeOf(await whole(app.request(post({ body: '{"amount":2}' }))))).toBe("key_reused");
  });

  it("5.6 compares a form that was parsed before it, whatever boundary it is sent with, files by their bytes", async () => {
    const form = (file: string): FormData => {
      const made = new FormData();
      made.append("amount", "1");
      made.append("receipt", new File([file], "receipt.txt", { type: "text/plain" }));
      return made;
    };
    const read = [(c: Context) => c.req.parseBody(), (c: Context) => c.req.formData()];
    for (const parse of read) {
      const app = new Hono();
      app.use(async (c, next) => {
        await parse(c);
        await next();
      });
      app.post("/orders", idempotency(options({ fingerprint: "json" })), (c) => c.text("ok"));
      const one = post({ body: form("paid") });
      const bytes = await one.clone().arrayBuffer();
      const type = one.headers.get("content-type") ?? "";
      const first = await whole(app.request(one));
      expect(first).toMatchObject({ status: 200, text: "ok" });
      expectReplay(first, await whole(app.request(post({ body: bytes, headers: { "Content-Type": type } }))));
      expect(codeOf(await whole(app.request(post({ body: form("other") }))))).toBe("key_reused");
    }
  });

  it("P4 a body that was read where Hono does not keep it ends the request before anything runs", async () => {
    const handler = vi.fn((c: Context) => c.text("ran"));
    const app = new Hono();
    app.use(async (c, next) => {
      await c.req.raw.text();
      await next();
    });
    app.post("/orders", idempotency(options()), handler);
    const errors = vi.fn((error: Error, c: Context) => c.text(error.message, 500));
    app.onError(errors);
    expect(await whole(app.request(post()))).toMatchObject({ status: 500 });
    expect(errors.mock.calls[0]?.[0].message).toContain("put idempotency() before");
    expect(handler).not.toHaveBeenCalled();
  });

  it("5.5 a body that another middleware put in place of the first is the one that counts", async () => {
    const app = new Hono().post("/orders", bodyLimit({ maxSize: 1_000 }), idempotency(options()), async (c) =>
      c.text(await c.req.text()),
    );
    const chunked = (text: string): Request => post({ body: new Blob([text]).stream() });
    const first = await whole(app.request(chunked("one")));
    expect(first.text).toBe("one");
    expectReplay(first, await whole(app.request(chunked("one"))));
    expect(codeOf(await whole(app.request(chunked("two"))))).toBe("key_reused");
  });

  it.each<readonly [string, (c: Context) => Response | Promise<Response>]>([
    ["c.json of 0", (c) => c.json(0)],
    ["c.json of false", (c) => c.json(false)],
    ["c.json of null", (c) => c.json(null)],
    ['c.json of ""', (c) => c.json("")],
    ['c.text of ""', (c) => c.text("")],
    ["c.body of null", (c) => c.body(null)],
    ["c.body of null with 204", (c) => c.body(null, 204)],
    ["c.redirect", (c) => c.redirect("/elsewhere", 303)],
    ["c.html", (c) => c.html("<p>ok</p>")],
    ["c.notFound", (c) => c.notFound() as Promise<Response>],
    ["a Response of its own", () => new Response("own", { status: 202, headers: { "X-Own": "1" } })],
    ["a fetched Response, whose fields cannot be changed", () => Response.redirect(`${ORIGIN}/x`, 307)],
    ["c.body of a stream", (c) => c.body(new Blob(["piece"]).stream())],
    ["streamed text", (c) => streamText(c, async (stream) => void (await stream.write("streamed")))],
  ])("5.1 %s is recorded and replayed as it is", async (_what, answer) => {
    let runs = 0;
    const app = new Hono().post("/orders", idempotency(options()), (c) => {
      runs += 1;
      return answer(c);
    });
    const first = await whole(app.request(post()));
    expectReplay(first, await whole(app.request(post())));
    expect(runs).toBe(1);
  });

  it("5.4 streamSSE is passed on and not kept", async () => {
    const app = new Hono().post("/orders", idempotency(options()), (c) =>
      streamSSE(c, async (stream) => {
        await stream.writeSSE({ data: "1" });
        await stream.writeSSE({ data: "2" });
      }),
    );
    const first = await whole(app.request(post()));
    expect(first.text).toBe("data: 1\n\ndata: 2\n\n");
    expect(first.headers).toContainEqual(["content-type", "text/event-stream"]);
    expect(codeOf(await whole(app.request(post())))).toBe("response_not_kept");
  });

  it("4.8 what onError makes of an HTTPException is recorded, also in an app that is mounted in another", async () => {
    let runs = 0;
    const inner = new Hono().post("/orders", idempotency(options()), () => {
      runs += 1;
      throw new HTTPException(409, { message: "sold out" });
    });
    inner.onError((error, c) => c.json({ error: error.message }, 409, { "X-Error": "yes" }));
    const app = new Hono().route("/shop", inner);
    const first = await whole(app.request(post({ path: "/shop/orders" })));
    expect(first).toMatchObject({ status: 409, text: '{"error":"sold out"}' });
    expectReplay(first, await whole(app.request(post({ path: "/shop/orders" }))));
    expect(runs).toBe(1);
  });

  it("5.1 a replay is the first answer, whatever middlewares before it set and add", async () => {
    const app = new Hono();
    app.use(cors({ origin: "https://app.example", exposeHeaders: ["X-Own"] }));
    app.use(async (c, next) => {
      c.header("X-Request-Id", crypto.randomUUID());
      await next();
      c.header("X-After", "yes");
    });
    app.post("/orders", idempotency(options()), (c) => {
      c.header("Vary", "Accept", { append: true });
      return c.json({ ok: true }, 201, { "X-Own": "1" });
    });
    const sent = (body: string): Promise<Whole> =>
      whole(app.request(post({ body, headers: { Origin: "https://app.example" } })));
    const first = await sent("{}");
    const replay = await sent("{}");
    const exposed = "access-control-expose-headers";
    expect(first.headers).toContainEqual([exposed, "X-Own"]);
    expect(replay.headers).toContainEqual([exposed, "X-Own, Idempotent-Replayed"]);
    const without = ({ headers }: Whole): unknown =>
      headers.filter(([name]) => name !== exposed && name !== "idempotent-replayed");
    expect(without(replay)).toEqual(without(first));
    // A refusal has what lets the page's scripts read it.
    const refused = await sent('{"other":1}');
    expect(codeOf(refused)).toBe("key_reused");
    expect(refused.headers).toContainEqual(["access-control-allow-origin", "https://app.example"]);
  });

  it("7.1 a transaction's answer is recorded with what was set before it", async () => {
    const store = {
      ...faultStore(memoryStore(), () => undefined),
      transactions: { dialect: "sqlite", completion: () => ({ text: "", values: [] }) },
    } as const;
    const database: Transactions<null> = {
      dialect: "sqlite",
      synchronous: false,
      async run(work, last) {
        const value = await work(null);
        last?.(value);
        return { outcome: "committed", value };
      },
    };
    const app = new Hono();
    app.use(cors());
    app.post("/orders", idempotency(options({ store })), (c) => {
      c.header("X-Before", "yes");
      return c.var.idempotency.transaction(database, () => ({ status: 201, body: { id: 1 } }));
    });
    const answer = await whole(app.request(post({ headers: { Origin: "https://app.example" } })));
    expect(answer).toMatchObject({ status: 201, text: '{"id":1}' });
    expect(answer.headers).toContainEqual(["access-control-allow-origin", "*"]);
    expect(answer.headers).toContainEqual(["x-before", "yes"]);
  });

  it("4.7 gives the work to a Worker's waitUntil", async () => {
    const waitUntil = vi.fn();
    const app = new Hono().post("/orders", idempotency(options()), (c) => c.text("ok"));
    const context = { waitUntil, passThroughOnException() {}, props: {} };
    expect(await (await app.request(post(), {}, {}, context)).text()).toBe("ok");
    expect(waitUntil).toHaveBeenCalledOnce();
  });

  it("11 the history shows clients that went away", async () => {
    const store = memoryStore();
    let left = (): void => {};
    const gone = new Promise<void>((resolve) => {
      left = resolve;
    });
    const app = new Hono().post("/orders", idempotency(options({ store })), async (c) => {
      c.req.raw.signal.addEventListener("abort", () => left());
      await gone;
      return c.text("late");
    });
    const { url, close } = await listening(app, async () => {});
    const leaving = new AbortController();
    const sent = fetch(`${url}/orders`, { ...init(post()), body: "{}", signal: leaving.signal });
    await vi.waitFor(async () => expect((await store.list({ limit: 1 })).items).toHaveLength(1));
    leaving.abort();
    await expect(sent).rejects.toThrow();
    await vi.waitFor(async () => {
      const { items } = (await store.history?.listRuns({ limit: 1 })) ?? { items: [] };
      expect(items[0]).toMatchObject({ outcome: "recorded", flags: ["CLIENT_GONE"] });
    });
    await close();
  });

  it("a second middleware of the same request leaves it to the first", async () => {
    const seen: unknown[] = [];
    const app = new Hono();
    app.use(idempotency(options()));
    app.post("/orders", idempotency(options({ namespace: "inner" })), (c) => {
      seen.push(c.get("idempotency")?.key);
      return c.text("ok");
    });
    const first = await whole(app.request(post()));
    expectReplay(first, await whole(app.request(post())));
    expect(seen).toEqual(["k-1"]);
  });

  it("11 the history names the route by its pattern", async () => {
    const store = memoryStore();
    const app = new Hono().post("/orders/:id", idempotency(options({ store })), (c) => c.text("ok"));
    await app.request(post({ path: "/orders/7" }));
    await vi.waitFor(async () => {
      const { items } = (await store.history?.listRuns({ limit: 1 })) ?? { items: [] };
      expect(items[0]).toMatchObject({ route: "POST /orders/:id", path: "/orders/7" });
    });
  });
});
