// The adapter of fetch, over real HTTP, and what is its own.

import { describe, it } from "vitest";
import { idempotency } from "../../src/adapters/fetch.js";
import { adapterSuite, type SuiteApp } from "../../src/testing/adapter-suite.js";
import { serveFetch, webAnswer } from "./fetch-bridge.js";

adapterSuite<Response>({ name: "fetch", runner: { describe, it }, start });

async function start(app: SuiteApp<Response>) {
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
