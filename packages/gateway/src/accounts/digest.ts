// Accounts made of credentials: a digest under the account key stands for what the caller presented.

import { createHmac } from "node:crypto";
import type { AccountReading } from "onceward/http";
import type { AccountKeys, Keyring } from "./keyring.js";

/** What a caller presented, told apart part by part. */
export type Presented = readonly (string | Uint8Array)[];

/** Digits of a digest that people see. */
const SHOWN = 12;

/** The account of what was presented, with its names under the other keys. `kind` keeps the ways to tell accounts apart. */
export function digestAccount(
  keyring: Keyring,
  kind: string,
  presented: Presented,
): AccountReading | Promise<AccountReading> {
  const keys = keyring.keys();
  return keys instanceof Promise
    ? keys.then((ready) => reading(ready, kind, presented))
    : reading(keys, kind, presented);
}

function reading(keys: AccountKeys, kind: string, presented: Presented): AccountReading {
  const [inUse, ...others] = keys;
  const digest = digestOf(inUse, kind, presented);
  const previous = others.map((key) => `${kind}:${digestOf(key, kind, presented)}`);
  const label = `${kind}:${digest.slice(0, SHOWN)}`;
  return { kind: "account", account: `${kind}:${digest}`, ...(previous.length === 0 ? {} : { previous }), label };
}

/** HMAC-SHA-256 over the parts, each with its length before it (SPEC S4). */
function digestOf(key: Uint8Array, kind: string, presented: Presented): string {
  let text = "";
  // Header values are byte strings, one character a byte; so are bytes that are read as such.
  for (const part of [kind, ...presented]) {
    const bytes = typeof part === "string" ? part : Buffer.from(part).toString("latin1");
    text += `${bytes.length}:${bytes}`;
  }
  return createHmac("sha256", key).update(text, "latin1").digest("hex");
}
