// The default account: the credential that the caller presents, if it is one that stays the same (SPEC S1, S3).

import { type AccountReading, type HeaderList, headerValue, headerValues } from "onceward/http";
import { parseAuthorization } from "./authorization.js";
import { changes } from "./changing-credentials.js";
import { digestAccount } from "./digest.js";
import type { Keyring } from "./keyring.js";
import { refused, unidentified } from "./refusal.js";

export interface CredentialRules {
  readonly anonymous: "reject" | "share";
  readonly changingCredentials: "reject" | "accept";
}

/** Reads `Authorization` and `X-Api-Key`; both count where both are sent. */
export function credentialAccount(
  headers: HeaderList,
  rules: CredentialRules,
  keyring: Keyring,
): AccountReading | Promise<AccountReading> {
  const authorizations = headerValues(headers, "authorization");
  const apiKeys = headerValues(headers, "x-api-key");
  if (authorizations.length > 1) return refused("The Authorization header was sent more than once: send it once.");
  if (apiKeys.length > 1) return refused("The X-Api-Key header was sent more than once: send it once.");
  const [authorization] = authorizations;
  const [apiKey] = apiKeys;
  if (authorization === undefined && apiKey === undefined) return withoutCredential(headers, rules);
  if (apiKey === "") return refused("The X-Api-Key header is empty.");
  const parsed = authorization === undefined ? null : parseAuthorization(authorization);
  if (parsed === "empty") return refused("The Authorization header holds no credential.");
  if (rules.changingCredentials === "reject") {
    const what =
      (parsed === null ? null : changes(parsed)) ??
      (apiKey === undefined ? null : changes({ scheme: "", credential: apiKey }));
    if (what !== null) return refused(changing(what));
  }
  const presented = ["authorization", parsed?.scheme ?? "", parsed?.credential ?? "", "x-api-key", apiKey ?? ""];
  return digestAccount(keyring, "credential", presented);
}

/** Cookies tell callers apart, so even under `anonymous: share` those that send some are not taken for one (SPEC P3). */
function withoutCredential(headers: HeaderList, rules: CredentialRules): AccountReading {
  if (headerValue(headers, "cookie") !== undefined) {
    return refused(
      "The request carries cookies but neither Authorization nor X-Api-Key, so it cannot be told whose idempotency key this is. The operator can name the session's cookie: `account: { from: cookie, name: … }`.",
    );
  }
  return unidentified(rules.anonymous, "The request carries neither Authorization nor X-Api-Key");
}

function changing(what: "token" | "signature"): string {
  const why =
    what === "token"
      ? "The credential is a signed token, which is another one after it was refreshed"
      : "The credential is computed anew for each request";
  return `${why}: a retry would count as another account and the operation would run twice. The operator can take the account from a claim of the token, \`account: { from: jwt, claim: sub, … }\`, or state that credentials stay the same for as long as keys are kept, \`account: { changingCredentials: accept }\`.`;
}
