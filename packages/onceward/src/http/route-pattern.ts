// Route patterns: `POST /v1/:workspace/event`, and which normalised paths they cover.

import { IdempotencyError } from "../core/errors.js";

/** What a route's `match` says: methods (null: every method) and a path pattern. */
export interface RouteMatch {
  readonly methods: readonly string[] | null;
  readonly pattern: string;
}

type Segment =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "one" }
  | { readonly kind: "rest" };

/** Reads `POST /v1/x`, `POST,PUT /v1/x` or `/v1/x`; `error` says what is wrong with it and what to write. */
export function parseRouteMatch(match: string): RouteMatch | { readonly error: string } {
  const text = match.trim();
  const slash = text.indexOf("/");
  if (slash < 0)
    return { error: `${quoted(match)} has no path; write a method and a path, such as POST /v1/transfers` };
  const pattern = text.slice(slash);
  const error = findFault(pattern);
  if (error !== null) return { error };
  const list = text.slice(0, slash).trim();
  if (list === "") return { methods: null, pattern };
  const methods = new Set<string>();
  for (const item of list.split(",")) {
    const method = item.trim().toUpperCase();
    if (!/^[A-Z][A-Z0-9-]*$/.test(method)) {
      return { error: `${quoted(item.trim())} is no method; write POST /x, POST,PUT /x, or /x for every method` };
    }
    methods.add(method);
  }
  return { methods: [...methods], pattern };
}

/**
 * Compiles a path pattern: `:name` and `*` stand for one segment, `**` at the end for any number of them, none
 * included; everything else for itself, in the same case.
 *
 * A pattern must cover every spelling that a server may take for the same path, or a policy could be got round. So a
 * slash at the end means nothing, escapes are compared decoded (`%3A` is `:`), and a path also matches as it reads
 * without path parameters and without the empty segments that they leave (`/transfers;x=1` and `/;/transfers` are
 * `/transfers` to many Java servers).
 *
 * @returns a function of a path that `normalisePath` returned
 * @throws IdempotencyError `config_invalid` where the pattern is malformed.
 */
export function compileRoutePattern(pattern: string): (path: string) => boolean {
  const error = findFault(pattern);
  if (error !== null) throw new IdempotencyError("config_invalid", `match: ${error}`);
  const segments = split(pattern).map(segmentOf);
  const rest = segments.at(-1)?.kind === "rest";
  const fixed = rest ? segments.slice(0, -1) : segments;
  const covers = (path: string): boolean => coversSegments(fixed, rest, split(path));
  const start = literalStart(fixed);
  const literal = !rest && start.length === fixed.length;
  const prefix = `/${start.join("/")}`;
  return (path) => {
    if (path.includes("%") || path.includes(";")) return coversAnySpelling(covers, path);
    // A plain path is not split where its start or its whole already decides.
    if (!path.startsWith(prefix)) return false;
    return (literal && path.length === prefix.length) || covers(path);
  };
}

function coversAnySpelling(covers: (path: string) => boolean, path: string): boolean {
  return covers(path) || (path.includes(";") && covers(path.replaceAll(/;[^/]*/g, "").replaceAll(/\/{2,}/g, "/")));
}

/** The segments before the first that stands for others. */
function literalStart(segments: readonly Segment[]): string[] {
  const start: string[] = [];
  for (const segment of segments) {
    if (segment.kind !== "literal") break;
    start.push(segment.text);
  }
  return start;
}

function coversSegments(fixed: readonly Segment[], rest: boolean, path: readonly string[]): boolean {
  if (rest ? path.length < fixed.length : path.length !== fixed.length) return false;
  return fixed.every((segment, index) => segment.kind !== "literal" || segment.text === decoded(path[index] ?? ""));
}

/** The segments of a path; a slash at the end makes none. */
function split(path: string): string[] {
  const end = path.endsWith("/") ? path.length - 1 : path.length;
  return end <= 0 ? [] : path.slice(1, end).split("/");
}

function segmentOf(text: string): Segment {
  if (text === "**") return { kind: "rest" };
  if (text === "*" || text.startsWith(":")) return { kind: "one" };
  return { kind: "literal", text: decoded(text) };
}

function decoded(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function findFault(pattern: string): string | null {
  if (!pattern.startsWith("/")) return `${quoted(pattern)} is no path; it must start with a slash`;
  if (/[?#\\\s]/.test(pattern))
    return `${quoted(pattern)} holds a query, a fragment, a backslash or a space; write the path alone`;
  const segments = split(pattern);
  for (const [index, segment] of segments.entries()) {
    const where = `in ${quoted(pattern)}`;
    if (segment === "") return `${where} there are two slashes in a row; paths are compared with one`;
    if (segment === "." || segment === "..") return `${where} there is a dot segment; write the path that it leads to`;
    if (/%(?![0-9A-Fa-f]{2})/.test(segment)) return `${where} a percent sign is not followed by two hexadecimal digits`;
    if (segment === ":") return `${where} a colon has no name after it`;
    if (segment === "**" && index !== segments.length - 1)
      return `${where} ** is not at the end; it stands for all that follows`;
    if (segment.includes("*") && segment !== "*" && segment !== "**") {
      return `${where} * is only a part of a segment; it stands for a whole one`;
    }
  }
  return null;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
