// The keys that JWTs are verified with, and the algorithms that fit each kind (RFC 8725 §3.1).

import { createPublicKey, type KeyObject } from "node:crypto";
import { createRemoteJWKSet, type JWTVerifyGetKey } from "jose";
import { IdempotencyError } from "onceward";
import type { AccountConfig } from "../config/config.js";

export type JwtConfig = Extract<AccountConfig, { from: "jwt" }>;

/** How often a JWKS is fetched, in milliseconds. */
export interface JwksTiming {
  /** A fetch that takes longer has failed. Default 5000. */
  readonly timeoutMs?: number;
  /** After a fetch an unknown key id fetches again only so much later, whoever makes them up. Default 30,000. */
  readonly cooldownMs?: number;
  /** Keys are believed for so long. Default 600,000. */
  readonly maxAgeMs?: number;
}

export interface VerificationKeys {
  readonly key: Uint8Array | KeyObject | JWTVerifyGetKey;
  readonly algorithms: string[];
}

const HMAC = ["HS256", "HS384", "HS512"];
const RSA_PSS = ["PS256", "PS384", "PS512"];
const RSA = ["RS256", "RS384", "RS512", ...RSA_PSS];
const EDDSA = ["EdDSA", "Ed25519"];
const ASYMMETRIC = [...RSA, "ES256", "ES384", "ES512", ...EDDSA];
const BY_CURVE: Readonly<Record<string, string>> = { prime256v1: "ES256", secp384r1: "ES384", secp521r1: "ES512" };

/**
 * Keys and algorithms of a configuration. A secret verifies HMAC only and a public key never does, so that nobody can
 * sign with what is public.
 *
 * @throws IdempotencyError `config_invalid` where a public key cannot be read or used.
 */
export function verificationKeys(config: JwtConfig, timing: JwksTiming): VerificationKeys {
  const { keys } = config;
  if (keys.kind === "secret") return { key: new TextEncoder().encode(keys.secret), algorithms: HMAC };
  if (keys.kind === "publicKey") {
    const key = readPublicKey(keys.pem);
    return { key, algorithms: algorithmsOf(key) };
  }
  const key = createRemoteJWKSet(new URL(keys.url), {
    timeoutDuration: timing.timeoutMs ?? 5_000,
    cooldownDuration: timing.cooldownMs ?? 30_000,
    cacheMaxAge: timing.maxAgeMs ?? 600_000,
  });
  return { key, algorithms: ASYMMETRIC };
}

function readPublicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch (cause) {
    const message =
      "account.publicKey is not a public key in PEM: it must begin with -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----.";
    throw new IdempotencyError("config_invalid", message, { cause });
  }
}

function algorithmsOf(key: KeyObject): string[] {
  const type = key.asymmetricKeyType;
  const curve = BY_CURVE[key.asymmetricKeyDetails?.namedCurve ?? ""];
  if (type === "rsa" && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2_048) return RSA;
  if (type === "rsa-pss") return RSA_PSS;
  if (type === "ed25519") return EDDSA;
  if (type === "ec" && curve !== undefined) return [curve];
  throw new IdempotencyError(
    "config_invalid",
    `account.publicKey is a key of type ${type ?? "unknown"} that JWTs cannot be verified with: use RSA of at least 2048 bits, EC on P-256, P-384 or P-521, or Ed25519.`,
  );
}
