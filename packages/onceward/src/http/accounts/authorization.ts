// Reads the Authorization header (RFC 9110 §11.6.2).

import { withoutWhiteSpace } from "./white-space.js";

export interface Authorization {
  /** In lower case; empty where the value is a credential without a scheme, as some APIs have it. */
  readonly scheme: string;
  /** Exactly as sent. */
  readonly credential: string;
}

const SCHEME = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) +(?=[^ ])/;
/** Schemes that may come without anything after them; as a bare credential they would be one for everybody. */
const BARE_SCHEMES: ReadonlySet<string> = new Set([
  "basic",
  "bearer",
  "digest",
  "dpop",
  "hawk",
  "negotiate",
  "ntlm",
  "signature",
  "token",
]);

/** Scheme and credential, or `empty` where there is no credential. */
export function parseAuthorization(value: string): Authorization | "empty" {
  const text = withoutWhiteSpace(value);
  if (text === "" || BARE_SCHEMES.has(text.toLowerCase())) return "empty";
  const match = SCHEME.exec(text);
  if (match === null) return { scheme: "", credential: text };
  return { scheme: (match[1] ?? "").toLowerCase(), credential: text.slice(match[0].length) };
}
