// The account by HTTP Basic authentication (RFC 7617): user and password together.

import { type AccountReading, type HeaderList, headerValues } from "onceward/http";
import { parseAuthorization } from "./authorization.js";
import { digestAccount } from "./digest.js";
import type { Keyring } from "./keyring.js";
import { refused, unidentified } from "./refusal.js";

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;
const COLON = 0x3a;

/**
 * The whole credential counts: the upstream has not verified it yet, and by the user's name alone anybody could reach
 * another's records. Nothing of it is shown, since some APIs carry their secret as the user's name.
 */
export function basicAccount(
  headers: HeaderList,
  anonymous: "reject" | "share",
  keyring: Keyring,
): AccountReading | Promise<AccountReading> {
  const values = headerValues(headers, "authorization");
  const [value] = values;
  if (values.length > 1) return refused("The Authorization header was sent more than once: send it once.");
  if (value === undefined) return unidentified(anonymous, "The request carries no Authorization header");
  const parsed = parseAuthorization(value);
  if (parsed === "empty") return refused("The Authorization header holds no credential.");
  if (parsed.scheme !== "basic") {
    return refused(
      "The Authorization header is not of the scheme Basic, which accounts are told apart by here: `account: { from: basic }`.",
    );
  }
  const decoded = BASE64.test(parsed.credential) ? Buffer.from(parsed.credential, "base64") : null;
  // Padding is optional to many clients; spare bits that are set make another spelling of the same credential.
  if (
    decoded === null ||
    !decoded.includes(COLON) ||
    unpadded(decoded.toString("base64")) !== unpadded(parsed.credential)
  ) {
    return refused(
      "The Authorization header is not well-formed Basic authentication: Base64 of user, colon, password.",
    );
  }
  return digestAccount(keyring, "basic", [decoded]);
}

function unpadded(base64: string): string {
  return base64.replace(/=+$/, "");
}
