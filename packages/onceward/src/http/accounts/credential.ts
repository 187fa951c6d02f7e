// Reads what a request presents of its caller, where it is something that stays the same over retries (SPEC S1, S3).

import type { AccountReading } from "../layer.js";
import { type HeaderList, headerValue, headerValues } from "../message.js";
import { parseAuthorization } from "./authorization.js";
import { changes } from "./changing-credentials.js";
import type { Presented } from "./digest.js";
import { refused, unidentified } from "./refusal.js";

export interface CredentialRules {
  readonly anonymous: "reject" | "share";
  readonly changingCredentials: "reject" | "accept";
  /** How each refusal is mended, in the settings of whoever refuses. */
  readonly mend: {
    readonly anonymous: string;
    readonly cookies: string;
    readonly changing: string;
  };
}

/** What there is to make an account of, or the account or refusal that there is without it. */
export type Presentation = { readonly kind: "presented"; readonly parts: Presented } | AccountReading;

/** `Authorization` and `X-Api-Key`; both count where both are sent. */
export function presentedCredential(headers: HeaderList, rules: CredentialRules): Presentation {
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
    if (what !== null) return refused(changing(what, rules.mend.changing));
  }
  const parts = ["authorization", parsed?.scheme ?? "", parsed?.credential ?? "", "x-api-key", apiKey ?? ""];
  return { kind: "presented", parts };
}

/** Cookies tell callers apart, so even under `anonymous: share` those that send some are not taken for one (SPEC P3). */
function withoutCredential(headers: HeaderList, { anonymous, mend }: CredentialRules): AccountReading {
  if (headerValue(headers, "cookie") !== undefined) {
    return refused(
      `The request carries cookies but neither Authorization nor X-Api-Key, so it cannot be told whose idempotency key this is. ${mend.cookies}`,
    );
  }
  return unidentified(anonymous, "The request carries neither Authorization nor X-Api-Key", mend.anonymous);
}

function changing(what: "token" | "signature", mend: string): string {
  const why =
    what === "token"
      ? "The credential is a signed token, which is another one after it was refreshed"
      : "The credential is computed anew for each request";
  return `${why}: a retry would count as another account and the operation would run twice. ${mend}`;
}
