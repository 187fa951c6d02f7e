// The adapter of Koa, over real HTTP.

import { Readable } from "node:stream";
import Koa, { type Context } from "koa";
import { describe, it } from "vitest";
import { idempotency } from "../../src/adapters/koa.js";
import { adapterSuite, type SuiteAnswer, type SuiteApp } from "../../src/testing/adapter-suite.js";
import { listen, readText } from "./node-kit.js";

adapterSuite<void>({ name: "koa", runner: { describe, it }, start });

async function start(suite: SuiteApp<void>) {
  const middleware = idempotency(suite.options);
  const app = new Koa();
  app.silent = true;
  for (const { method, path, guarded, handle } of suite.routes) {
    const matches = (ctx: Context) => ctx.path === path && (ctx.method === "HEAD" ? "GET" : ctx.method) === method;
    const serve = async (ctx: Context) =>
      answer(ctx, await handle({ body: await readText(ctx.req), claim: guarded ? ctx.idempotency : null }));
    app.use((ctx, next) => {
      if (!matches(ctx)) return next();
      return guarded ? middleware(ctx, () => serve(ctx)) : serve(ctx);
    });
  }
  return listen(app.callback(), () => middleware.close());
}

function answer(ctx: Context, said: SuiteAnswer<void>): void {
  if (said.kind === "sent") return;
  for (const [name, value] of said.headers) ctx.append(name, value);
  if (said.kind === "stream") ctx.body = Readable.from(said.chunks);
  // Koa knows bytes as Buffers only, and makes 204 of an answer without a body.
  else ctx.body = said.body instanceof Uint8Array ? Buffer.from(said.body) : said.body;
  ctx.status = said.status;
}
