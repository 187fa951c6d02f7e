// Which route a request is under: the first whose method, path and condition hold (SPEC §14.2, S5).

import type { Policy } from "onceward";
import type { Condition, GatewayConfig, Route } from "../config/config.js";
import type { Upstream, Upstreams } from "../upstream/upstreams.js";

/** A route with what is looked up once instead of for every request. */
export interface CompiledRoute {
  /** null: no route covers the request. */
  readonly route: Route | null;
  readonly name: string;
  /** null: everything passes through. */
  readonly policy: Policy | null;
  /** The key's header in lower case; empty where there is no policy. */
  readonly keyHeader: string;
  readonly upstream: Upstream;
  readonly authorizeUrl: string | null;
}

/** What a route is found by. */
export interface Routed {
  readonly method: string;
  /** Normalised. */
  readonly path: string;
  /** Without its port, in lower case. */
  readonly host: string;
  /** Name, value, name, value. */
  readonly rawHeaders: readonly string[];
}

export type Router = (request: Routed) => CompiledRoute;

/** What no route covers passes through to the upstream of the configuration. */
export function createRouter(config: GatewayConfig, upstreams: Upstreams): Router {
  const routes = config.routes.map((route) => ({ route, compiled: compile(route, upstreams) }));
  const fallback = unroutedTo(config.upstream, upstreams);
  return (request) => {
    for (const { route, compiled } of routes) {
      if (route.methods !== null && !route.methods.has(request.method)) continue;
      if (!route.matches(request.path)) continue;
      if (route.when === null || holds(route.when, request)) return compiled;
    }
    return fallback;
  };
}

/** What is under no route goes to this upstream, unprotected. */
export function unroutedTo(url: string, upstreams: Upstreams): CompiledRoute {
  return { route: null, name: "(none)", policy: null, keyHeader: "", upstream: upstreams.get(url), authorizeUrl: null };
}

function compile(route: Route, upstreams: Upstreams): CompiledRoute {
  return {
    route,
    name: route.name,
    policy: route.policy,
    keyHeader: route.policy?.header.toLowerCase() ?? "",
    upstream: upstreams.get(route.upstream),
    authorizeUrl: route.authorizeUrl,
  };
}

function holds(condition: Condition, { host, rawHeaders: raw }: Routed): boolean {
  if ("host" in condition) return condition.host.toLowerCase() === host;
  const name = condition.header.toLowerCase();
  // Sent twice it says two things; then it says neither.
  let found: string | undefined;
  for (let at = 0; at < raw.length; at += 2) {
    if (raw[at]?.toLowerCase() !== name) continue;
    if (found !== undefined) return false;
    found = raw[at + 1];
  }
  return found === condition.equals;
}
