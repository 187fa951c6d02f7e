// The account as a header says it, which a trusted hop in front sets.

import { type AccountReading, type HeaderList, namedByHeader, presentedHeader } from "onceward/http";
import { digestAccount } from "./digest.js";
import type { Keyring } from "./keyring.js";
import { SHARE } from "./mending.js";

export interface HeaderRules {
  readonly name: string;
  readonly anonymous: "reject" | "share";
}

/** `keyring` is null where the header's value is kept as it is. */
export function headerAccount(
  headers: HeaderList,
  { name, anonymous }: HeaderRules,
  keyring: Keyring | null,
): AccountReading | Promise<AccountReading> {
  const presented = presentedHeader(headers, name, anonymous, SHARE);
  if (keyring !== null) return digestAccount(keyring, "header", presented);
  return presented.kind === "presented" ? namedByHeader(presented.parts, name) : presented;
}
