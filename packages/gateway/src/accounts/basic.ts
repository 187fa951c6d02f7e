// The account by HTTP Basic authentication (RFC 7617): user and password together.

import { type AccountReading, type HeaderList, headerValues, readBasic, refused, unidentified } from "onceward/http";
import { digestAccount } from "./digest.js";
import type { Keyring } from "./keyring.js";
import { SHARE } from "./mending.js";

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
  if (value === undefined) return unidentified(anonymous, "The request carries no Authorization header", SHARE);
  const reading = readBasic(value);
  switch (reading.kind) {
    case "empty":
      return refused("The Authorization header holds no credential.");
    case "other-scheme":
      return refused(
        "The Authorization header is not of the scheme Basic, which accounts are told apart by here: `account: { from: basic }`.",
      );
    case "malformed":
      return refused(
        "The Authorization header is not well-formed Basic authentication: Base64 of user, colon, password.",
      );
    case "basic":
      return digestAccount(keyring, "basic", { kind: "presented", parts: [`${reading.user}:${reading.password}`] });
  }
}
