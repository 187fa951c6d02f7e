// Canonical JSON: RFC 8785 with numbers as exact decimals, so that two texts compare equal iff their values are.

import { type Json, JsonNumber, parseJson } from "./json-reader.js";

const encoder = new TextEncoder();

/**
 * The canonical form of a JSON text, or null where the text is none, is not UTF-8, is nested deeper than `maxDepth`
 * (default 128), or gives an object two members of one name, since readers differ on which of the two counts.
 *
 * It is RFC 8785's (no white space, members sorted by UTF-16 code units, shortest escapes), save for numbers: those are
 * written with all their digits, where RFC 8785 rounds them to doubles and so takes 9007199254740993 for …992. Numbers
 * that a double holds exactly look as in RFC 8785. A lone surrogate, which RFC 8785 refuses, stays an escape.
 */
export function canonicalJson(bytes: Uint8Array, maxDepth?: number): Uint8Array | null {
  const value = parseJson(bytes, maxDepth);
  return value === undefined ? null : encoder.encode(writeCanonical(value));
}

/** The canonical text of a value that {@link parseJson} read. */
export function writeCanonical(value: Json): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (value === null || typeof value === "boolean") return String(value);
  if (value instanceof JsonNumber) return value.decimal;
  if (Array.isArray(value)) return `[${value.map(writeCanonical).join(",")}]`;
  const members = [...(value as ReadonlyMap<string, Json>)].sort(byName);
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${writeCanonical(member)}`).join(",")}}`;
}

/** JavaScript compares strings by UTF-16 code units, which is the order RFC 8785 §3.2.3 asks for. */
function byName(a: readonly [string, Json], b: readonly [string, Json]): number {
  return a[0] < b[0] ? -1 : 1;
}
