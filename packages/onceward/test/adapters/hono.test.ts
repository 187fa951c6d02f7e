// The adapter of Hono, behind @hono/node-server over real HTTP, and what is its own.

import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { describe, it } from "vitest";
import { idempotency } from "../../src/adapters/hono.js";
import { adapterSuite, type RunningApp, type SuiteApp } from "../../src/testing/adapter-suite.js";
import { webAnswer } from "./fetch-bridge.js";

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
