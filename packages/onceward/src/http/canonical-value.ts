// The canonical form of a value that a framework's body parser left behind.

import { exactDecimal } from "./decimal.js";
import { type FieldPath, isArrayIndex } from "./json-fields.js";
import { MAX_JSON_DEPTH } from "./json-reader.js";

/**
 * The canonical text of any value; never throws but where a getter or `toJSON` of the value does. JSON values come out
 * as {@link canonicalJson} writes them. What JSON has no word for is marked by a leading `!`, which no JSON text starts
 * with: bytes (a raw-body parser), big integers beyond a double, a cycle, and what is nested too deep to be told apart.
 */
export function canonicalValue(value: unknown): string {
  return write(value, []) ?? "!undefined";
}

/** The canonical texts of some fields of a value, as `canonicalFields` does for a JSON text. */
export function canonicalValueFields(value: unknown, paths: readonly FieldPath[]): string {
  return paths.map((path) => write(follow(value, path), []) ?? "").join("\n");
}

function follow(root: unknown, path: FieldPath): unknown {
  let value = root;
  for (const name of path) {
    if (typeof value !== "object" || value === null) return undefined;
    if (Array.isArray(value) ? !isArrayIndex(name) : !Object.hasOwn(value, name)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  return value;
}

/** The text of a value, or undefined where JSON leaves it out. `within` are the objects it is inside of. */
function write(value: unknown, within: readonly object[]): string | undefined {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      // Number::toString is the canonical layout already; it writes -0 as 0.
      return Number.isFinite(value) ? String(value) : `!${value}`;
    case "boolean":
      return String(value);
    case "bigint":
      return exactDecimal(String(value));
    case "object":
      return value === null ? "null" : writeObject(value, within);
    default:
      return undefined;
  }
}

function writeObject(value: object, within: readonly object[]): string | undefined {
  if (value instanceof Uint8Array) return `!bytes:${hex(value)}`;
  if (within.includes(value)) return "!cycle";
  if (within.length >= MAX_JSON_DEPTH) return "!deep";
  const inside = [...within, value];
  if ("toJSON" in value && typeof value.toJSON === "function") return write(value.toJSON(), inside);
  if (Array.isArray(value)) return `[${value.map((element) => write(element, inside) ?? "null").join(",")}]`;
  const members: string[] = [];
  // The default sort compares UTF-16 code units (RFC 8785 §3.2.3).
  for (const name of Object.keys(value).sort()) {
    const member = write((value as Readonly<Record<string, unknown>>)[name], inside);
    if (member !== undefined) members.push(`${JSON.stringify(name)}:${member}`);
  }
  return `{${members.join(",")}}`;
}

function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
