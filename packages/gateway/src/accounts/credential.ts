// The default account: the credential that the caller presents, if it is one that stays the same (SPEC S1, S3).

import { type AccountReading, type CredentialRules, type HeaderList, presentedCredential } from "onceward/http";
import { digestAccount } from "./digest.js";
import type { Keyring } from "./keyring.js";
import { CHANGING, NAME_COOKIE, SHARE } from "./mending.js";

const mend = { anonymous: SHARE, cookies: NAME_COOKIE, changing: CHANGING };

/** Reads `Authorization` and `X-Api-Key`; both count where both are sent. */
export function credentialAccount(
  headers: HeaderList,
  rules: Omit<CredentialRules, "mend">,
  keyring: Keyring,
): AccountReading | Promise<AccountReading> {
  const { anonymous, changingCredentials } = rules;
  return digestAccount(keyring, "credential", presentedCredential(headers, { anonymous, changingCredentials, mend }));
}
