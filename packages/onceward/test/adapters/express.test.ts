// The adapter of Express, 5 and 4, over real HTTP.

import express5, { type Request, type Response } from "express";
import express4 from "express4";
import { describe, it } from "vitest";
import { idempotency } from "../../src/adapters/express.js";
import { adapterSuite, type SuiteApp } from "../../src/testing/adapter-suite.js";
import { answer, listen } from "./node-kit.js";

type Express = typeof express5;

adapterSuite<void>({ name: "express 5", runner: { describe, it }, start: (app) => start(express5, app) });
adapterSuite<void>({
  name: "express 4",
  runner: { describe, it },
  start: (app) => start(express4, app),
});

async function start(express: Express, suite: SuiteApp<void>) {
  const middleware = idempotency(suite.options);
  const app = express();
  const parsers = [express.json(), express.text(), express.urlencoded({ extended: false }), express.raw()];
  for (const { method, path, guarded, handle } of suite.routes) {
    const verb = method.toLowerCase() as "post";
    app[verb](path, guarded ? middleware : [], parsers, async (request: Request, response: Response) => {
      answer(response, await handle({ body: request.body, claim: guarded ? request.idempotency : null }));
    });
  }
  return listen(app, () => middleware.close());
}
