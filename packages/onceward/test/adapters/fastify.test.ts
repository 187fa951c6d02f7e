// The adapter of Fastify, over real HTTP.

import { Readable } from "node:stream";
import Fastify, { type FastifyReply } from "fastify";
import { describe, it } from "vitest";
import { idempotency } from "../../src/adapters/fastify.js";
import { adapterSuite, type SuiteAnswer, type SuiteApp } from "../../src/testing/adapter-suite.js";

adapterSuite<void>({ name: "fastify", runner: { describe, it }, start });

async function start(suite: SuiteApp<void>) {
  const app = Fastify({ forceCloseConnections: true });
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  await app.register(idempotency(suite.options));
  for (const { method, path, guarded, handle } of suite.routes) {
    app.route({
      method,
      url: path,
      config: guarded ? {} : { idempotency: false },
      async handler(request, reply) {
        return answer(reply, await handle({ body: request.body, claim: guarded ? request.idempotency : null }));
      },
    });
  }
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  return { url, close: () => app.close() };
}

function answer(reply: FastifyReply, said: SuiteAnswer<void>): unknown {
  if (said.kind === "sent") return undefined;
  reply.code(said.status);
  const fields = new Map<string, string[]>();
  for (const [name, value] of said.headers) fields.set(name, [...(fields.get(name) ?? []), value]);
  for (const [name, values] of fields) reply.header(name, values.length === 1 ? values[0] : values);
  if (said.kind === "stream") return reply.send(Readable.from(said.chunks));
  return reply.send(said.body ?? undefined);
}
