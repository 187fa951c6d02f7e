// The account as a header says it, which a trusted hop in front sets.

import { type AccountReading, type HeaderList, headerValues } from "onceward/http";
import { digestAccount } from "./digest.js";
import type { Keyring } from "./keyring.js";
import { refused, unidentified } from "./refusal.js";

export interface HeaderRules {
  readonly name: string;
  readonly anonymous: "reject" | "share";
}

/** In characters; what is longer is no account's name. */
const MAX_LENGTH = 512;
const CREDENTIAL_NAME = /auth|key|token|secret|password|passwd|session|cookie|signature|bearer/i;

/** Whether a header of this name is likely to hold a credential, so that only a digest of it may be kept (SPEC §9.2). */
export function holdsCredential(name: string): boolean {
  return CREDENTIAL_NAME.test(name);
}

/** `keyring` is null where the header's value is kept as it is. */
export function headerAccount(
  headers: HeaderList,
  rules: HeaderRules,
  keyring: Keyring | null,
): AccountReading | Promise<AccountReading> {
  const name = rules.name.toLowerCase();
  const values = headerValues(headers, name);
  const [value] = values;
  if (values.length > 1) return refused(`The ${rules.name} header was sent more than once: send it once.`);
  if (value === undefined) return unidentified(rules.anonymous, `The request carries no ${rules.name} header`);
  if (value === "") return refused(`The ${rules.name} header is empty.`);
  if (keyring !== null) return digestAccount(keyring, "header", [name, value]);
  if (value.length > MAX_LENGTH) return refused(`The ${rules.name} header is longer than ${MAX_LENGTH} characters.`);
  return { kind: "account", account: `header:${value}`, label: value };
}
