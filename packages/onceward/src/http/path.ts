// Normalises a request's path, so that no spelling of it escapes its policy (SPEC §5.8).

export { compileRoutePattern, parseRouteMatch } from "./route-pattern.js";

/** The one spelling of a path, or a sentence on why it is answered 400 `request_invalid`; it echoes nothing. */
export type PathReading =
  | {
      readonly ok: true;
      readonly path: string;
      /** As received, without the question mark. */
      readonly query: string;
    }
  | { readonly ok: false; readonly reason: string };

const SLASH = 0x2f;
const PERCENT = 0x25;
const HEX = "0123456789ABCDEF";

/**
 * Normalises a request target in origin form (`/a?b`), absolute form (`http://host/a?b`) or asterisk form.
 *
 * Percent-encoded unreserved characters are decoded, other escapes get upper-case digits, raw bytes above 0x7F are
 * escaped, dot segments are resolved (RFC 3986 §5.2.4), repeated slashes become one, and a slash at the end stays.
 * What servers are known to read in different ways is refused: an encoded slash or backslash, a raw backslash, control
 * characters, a fragment, malformed escapes or UTF-8, path parameters on a dot segment, and `..` after an empty
 * segment, which removes that segment or the one before it according to what is done first.
 *
 * Whoever forwards a request sends the normal form, so that the server behind reads what was matched here. Two slashes
 * at the start of a target, above all, are the start of a host to many URL parsers.
 */
export function normalisePath(target: string): PathReading {
  if (target === "*") return { ok: true, path: "*", query: "" };
  const start = target.charCodeAt(0) === SLASH ? 0 : afterAuthority(target);
  if (start < 0) return refused("is neither a path nor an http address");
  const mark = target.indexOf("?", start);
  const end = mark < 0 ? target.length : mark;
  const query = mark < 0 ? "" : target.slice(mark + 1);
  const unclear = findUnclear(query);
  if (unclear !== null) return refused(unclear);
  if (start === end) return { ok: true, path: "/", query };
  const raw = target.slice(start, end);
  if (isPlain(raw)) return { ok: true, path: raw, query };
  const decoded = decodeUnreserved(raw);
  if (!decoded.ok) return decoded;
  const resolved = resolveSegments(decoded.path);
  return resolved.ok ? { ok: true, path: resolved.path, query } : resolved;
}

/** Where the path of an absolute form starts, or -1 where the target is none. */
function afterAuthority(target: string): number {
  const scheme = /^https?:\/\//i.exec(target)?.[0];
  if (scheme === undefined) return -1;
  let at = scheme.length;
  for (; at < target.length; at += 1) {
    const code = target.charCodeAt(at);
    if (code === SLASH || code === 0x3f) break;
    // User information, a backslash that some take for a slash, a fragment, what no host name holds.
    if (code === 0x40 || code === 0x5c || code === 0x23 || code <= 0x20 || code >= 0x7f) return -1;
  }
  return at === scheme.length ? -1 : at;
}

/** Whether a path is its own normal form, as nearly every path is. */
function isPlain(path: string): boolean {
  for (let at = 0; at < path.length; at += 1) {
    const code = path.charCodeAt(at);
    if (code === SLASH) {
      const next = path.charCodeAt(at + 1);
      if (next === SLASH || next === 0x2e) return false;
    } else if (code === PERCENT || code <= 0x20 || code >= 0x7f || code === 0x5c || code === 0x23) return false;
  }
  return true;
}

function findUnclear(text: string): string | null {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x23) return "holds a fragment";
    if (code <= 0x20 || code === 0x7f) return "holds a space or a control character";
  }
  return null;
}

type Step = { readonly ok: true; readonly path: string } | { readonly ok: false; readonly reason: string };

function decodeUnreserved(path: string): Step {
  const unclear = findUnclear(path);
  if (unclear !== null) return refused(unclear);
  let decoded = "";
  const bytes: number[] = [];
  for (let at = 0; at < path.length; at += 1) {
    let byte = path.charCodeAt(at);
    if (byte === 0x5c) return refused("holds a backslash");
    if (byte > 0xff) return refused("holds a character that is not encoded");
    if (byte === PERCENT) {
      byte = hexByte(path, at + 1);
      if (byte < 0) return refused("holds a percent sign that two hexadecimal digits do not follow");
      if (byte === SLASH) return refused("holds an encoded slash");
      if (byte === 0x5c) return refused("holds an encoded backslash");
      if (byte < 0x20 || byte === 0x7f) return refused("holds an encoded control character");
      decoded += isUnreserved(byte) ? String.fromCharCode(byte) : escaped(byte);
      at += 2;
    } else {
      decoded += byte < 0x80 ? String.fromCharCode(byte) : escaped(byte);
    }
    bytes.push(byte);
  }
  return isUtf8(bytes) ? { ok: true, path: decoded } : refused("holds escapes that are not UTF-8");
}

function resolveSegments(path: string): Step {
  const kept: string[] = [];
  const segments = path.slice(1).split("/");
  const last = segments.length - 1;
  let trailing = false;
  for (const [index, segment] of segments.entries()) {
    if (/^\.\.?(?:;|%3B)/.test(segment)) return refused("holds a dot segment with parameters");
    if (segment === "..") {
      if (kept.at(-1) === "") return refused("holds a parent segment after an empty one");
      kept.pop();
    }
    const dots = segment === "." || segment === "..";
    if (index === last) trailing = dots || segment === "";
    if (!dots) kept.push(segment);
  }
  const joined = kept.filter((segment) => segment !== "").join("/");
  return { ok: true, path: joined === "" ? "/" : `/${joined}${trailing ? "/" : ""}` };
}

function refused(what: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason: `The request's path ${what}.` };
}

function hexByte(text: string, at: number): number {
  const digits = text.slice(at, at + 2);
  return /^[0-9A-Fa-f]{2}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
}

function escaped(byte: number): string {
  return `%${HEX.charAt(byte >> 4)}${HEX.charAt(byte & 15)}`;
}

/** RFC 3986 §2.3. */
function isUnreserved(code: number): boolean {
  if ((code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || (code >= 0x30 && code <= 0x39)) return true;
  return code === 0x2d || code === 0x2e || code === 0x5f || code === 0x7e;
}

/** Overlong forms and encoded surrogates are none. */
function isUtf8(bytes: readonly number[]): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
    return true;
  } catch {
    return false;
  }
}
