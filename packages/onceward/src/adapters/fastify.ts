// The adapter of Fastify: a plugin that claims when a request is valid, right before its handler.

import type {
  FastifyInstance,
  FastifyPluginCallback,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
} from "fastify";
import type { IdempotencyClaim } from "../http/claim.js";
import {
  createIdempotency,
  type IdempotencyOptions,
  type MiddlewareParts,
  middlewareOf,
  type RouteOptions,
} from "../http/idempotency.js";
import type { HeaderList } from "../http/message.js";
import {
  beginNode,
  type HeldRequest,
  holdRequest,
  isConcerned,
  type NodeTurn,
  type ParsedBody,
  sendAnswer,
} from "../http/node.js";
import { RoutePolicies } from "./fastify/route-policies.js";

export type { AnswerInit, IdempotencyClaim, StepContext } from "../http/claim.js";
export type { AccountResolver, BackgroundOptions, IdempotencyOptions, RouteOptions } from "../http/idempotency.js";

declare module "fastify" {
  interface FastifyRequest {
    /** Behind the plugin: what the handler works with, also where the request carries no key. */
    idempotency: IdempotencyClaim<void>;
  }
  interface FastifyContextConfig {
    /** The route's own policy options in place of the plugin's; false: the route is not behind it. */
    idempotency?: false | RouteOptions;
  }
}

export type FastifyIdempotencyOptions = IdempotencyOptions<FastifyRequest>;

/** For `app.register`. */
export interface FastifyIdempotency extends FastifyPluginCallback, MiddlewareParts<FastifyRequest> {}

/**
 * Makes the plugin: `await app.register(idempotency({ store, account }))`. It covers the routes of the instance that it is
 * registered in, and of those within. `app.close()` closes it.
 *
 * A request that Fastify refuses, by its schema or in a hook before `preHandler`, claims nothing. Routes that are declared
 * after the plugin is loaded claim behind all of their `preHandler` hooks; others at the plugin's place among them.
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function idempotency(options: FastifyIdempotencyOptions): FastifyIdempotency {
  const runtime = createIdempotency<FastifyRequest>(options);
  const policies = new RoutePolicies(runtime);
  const held = new WeakMap<FastifyRequest, HeldRequest>();

  const claim = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
    const { config, url } = request.routeOptions;
    const route = request.is404 ? null : policies.of(config);
    if (route === null) {
      done();
      return;
    }
    const take = (turn: NodeTurn): void => {
      if (turn.kind === "answer") send(reply, turn);
      if (turn.kind !== "run") return;
      request.idempotency = turn.claim;
      done();
    };
    const holding = held.get(request);
    const begun = beginNode(route, {
      request: request.raw,
      response: reply.raw,
      subject: request,
      target: request.originalUrl,
      parsed: request as ParsedBody,
      preset: () => headersOf(reply),
      ...(holding === undefined ? {} : { held: holding }),
      ...(url === undefined ? {} : { route: `${request.method} ${url}` }),
    });
    if (begun instanceof Promise) begun.then(take, done);
    else take(begun);
  };

  /** The parser leaves nothing of the bytes, and they are what is compared. */
  const keepBytes = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
    const route = request.is404 ? null : policies.of(request.routeOptions.config);
    if (route === null || route.policy.mode === "observe" || !isConcerned(route, request.raw)) {
      done();
      return;
    }
    const holding = holdRequest(route, request.raw);
    held.set(request, holding);
    reply.raw.once("close", () => holding.letGo());
    holding.keep(request.routeOptions.bodyLimit).then((goesOn) => {
      if (goesOn) done();
      else claim(request, reply, done);
    }, done);
  };

  const plugin = (app: FastifyInstance, _options: object, done: () => void): void => {
    if (!app.hasRequestDecorator("idempotency")) app.decorateRequest("idempotency", null as never);
    app.addHook("onRoute", (route) => {
      if (!policies.claimsLast(route)) return;
      route.preHandler = [route.preHandler ?? []].flat().concat(claim);
    });
    app.addHook("preParsing", (request, reply, _payload, next) => keepBytes(request, reply, next));
    app.addHook("preHandler", (request, reply, next) => {
      if (policies.claimsLaterOn(request.routeOptions.config)) next();
      else claim(request, reply, next);
    });
    app.addHook("onClose", () => runtime.close());
    done();
  };
  return middlewareOf(Object.assign(plugin, UNENCAPSULATED), runtime);
}

/** What `fastify-plugin` sets: the hooks are those of the instance around the plugin. */
const UNENCAPSULATED = {
  [Symbol.for("skip-override")]: true,
  [Symbol.for("fastify.display-name")]: "onceward",
  [Symbol.for("plugin-meta")]: { name: "onceward", fastify: "5.x" },
};

/** A replay is what the first answer was, past all hooks; what is refused is an answer like others of the app. */
function send(reply: FastifyReply, { response, isReplay }: Extract<NodeTurn, { kind: "answer" }>): void {
  if (isReplay) {
    reply.hijack();
    sendAnswer(reply.raw, response, true);
    return;
  }
  reply.code(response.status);
  for (const [name, value] of response.headers) {
    if (name.toLowerCase() !== "content-length") reply.header(name, value);
  }
  reply.send(response.body);
}

function headersOf(reply: FastifyReply): HeaderList {
  return Object.entries(reply.getHeaders()).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((item) => [name, String(item)] as const),
  );
}
