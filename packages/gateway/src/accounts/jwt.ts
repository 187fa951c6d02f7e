// The account by a claim of a verified JWT (SPEC S2).

import { createHash } from "node:crypto";
import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from "jose";
import { type Clock, systemClock } from "onceward";
import {
  type AccountReading,
  claimAccount,
  type HeaderList,
  headerValues,
  invalidToken,
  parseAuthorization,
  refused,
  unidentified,
} from "onceward/http";
import { type JwksTiming, type JwtConfig, verificationKeys } from "./jwt-keys.js";
import { SHARE } from "./mending.js";
import { verifiedTokens } from "./verified-tokens.js";

export interface JwtOptions {
  readonly clock?: Clock;
  readonly jwks?: JwksTiming;
}

/** A resolver by `Authorization: Bearer`. The account is issuer and claim, so a refreshed token is the same account. */
export function jwtAccounts(
  config: JwtConfig,
  options: JwtOptions,
): (headers: HeaderList) => AccountReading | Promise<AccountReading> {
  const clock = options.clock ?? systemClock;
  const { key, algorithms } = verificationKeys(config, options.jwks ?? {});
  const verified = verifiedTokens(clock);

  const verify = async (token: string, digest: string): Promise<AccountReading> => {
    const rules: JWTVerifyOptions = {
      issuer: config.issuer,
      audience: config.audience,
      algorithms,
      requiredClaims: ["exp"],
      currentDate: new Date(clock.now()),
    };
    try {
      const payload = await payloadOf(token, key, rules);
      const reading = claimAccount(payload, config.claim, config.issuer);
      if (reading.kind === "account") verified.put(digest, reading, (payload.exp ?? 0) * 1_000);
      return reading;
    } catch (error) {
      return notVerified(error);
    }
  };

  return (headers) => {
    const values = headerValues(headers, "authorization");
    const [value] = values;
    if (values.length > 1) return refused("The Authorization header was sent more than once: send it once.");
    if (value === undefined) return unidentified(config.anonymous, "The request carries no bearer token", SHARE);
    const parsed = parseAuthorization(value);
    if (parsed === "empty") return refused("The Authorization header holds no credential.");
    if (parsed.scheme !== "bearer") {
      return refused(
        "The Authorization header is not of the scheme Bearer, which accounts are told apart by here: `account: { from: jwt }`.",
      );
    }
    const digest = createHash("sha256").update(parsed.credential, "latin1").digest("base64");
    return verified.get(digest) ?? verify(parsed.credential, digest);
  };
}

type Key = ReturnType<typeof verificationKeys>["key"];

async function payloadOf(token: string, key: Key, rules: JWTVerifyOptions): Promise<JWTPayload> {
  if (typeof key !== "function") return (await jwtVerify(token, key, rules)).payload;
  try {
    return (await jwtVerify(token, key, rules)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    // A token without a key id, and several keys that fit its algorithm: any of them may have signed it.
    for await (const candidate of error) {
      try {
        return (await jwtVerify(token, candidate, rules)).payload;
      } catch (failure) {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** Only a fault of the token is the caller's; where the keys cannot be had, nobody's token can be judged. */
function notVerified(error: unknown): AccountReading {
  if (error instanceof errors.JWTExpired) return invalidToken("The token has expired.");
  if (error instanceof errors.JWTClaimValidationFailed) {
    const missing = error.reason === "missing" ? "is missing" : "is not acceptable";
    return invalidToken(`The token's claim ${error.claim} ${missing}.`);
  }
  if (error instanceof errors.JOSEAlgNotAllowed)
    return invalidToken("The token is signed with an algorithm that is not accepted here.");
  if (error instanceof errors.JWKSNoMatchingKey)
    return invalidToken("The token is signed with a key that its issuer does not publish.");
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return invalidToken("The token's signature does not verify.");
  if (
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JOSENotSupported
  ) {
    return invalidToken("The bearer token is not a well-formed, signed JWT.");
  }
  return {
    kind: "refused",
    status: 503,
    detail:
      "The keys to verify tokens with cannot be fetched at the moment. Nothing was run; retry later, with the same key.",
  };
}
