// The adapter of Next.js. Next itself is not run: a bridge calls route handlers and answers their errors as Next's
// route module does (packages/next/src/server/route-modules/app-route, and the template that calls it).

import { describe, expect, it, vi } from "vitest";
import { idempotency } from "../../src/adapters/next.js";
import { memoryStore } from "../../src/stores/memory.js";
import { adapterSuite, type RunningApp, type SuiteApp } from "../../src/testing/adapter-suite.js";
import { serveFetch, webAnswer } from "./fetch-bridge.js";

/** As NextRequest: a subclass whose fields are lost on whatever is made of it anew. */
class RouteRequest extends Request {
  readonly nextUrl: URL;

  constructor(input: Request) {
    super(input);
    this.nextUrl = new URL(input.url);
  }
}

type RouteContext = { readonly params: Promise<Readonly<Record<string, string>>> };
type RouteHandler = (request: RouteRequest, context: RouteContext) => Response | Promise<Response>;

const FRAMED_BY_NEXT =
  "the error goes on to Next, which frames its own 500 without a body; below it is shown to be the one that is recorded";

adapterSuite<Response>({
  name: "next",
  runner: { describe, it },
  start,
  skips: {
    "4.8 a handler that throws: the framework's own answer": FRAMED_BY_NEXT,
    "7.2 a step that throws": FRAMED_BY_NEXT,
    "4.5 notStarted after a step": FRAMED_BY_NEXT,
  },
});

async function start(app: SuiteApp<Response>): Promise<RunningApp> {
  const middleware = idempotency(app.options);
  const routes = new Map<string, RouteHandler>(
    app.routes.map(({ method, path, guarded, handle }) => {
      const plain: RouteHandler = async (request) =>
        webAnswer(await handle({ body: await request.text(), claim: null }));
      const behind = middleware(async (request: RouteRequest, _context: RouteContext, claim) =>
        webAnswer(await handle({ body: await request.text(), claim })),
      );
      return [`${method} ${path}`, guarded ? behind : plain];
    }),
  );
  const server = await serveFetch((request) => {
    const method = request.method === "HEAD" ? "GET" : request.method;
    const handler = routes.get(`${method} ${new URL(request.url).pathname}`);
    return handler === undefined ? new Response(null, { status: 404 }) : called(handler, request);
  });
  return {
    url: server.url,
    async close() {
      await server.close();
      await middleware.close();
    },
  };
}

async function called(handler: RouteHandler, request: Request, seen?: (error: unknown) => void): Promise<Response> {
  try {
    return await handler(new RouteRequest(request), { params: Promise.resolve({ id: "7" }) });
  } catch (error) {
    seen?.(error);
    return new Response(null, { status: 500 });
  }
}

function post(key: string, body: BodyInit | null = "{}", headers: Record<string, string> = {}): Request {
  const type = typeof body === "string" ? { "Content-Type": "application/json" } : {};
  return new Request("http://shop.test/orders?a=1", {
    method: "POST",
    headers: { "Idempotency-Key": key, ...type, ...headers },
    body,
  });
}
type BodyInit = NonNullable<RequestInit["body"]>;

function made(): ReturnType<typeof idempotency> {
  return idempotency({ store: memoryStore(), account: () => "alice", background: false });
}

/** An error as Next's own functions throw it. */
function thrown(digest: string): Error {
  return Object.assign(new Error(digest), { digest });
}

describe("the adapter of Next.js", () => {
  it("hands on the request itself, its fields and its body, and the context", async () => {
    const POST = made()(async (request: RouteRequest, { params }: RouteContext, claim) => {
      const { id } = await params;
      return Response.json({ id, path: request.nextUrl.pathname, body: await request.json(), key: claim.key });
    });
    const response = await called(POST, post("k-1", '{"a":1}'));
    expect(await response.json()).toEqual({ id: "7", path: "/orders", body: { a: 1 }, key: "k-1" });
  });

  it.each([
    ["redirect()", "NEXT_REDIRECT;replace;/done?a=1;b=2;307;", 307],
    ["redirect() in a form's handler", "NEXT_REDIRECT;push;/done?a=1;b=2;307;", 303],
    ["permanentRedirect()", "NEXT_REDIRECT;replace;/done?a=1;b=2;308;", 308],
  ])("4.8 %s answers as Next answers it, and that is recorded", async (_what, digest, status) => {
    let runs = 0;
    const POST = made()(() => {
      runs += 1;
      throw thrown(digest);
    });
    const form = status === 303 ? { "Content-Type": "application/x-www-form-urlencoded" } : {};
    for (const replayed of [null, "true"]) {
      const response = await called(POST, post("k-1", "a=1", form));
      expect([response.status, response.headers.get("location")]).toEqual([status, "/done?a=1;b=2"]);
      expect(response.headers.get("idempotent-replayed")).toBe(replayed);
    }
    expect(runs).toBe(1);
  });

  it.each([
    ["notFound()", 404],
    ["forbidden()", 403],
    ["unauthorized()", 401],
  ])("4.8 %s answers as Next answers it, and that is recorded", async (_what, status) => {
    const POST = made()(() => {
      throw thrown(`NEXT_HTTP_ERROR_FALLBACK;${status}`);
    });
    for (const replayed of [null, "true"]) {
      const response = await called(POST, post("k-1"));
      expect([response.status, await response.text()]).toEqual([status, ""]);
      expect(response.headers.get("idempotent-replayed")).toBe(replayed);
    }
  });

  it("4.8 any other error goes on to Next, whose 500 is recorded and replayed", async () => {
    const error = new Error("boom");
    const POST = made()(() => {
      throw error;
    });
    const seen = vi.fn();
    const first = await called(POST, post("k-1"), seen);
    expect(seen).toHaveBeenCalledExactlyOnceWith(error);
    const replay = await called(POST, post("k-1"), seen);
    expect(seen).toHaveBeenCalledOnce();
    expect([replay.status, await replay.text()]).toEqual([first.status, await first.text()]);
    expect(replay.headers.get("idempotent-replayed")).toBe("true");
  });

  it("opens no store while Next builds, but for the first request with a key", async () => {
    const store = memoryStore();
    const open = vi.spyOn(store, "open");
    const POST = idempotency({ store, account: () => "alice", background: false })(() => new Response("ok"));
    expect(open).not.toHaveBeenCalled();
    expect((await called(POST, post("k-1"))).status).toBe(200);
    expect(open).toHaveBeenCalledOnce();
  });

  it("4.7 gives the work to `waitUntil`, such as Next's `after`, only where there is a key", async () => {
    const waitUntil = vi.fn();
    const store = memoryStore();
    const POST = idempotency({ store, account: () => "alice", background: false, waitUntil })(() => new Response("ok"));
    await called(POST, new Request("http://shop.test/orders", { method: "POST" }));
    expect(waitUntil).not.toHaveBeenCalled();
    await called(POST, post("k-1"));
    expect(waitUntil).toHaveBeenCalledOnce();
    await expect(waitUntil.mock.calls[0]?.[0]).resolves.toBeDefined();
  });
});
