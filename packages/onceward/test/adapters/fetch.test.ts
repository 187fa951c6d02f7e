// The adapter of fetch, over real HTTP, and what is its own.

import { describe, expect, it, vi } from "vitest";
import { claimOf, idempotency } from "../../src/adapters/fetch.js";
import { memoryStore } from "../../src/stores/memory.js";
import { adapterSuite, type RunningApp, type SuiteApp } from "../../src/testing/adapter-suite.js";
import { serveFetch, webAnswer } from "./fetch-bridge.js";
import { codeOf, expectReplay, ORIGIN, options, post, whole } from "./web-kit.js";

adapterSuite<Response>({ name: "fetch", runner: { describe, it }, start });

async function start(app: SuiteApp<Response>): Promise<RunningApp> {
  const middleware = idempotency(app.options);
  const routes = new Map(
    app.routes.map(({ method, path, guarded, handle }) => {
      const plain = async (request: Request): Promise<Response> =>
        webAnswer(await handle({ body: await request.text(), claim: null }));
      const behind = middleware(async (request, claim) =>
        webAnswer(await handle({ body: await request.text(), claim })),
      );
      return [`${method} ${path}`, guarded ? behind : plain];
    }),
  );
  const server = await serveFetch((request) => {
    const method = request.method === "HEAD" ? "GET" : request.method;
    const handler = routes.get(`${method} ${new URL(request.url).pathname}`);
    return handler?.(request) ?? new Response("no such route", { status: 404 });
  });
  return {
    url: server.url,
    async close() {
      await server.close();
      await middleware.close();
    },
  };
}

