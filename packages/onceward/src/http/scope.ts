// The identity of a record: a digest of everything a key is unique within (SPEC S4, S5).

import { createHash, createHmac } from "node:crypto";

import type { RecordId } from "../core/record.js";

/** A scope and a key. */
export interface RecordIdParts {
  readonly namespace: string;
  readonly environment: string;
  readonly account: string;
  /** Where the policy's scope is `account+operation`; otherwise null, which differs from every operation. */
  readonly operation: string | null;
  readonly key: string;
}

/**
 * The record's id: SHA-256 over the parts as UTF-8, each with its length before it, so that account `a:b` with key `c`
 * is never account `a` with key `b:c`. Two different sets of parts never give the same bytes, whatever characters they
 * hold; lone surrogates too, which UTF-8 has no bytes for, so that those are hashed as JSON escapes under another prefix.
 */
export function recordId(parts: RecordIdParts): RecordId {
  const { namespace, environment, account, operation, key } = parts;
  const text =
    `1${part(namespace)}${part(environment)}${part(account)}` +
    `${operation === null ? "-" : part(operation)}${part(key)}`;
  const encodable = LONE_SURROGATE.test(text) ? `2${JSON.stringify(text)}` : text;
  return createHash("sha256").update(encodable, "utf8").digest("hex");
}

/** With the `u` flag a pair of surrogates is one character above this range. */
const LONE_SURROGATE = /[\uD800-\uDFFF]/u;

function part(text: string): string {
  return `${text.length}:${text}`;
}

/** HMAC-SHA256, under which the downstream keys of steps are derived (SPEC §7.2). */
export function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac("sha256", key).update(text).digest();
}

/** How a key is shown where keys are kept as digests (SPEC §9.2). */
export function hashedKey(key: string): string {
  return `sha256:${createHash("sha256").update(key).digest("hex").slice(0, 32)}`;
}
