// Fields of a JSON body, named by JSON Pointers or dot paths, for fingerprints that compare only those.

import { writeCanonical } from "./canonical-json.js";
import { type Json, parseJson } from "./json-reader.js";

/** A field's path as the names (or array indexes) to follow from the root. */
export type FieldPath = readonly string[];

/**
 * The path that a field's name stands for, or null where it is malformed.
 *
 * A name that starts with `/` is a JSON Pointer (RFC 6901): `/lines/0/sku`, with `~1` for a slash and `~0` for a tilde.
 * Any other is a dot path: `lines.0.sku`, which has no escapes and no empty names.
 */
export function parseFieldPath(field: string): FieldPath | null {
  if (field.startsWith("/")) {
    if (/~(?![01])/.test(field)) return null;
    return field
      .slice(1)
      .split("/")
      .map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
  }
  const names = field.split(".");
  return names.includes("") ? null : names;
}

/** The canonical form of the fields of a JSON text, in the order of `paths`; null where the text is not JSON. */
export function canonicalFields(bytes: Uint8Array, paths: readonly FieldPath[]): string | null {
  const root = parseJson(bytes);
  if (root === undefined) return null;
  return paths
    .map((path) => {
      const value = follow(root, path);
      // An absent field differs from one that is null; no JSON text is empty.
      return value === undefined ? "" : writeCanonical(value);
    })
    .join("\n");
}

function follow(root: Json, path: FieldPath): Json | undefined {
  let value: Json | undefined = root;
  for (const name of path) {
    if (value instanceof Map) value = value.get(name);
    else if (Array.isArray(value)) value = isArrayIndex(name) ? value[Number(name)] : undefined;
    else return undefined;
  }
  return value;
}

/** Whether a name is an array index as RFC 6901 writes it. */
export function isArrayIndex(name: string): boolean {
  return /^(?:0|[1-9]\d{0,14})$/.test(name);
}
