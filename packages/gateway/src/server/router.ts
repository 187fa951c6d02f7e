// Which route a request is under: the first whose method, path and condition hold (SPEC §14.2, S5).

import type { Policy } from "onceward";
import { compileRoutePattern, parseRouteMatch } from "onceward/http";
import type { Condition, GatewayConfig, Route } from "../config/config.js";
import type { Upstream, Upstreams } from "../upstream/upstreams.js";
import { hostOf } from "./request-head.js";

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

/**
 * What no route covers passes through to the upstream of the configuration.
 *
 * A path counts in the case it is written in. But many servers (Express, ASP.NET) take `/V1/Transfers` for
 * `/v1/transfers`, so a request that would go unprotected is under the first route with a policy that it fits but for
 * its case, if that comes before the route that leaves it alone (SPEC §5.8, P4).
 */
export function createRouter(config: GatewayConfig, upstreams: Upstreams): Router {
  const routes = config.routes.map((route) => ({
    route,
    compiled: compile(route, upstreams),
    fitsInAnyCase: route.policy === null ? null : inAnyCase(route.name),
  }));
  const fallback = unroutedTo(config.upstream, upstreams);
  return (request) => {
    let similar: CompiledRoute | null = null;
    for (const { route, compiled, fitsInAnyCase } of routes) {
      if (route.methods !== null && !route.methods.has(request.method)) continue;
      const fits = route.matches(request.path);
      if (!fits && (similar !== null || fitsInAnyCase?.(request.path) !== true)) continue;
      if (route.when !== null && !holds(route.when, request)) continue;
      if (!fits) similar = compiled;
      else return route.policy === null ? (similar ?? compiled) : compiled;
    }
    return similar ?? fallback;
  };
}

/** Whether a path fits a route's pattern but for its case. */
function inAnyCase(match: string): ((path: string) => boolean) | null {
  const parsed = parseRouteMatch(match);
  if ("error" in parsed) return null;
  const fits = compileRoutePattern(parsed.pattern.toLowerCase());
  return (path) => fits(path.toLowerCase());
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
  if ("host" in condition) return hostOf(condition.host) === host;
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
