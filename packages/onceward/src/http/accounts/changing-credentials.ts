// Tells credentials that differ between a request and its retry (SPEC S3).

import type { Authorization } from "./authorization.js";

/**
 * Schemes whose credential is computed for each request. Beside those that SPEC S3 names: their relatives of other
 * vendors, which change just as much.
 */
const PER_REQUEST: ReadonlySet<string> = new Set([
  "digest",
  "dpop",
  "hawk",
  "signature",
  "negotiate",
  "ntlm",
  "kerberos",
  "mac",
  "hoba",
  "mutual",
  "gnap",
  "vapid",
  "privatetoken",
  "aws",
  "sharedkey",
  "sharedkeylite",
]);
const PER_REQUEST_FAMILY = /^(?:aws4|goog4|acs3|scram|hmac|escher|eg1|tc3)-/;
const PASETO = /^v\d+\.(?:local|public)\./;

/** `signature` where it is computed for each request, `token` where it is replaced when refreshed, null where it stays. */
export function changes({ scheme, credential }: Authorization): "token" | "signature" | null {
  if (PER_REQUEST.has(scheme) || PER_REQUEST_FAMILY.test(`${scheme}-`)) return "signature";
  // OAuth 1.0 signs each request (RFC 5849 §3.5.1); others say `OAuth` and mean a token that stays.
  if (scheme === "oauth" && /(?:^|[\s,])oauth_[a-z_]+=/.test(credential)) return "signature";
  return isJwt(credential) || PASETO.test(credential) ? "token" : null;
}

/**
 * Whether a text is a credential as it was presented: the value of an Authorization header, or a signed token. Neither
 * may be the name of an account, which is shown and kept (SPEC §9.2).
 */
export function presentedAsIs(text: string): boolean {
  return /^(?:basic|bearer|dpop) ./i.test(text) || isJwt(text) || PASETO.test(text);
}

/** Whether it is a JWT (RFC 7519), signed or encrypted: dots alone do not make one, many API keys have them. */
function isJwt(credential: string): boolean {
  const parts = credential.split(".");
  const header = parts[0] ?? "";
  if ((parts.length !== 3 && parts.length !== 5) || !/^[A-Za-z0-9_-]+$/.test(header)) return false;
  try {
    const value: unknown = JSON.parse(atob(header.replaceAll("-", "+").replaceAll("_", "/")));
    return typeof value === "object" && value !== null && "alg" in value;
  } catch {
    return false;
  }
}
