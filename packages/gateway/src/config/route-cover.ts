// Whether one route matches all that a later one does, so that the later one is never reached (SPEC §14.2).

import type { Condition } from "./config.js";

/** What decides whether a route matches. */
export interface RouteReach {
  /** null: every method. */
  readonly methods: ReadonlySet<string> | null;
  /** A path pattern of `compileRoutePattern`. */
  readonly pattern: string;
  readonly when: Condition | null;
}

export function covers(earlier: RouteReach, later: RouteReach): boolean {
  return (
    coversMethods(earlier.methods, later.methods) &&
    coversPattern(segmentsOf(earlier.pattern), segmentsOf(later.pattern)) &&
    (earlier.when === null || sameCondition(earlier.when, later.when))
  );
}

function coversMethods(earlier: ReadonlySet<string> | null, later: ReadonlySet<string> | null): boolean {
  if (earlier === null) return true;
  return later !== null && [...later].every((method) => earlier.has(method));
}

function coversPattern(earlier: readonly string[], later: readonly string[]): boolean {
  const open = earlier.at(-1) === "**";
  const fixed = open ? earlier.slice(0, -1) : earlier;
  const laterOpen = later.at(-1) === "**";
  const laterFixed = laterOpen ? later.slice(0, -1) : later;
  if (open ? laterFixed.length < fixed.length : laterOpen || laterFixed.length !== fixed.length) return false;
  return fixed.every((segment, index) => {
    const other = laterFixed[index] ?? "";
    return standsForAny(segment) || (!standsForAny(other) && decoded(segment) === decoded(other));
  });
}

function standsForAny(segment: string): boolean {
  return segment === "*" || segment.startsWith(":");
}

function segmentsOf(pattern: string): string[] {
  return pattern.split("/").filter((segment) => segment !== "");
}

/** The pattern's escapes are well-formed by then, yet need not be UTF-8. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function sameCondition(a: Condition, b: Condition | null): boolean {
  if (b === null) return false;
  if ("host" in a) return "host" in b && a.host.toLowerCase() === b.host.toLowerCase();
  return "header" in b && a.header.toLowerCase() === b.header.toLowerCase() && a.equals === b.equals;
}
