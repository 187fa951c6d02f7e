// Builds the routes: their methods and paths, and the policy each is under.

import { resolvePolicy } from "onceward";
import { compileRoutePattern, parseRouteMatch } from "onceward/http";
import { effectiveOptions, policyOptionsOf } from "./check.js";
import type { Route } from "./config.js";
import type { ConfigFile, RouteFile } from "./file-schema.js";
import { type Path, pathText } from "./issue.js";
import { methodsFault } from "./methods.js";
import { covers, type RouteReach } from "./route-cover.js";
import type { Sources } from "./sources.js";

/** SPEC §14.2: first match wins; where there are none, the options of the file cover every path. */
export function buildRoutes(file: ConfigFile, upstream: string, sources: Sources): Route[] {
  const authorizeUrl = file.authorize?.url ?? null;
  checkMethodNames(file, sources);
  if (file.routes.length === 0) {
    const policy = resolvePolicy(policyOptionsOf(file), { surface: "gateway", hasRoutes: false });
    return [{ name: "/**", methods: null, matches: () => true, when: null, policy, upstream, authorizeUrl }];
  }
  const reaches: RouteReach[] = [];
  return file.routes.map((route, index) => {
    const built = buildRoute(file, route, upstream, authorizeUrl);
    const reach = { methods: built.methods, pattern: patternOf(route.match), when: built.when };
    checkReached(reach, reaches, route.match, file, sources);
    reaches.push(reach);
    checkMethods(built, index, sources);
    return built;
  });
}

/** First match wins: a route that another one stands before for all that it matches would do nothing. */
function checkReached(
  reach: RouteReach,
  before: readonly RouteReach[],
  match: string,
  file: ConfigFile,
  sources: Sources,
): void {
  const index = before.length;
  const earlier = before.findIndex((other) => covers(other, reach));
  const cover = before[earlier];
  if (cover === undefined) return;
  const reason = covers(reach, cover)
    ? `routes[${earlier}] matches the same; remove one`
    : `the first match wins, and routes[${earlier}] (${file.routes[earlier]?.match}) matches all that it does; move it before that one, or remove it`;
  sources.refuse(["routes", index, "match"], ` ${JSON.stringify(match)} is never reached: ${reason}`);
}

/** Names that no request can have. Those of `match` are its declaration's to refuse. */
function checkMethodNames(file: ConfigFile, sources: Sources): void {
  const check = (methods: unknown, path: Path): void => {
    const fault = Array.isArray(methods) ? methodsFault(methods.map((name) => String(name).toUpperCase())) : null;
    if (fault !== null) sources.refuse(path, `${pathText(path)}: ${fault}`);
  };
  check(file.methods, ["methods"]);
  for (const [index, route] of file.routes.entries()) check(route.methods, ["routes", index, "methods"]);
}

function buildRoute(file: ConfigFile, route: RouteFile, upstream: string, authorizeUrl: string | null): Route {
  const match = parseRouteMatch(route.match);
  // The declaration of `match` has refused what cannot be read.
  if ("error" in match) throw new TypeError(match.error);
  const options = effectiveOptions(policyOptionsOf(file), policyOptionsOf(route));
  return {
    name: route.match,
    methods: match.methods === null ? null : new Set(match.methods),
    matches: compileRoutePattern(match.pattern),
    when: route.when ?? null,
    policy: route.enabled ? resolvePolicy(options, { surface: "gateway", hasRoutes: true }) : null,
    upstream: route.upstream ?? upstream,
    authorizeUrl: route.authorize?.url ?? authorizeUrl,
  };
}

function patternOf(match: string): string {
  return match.slice(match.indexOf("/"));
}

/** The longest that a record of any of the routes is kept, in milliseconds. */
export function longestRetentionMs(routes: readonly Route[]): number {
  const each = routes.map(({ policy }) => Math.max(policy?.retentionMs ?? 0, policy?.expiration?.maxMs ?? 0));
  return Math.max(0, ...each);
}

/** A route that names methods which its policy leaves alone would look protected and not be. */
function checkMethods(route: Route, index: number, sources: Sources): void {
  const covered = route.policy?.methods;
  if (route.methods === null || covered === undefined || covered === "all") return;
  if ([...route.methods].some((method) => covered.has(method))) return;
  const names = [...route.methods].join(", ");
  sources.refuse(
    ["routes", index, "match"],
    ` names ${names}, but its policy covers ${[...covered].join(", ")}: add \`methods: [${names}]\`, or \`enabled: false\` to let it pass unprotected`,
  );
}
