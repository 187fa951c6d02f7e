// Accounts made of credentials: a digest under a secret key stands for what the caller presented (SPEC S1, §9.2).

import { createHmac } from "node:crypto";
import type { AccountReading } from "../layer.js";

/** The keys to digest credentials with: the one in use first, then the others under which records may be found. */
export type AccountKeys = readonly [inUse: Uint8Array, ...others: Uint8Array[]];

/** What a caller presented, part by part, as byte strings: one character a byte, as header values are. */
export type Presented = readonly string[];

/** Digits of a digest that people see. */
const SHOWN = 12;

/** The account of what was presented, with its names under the other keys. `kind` keeps the ways to tell accounts apart. */
export function digestReading(keys: AccountKeys, kind: string, presented: Presented): AccountReading {
  const [inUse, ...others] = keys;
  const digest = digestOf(inUse, kind, presented);
  const previous = others.map((key) => `${kind}:${digestOf(key, kind, presented)}`);
  const label = `${kind}:${digest.slice(0, SHOWN)}`;
  return { kind: "account", account: `${kind}:${digest}`, ...(previous.length === 0 ? {} : { previous }), label };
}

/** HMAC-SHA-256 over the parts, each with its length before it (SPEC S4). */
function digestOf(key: Uint8Array, kind: string, presented: Presented): string {
  const text = [kind, ...presented].map((part) => `${part.length}:${part}`).join("");
  return createHmac("sha256", key).update(text, "latin1").digest("hex");
}
