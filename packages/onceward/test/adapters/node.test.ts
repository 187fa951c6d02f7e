// The adapter of Node's `http`, over real HTTP, and what is its own.

import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, it } from "vitest";
import { idempotency } from "../../src/adapters/node.js";
import type { IdempotencyClaim } from "../../src/http/claim.js";
import { adapterSuite, type SuiteApp } from "../../src/testing/adapter-suite.js";
import { answer, listen, readText } from "./node-kit.js";

adapterSuite<void>({ name: "node", runner: { describe, it }, start });

async function start(app: SuiteApp<void>) {
  const middleware = idempotency(app.options);
  const routes = new Map(
    app.routes.map(({ method, path, guarded, handle }) => {
      const serve = async (request: IncomingMessage, response: ServerResponse, claim: IdempotencyClaim<void> | null) =>
        answer(response, await handle({ body: await readText(request), claim }));
      return [
        `${method} ${path}`,
        guarded
          ? middleware(serve)
          : (request: IncomingMessage, response: ServerResponse) => serve(request, response, null),
      ];
    }),
  );
  return listen(
    (request, response) => {
      const method = request.method === "HEAD" ? "GET" : request.method;
      const serve = routes.get(`${method} ${request.url?.split("?")[0]}`);
      if (serve === undefined) response.writeHead(404).end("no such route");
      else void serve(request, response);
    },
    () => middleware.close(),
  );
}