describe("the adapter of fetch", () => {
  it("hands on the request itself and what the platform gives beside it", async () => {
    const handler = idempotency(options())(async (request, claim, env: { readonly name: string }) =>
      Response.json({ body: await request.text(), key: claim.key, same: claimOf(request) === claim, env: env.name }),
    );
    const request = post({ body: '{"a":1}' });
    expect(await (await handler(request, { name: "worker" })).json()).toEqual({
      body: '{"a":1}',
      key: "k-1",
      same: true,
      env: "worker",
    });
    expect(() => claimOf(request)).toThrow("did not come through");
  });

  it("4.8 `onError` answers for a handler that threw, and that is recorded", async () => {
    const onError = vi.fn((error: unknown) => Response.json({ error: String(error) }, { status: 503 }));
    const handler = idempotency({ ...options(), onError })(() => {
      throw new Error("boom");
    });
    const first = await whole(handler(post()));
    expect(first).toMatchObject({ status: 503, text: '{"error":"Error: boom"}' });
    expectReplay(first, await whole(handler(post())));
    expect(onError).toHaveBeenCalledOnce();
  });

  it("4.8 without `onError` the error is reported, and 500 is recorded", async () => {
    const reported = vi.spyOn(console, "error").mockImplementation(() => {});
    const error = new Error("boom");
    const handler = idempotency(options())(() => Promise.reject(error));
    const first = await whole(handler(post()));
    expect(first).toMatchObject({ status: 500, text: "Internal Server Error" });
    expect(reported).toHaveBeenCalledExactlyOnceWith(error);
    expectReplay(first, await whole(handler(post())));
    reported.mockRestore();
  });

  it("K7 without a key an error goes to the platform as it is", async () => {
    const error = new Error("boom");
    const handler = idempotency(options())(() => {
      throw error;
    });
    await expect(handler(post({ key: null }))).rejects.toBe(error);
  });

  it("4.8 P5 an error of `onError` itself leaves the outcome unknown, and no key wedged", async () => {
    const fault = new Error("the error page broke");
    const onError = (): never => {
      throw fault;
    };
    const handler = idempotency({ ...options(), onError })(() => {
      throw new Error("boom");
    });
    await expect(handler(post())).rejects.toBe(fault);
    expect(codeOf(await whole(handler(post())))).toBe("outcome_unknown");
  });

  it("4.8 a handler that answers no Response has thrown", async () => {
    const errors: unknown[] = [];
    const onError = (error: unknown): Response => {
      errors.push(error);
      return new Response("fault", { status: 500 });
    };
    const handler = idempotency({ ...options(), onError })(() => undefined as unknown as Response);
    expect(await whole(handler(post()))).toMatchObject({ status: 500, text: "fault" });
    expect(String(errors[0])).toContain("answered no Response");
  });

  it("4.7 gives the work to `waitUntil` of whichever argument of the platform has it", async () => {
    const ctx = { waitUntil: vi.fn() };
    const handler = idempotency(options())((_request, _claim, _env: unknown, _ctx: typeof ctx) => new Response("ok"));
    await handler(post(), {}, ctx);
    expect(ctx.waitUntil).toHaveBeenCalledOnce();
  });

  it("P1 one Request that is handled twice is a request and its duplicate", async () => {
    let runs = 0;
    const handler = idempotency(options())(() => new Response(String(++runs)));
    const request = new Request(`${ORIGIN}/orders`, { method: "POST", headers: { "Idempotency-Key": "k-1" } });
    expectReplay(await whole(handler(request)), await whole(handler(request)));
    expect(runs).toBe(1);
  });

  it("a second wrapper of the same request leaves it to the first", async () => {
    const inner = idempotency(options({ namespace: "inner" }))((_request, claim) => new Response(claim.key));
    const handler = idempotency(options())((request) => inner(request));
    const first = await whole(handler(post()));
    expect(first.text).toBe("k-1");
    expectReplay(first, await whole(handler(post())));
  });

  it("P4 a body that was read before it ends the request before anything runs", async () => {
    const ran = vi.fn(() => new Response("ran"));
    const handler = idempotency(options())(ran);
    const request = post();
    await request.text();
    await expect(handler(request)).rejects.toThrow("put idempotency() before");
    expect(ran).not.toHaveBeenCalled();
  });

  it("5.4 5.5 bodies share a budget: a request that there is no memory for is refused, and gives back what it took", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const handler = idempotency(options({ maxBuffer: "1MiB" }))(async (request) => {
      if (request.headers.has("x-wait")) await held;
      return new Response("ok");
    });
    const body = "x".repeat(700_000);
    const first = handler(post({ key: "k-1", body, headers: { "X-Wait": "1" } }));
    await vi.waitFor(async () => {
      const refused = await whole(handler(post({ key: "k-2", body })));
      expect(codeOf(refused)).toBe("upstream_unavailable");
      expect(refused.headers).toContainEqual(["retry-after", "1"]);
    });
    release();
    expect(await whole(first)).toMatchObject({ status: 200 });
    expect(await whole(handler(post({ key: "k-2", body })))).toMatchObject({ status: 200 });
  });

  it("5.4 an answer that is passed on keeps the length that its handler said", async () => {
    const headers = { "Content-Length": "5000" };
    const handler = idempotency(options({ maxBody: 100 }))(() => new Response("x".repeat(5_000), { headers }));
    expect((await whole(handler(post()))).headers).toContainEqual(["content-length", "5000"]);
  });

  it("11 the history shows clients that went away and answers that broke off", async () => {
    const store = memoryStore();
    const gone = new AbortController();
    const handler = idempotency(options({ store }))((request) => {
      if (request.headers.has("x-leave")) {
        gone.abort();
        return new Response("late");
      }
      const broken = new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode("data: 1\n\n")),
        pull: (controller) => controller.error(new Error("broke off")),
      });
      return new Response(broken, { headers: { "Content-Type": "text/event-stream" } });
    });
    expect((await handler(post({ key: "k-1", headers: { "X-Leave": "1" }, signal: gone.signal }))).status).toBe(200);
    await expect(whole(handler(post({ key: "k-2" })))).rejects.toThrow("broke off");
    await vi.waitFor(async () => {
      const { items } = (await store.history?.listRuns({ limit: 9 })) ?? { items: [] };
      expect(items.map(({ key, outcome, flags }) => [key, outcome, flags])).toEqual([
        ["k-2", "not_kept", ["TRUNCATED"]],
        ["k-1", "recorded", ["CLIENT_GONE"]],
      ]);
    });
  });

  it("4.7 an endless answer that nobody listens to any more is told so after a while", async () => {
    vi.useFakeTimers();
    try {
      const cancelled = vi.fn();
      const endless = new ReadableStream({
        pull: async (controller) => {
          await new Promise((resolve) => setTimeout(resolve, 1_000));
          controller.enqueue(new TextEncoder().encode("data: tick\n\n"));
        },
        cancel: cancelled,
      });
      const headers = { "Content-Type": "text/event-stream" };
      const handler = idempotency(options())(() => new Response(endless, { headers }));
      const response = await handler(post());
      await response.body?.cancel();
      await vi.advanceTimersByTimeAsync(20_000);
      expect(cancelled).not.toHaveBeenCalled();
      await vi.advanceTimersByTimeAsync(20_000);
      expect(cancelled).toHaveBeenCalledOnce();
    } finally {
      vi.useRealTimers();
    }
  });

  it("4.7 an answer that streams is finished for nobody, in the platform's time, and is not truncated by that", async () => {
    const store = memoryStore();
    const ctx = { waitUntil: vi.fn() };
    const pieces = ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"];
    const stream = new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        const piece = pieces.shift();
        if (piece === undefined) controller.close();
        else controller.enqueue(new TextEncoder().encode(piece));
      },
    });
    const headers = { "Content-Type": "text/event-stream" };
    const handler = idempotency(options({ store }))(
      (_request, _claim, _ctx: typeof ctx) => new Response(stream, { headers }),
    );
    const reader = (await handler(post(), ctx)).body?.getReader();
    await reader?.read();
    // The next piece is on its way when the client goes.
    await reader?.cancel();
    expect(ctx.waitUntil).toHaveBeenCalledTimes(2);
    await ctx.waitUntil.mock.calls[1]?.[0];
    expect(pieces).toEqual([]);
    await vi.waitFor(async () => {
      const { items } = (await store.history?.listRuns({ limit: 1 })) ?? { items: [] };
      expect(items[0]).toMatchObject({ outcome: "not_kept", flags: [] });
    });
  });

  it("5.5 an upload that breaks off is answered with 400, and claims nothing", async () => {
    const store = memoryStore();
    const broken = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode("{")),
      pull: (controller) => controller.error(new Error("reset")),
    });
    const handler = idempotency(options({ store }))(() => new Response("ran"));
    const answer = await whole(handler(post({ body: broken })));
    expect([answer.status, codeOf(answer)]).toEqual([400, "request_invalid"]);
    expect((await store.list({ limit: 1 })).items).toEqual([]);
  });

  it("4.9 a body that is no bytes leaves the outcome unknown", async () => {
    const texts = new ReadableStream({ start: (controller) => controller.enqueue("text") });
    const handler = idempotency(options())(() => new Response(texts as ReadableStream<Uint8Array>));
    expect(codeOf(await whole(handler(post())))).toBe("outcome_unknown");
    expect(codeOf(await whole(handler(post())))).toBe("outcome_unknown");
  });
});
