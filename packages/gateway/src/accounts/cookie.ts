// The account by a session cookie.

import {
  type AccountReading,
  type HeaderList,
  headerValues,
  refused,
  unidentified,
  withoutWhiteSpace,
} from "onceward/http";
import { digestAccount } from "./digest.js";
import type { Keyring } from "./keyring.js";
import { SHARE } from "./mending.js";

export interface CookieRules {
  readonly name: string;
  readonly anonymous: "reject" | "share";
}

/** The cookie's value counts exactly as sent, quotes included; which of two the upstream would believe is not known. */
export function cookieAccount(
  headers: HeaderList,
  rules: CookieRules,
  keyring: Keyring,
): AccountReading | Promise<AccountReading> {
  const values = cookieValues(headers, rules.name);
  const [value] = values;
  if (values.length > 1) return refused(`The cookie ${rules.name} was sent more than once: send it once.`);
  if (value === undefined) return unidentified(rules.anonymous, `The request carries no cookie ${rules.name}`, SHARE);
  if (value === "") return refused(`The cookie ${rules.name} is empty.`);
  return digestAccount(keyring, "cookie", { kind: "presented", parts: [rules.name, value] });
}

/** All values of a cookie (RFC 6265 §4.2.1, split as §5.2 does); names are compared exactly. */
function cookieValues(headers: HeaderList, name: string): string[] {
  const found: string[] = [];
  for (const header of headerValues(headers, "cookie")) {
    for (const pair of header.split(";")) {
      const equals = pair.indexOf("=");
      // A pair without `=` has a value and no name.
      if (equals < 0 || withoutWhiteSpace(pair.slice(0, equals)) !== name) continue;
      found.push(withoutWhiteSpace(pair.slice(equals + 1)));
    }
  }
  return found;
}
