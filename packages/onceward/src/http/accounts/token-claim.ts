// The account that a verified token names: issuer and claim, so that a refreshed token is the same account (SPEC S2).

import type { AccountReading } from "../layer.js";

/** `claims` are those of a token whose signature, times, issuer and audience hold. */
export function claimAccount(
  claims: Readonly<Record<string, unknown>>,
  claim: string,
  issuer: string | readonly string[],
): AccountReading {
  const value = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  const usable = (typeof value === "string" && value !== "") || Number.isSafeInteger(value);
  if (!usable) {
    return invalidToken(
      `The token has no claim ${claim} that is a text or a whole number; accounts are told apart by it here.`,
    );
  }
  // As JSON, so that issuer and claim cannot run into each other, and 1 is not "1" (SPEC S4).
  return { kind: "account", account: `jwt:${JSON.stringify([issuer, value])}`, label: String(value) };
}

/** RFC 6750 §3.1. */
export function invalidToken(detail: string): AccountReading {
  const description = detail.replaceAll(/[^\x20-\x21\x23-\x5B\x5D-\x7E]/g, " ");
  return {
    kind: "refused",
    status: 401,
    detail,
    wwwAuthenticate: `Bearer error="invalid_token", error_description="${description}"`,
  };
}
