// What the compiler knows of the adapters for Node's servers: the claim without a cast, and options that must be there.

import express from "express";
import Fastify, { type FastifyRequest } from "fastify";
import Koa, { type Context } from "koa";
import { describe, expect, expectTypeOf, it } from "vitest";
import { idempotency as forExpress } from "../../src/adapters/express.js";
import { idempotency as forFastify, type RouteOptions } from "../../src/adapters/fastify.js";
import { idempotency as forKoa } from "../../src/adapters/koa.js";
import { idempotency as forNode, type IdempotencyClaim } from "../../src/adapters/node.js";
import { memoryStore } from "../../src/stores/memory.js";

type Claim = IdempotencyClaim<void>;
const store = memoryStore();
const common = { store, background: false } as const;

describe("types", () => {
  it("S1 options without an account do not compile, and are refused when they are used all the same", () => {
    // @ts-expect-error account is missing
    expect(() => forNode(common)).toThrow(/`account` is missing/);
    // @ts-expect-error account is missing
    expect(() => forExpress(common)).toThrow(/`account` is missing/);
    // @ts-expect-error account is missing
    expect(() => forKoa(common)).toThrow(/`account` is missing/);
    // @ts-expect-error account is missing
    expect(() => forFastify(common)).toThrow(/`account` is missing/);
  });

  it("an option that there is not does not compile, and is refused with what was meant", () => {
    // @ts-expect-error it is `retention`
    expect(() => forExpress({ ...common, account: () => "alice", retentoin: "1h" })).toThrow(/retention/);
  });

  it("the account resolver is given the framework's own request", async () => {
    const node = forNode({ ...common, account: (request) => request.headers.host });
    const inExpress = forExpress({ ...common, account: (request) => request.get("x-user") });
    const koa = forKoa({ ...common, account: (ctx) => ctx.get("x-user") });
    const fastify = forFastify({ ...common, account: (request) => String(request.headers["x-user"]) });
    for (const middleware of [node, inExpress, koa, fastify]) await middleware.close();
  });

  it("the claim is in the framework's own place, typed", async () => {
    const account = (): string => "alice";
    const node = forNode({ ...common, account });
    node((request, response, claim) => {
      expectTypeOf(claim).toEqualTypeOf<Claim>();
      expectTypeOf(request.headers.host).toEqualTypeOf<string | undefined>();
      response.end();
    });
    const inExpress = forExpress({ ...common, account });
    express().post("/", inExpress, async (request, response) => {
      expectTypeOf(request.idempotency).toEqualTypeOf<Claim>();
      response.json(await request.idempotency.step("one", () => 1));
    });
    const koa = forKoa({ ...common, account });
    new Koa().use(koa).use((ctx) => {
      expectTypeOf(ctx.idempotency).toEqualTypeOf<Claim>();
    });
    expectTypeOf<Context["idempotency"]>().toEqualTypeOf<Claim>();
    const fastify = forFastify({ ...common, account });
    const app = Fastify();
    await app.register(fastify);
    app.post("/", { config: { idempotency: { required: true, transactional: false } } }, async (request) => {
      expectTypeOf(request.idempotency).toEqualTypeOf<Claim>();
      return {};
    });
    // @ts-expect-error `store` is no option of a route
    const misplaced: RouteOptions = { store };
    expect(() => app.post("/b", { config: { idempotency: misplaced } }, async () => ({}))).toThrow(/`store`/);
    expectTypeOf<FastifyRequest["idempotency"]>().toEqualTypeOf<Claim>();
    await app.close();
    for (const middleware of [node, inExpress, koa]) await middleware.close();
  });
});
