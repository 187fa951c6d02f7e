// Completes `account`: reads its secrets and checks the keys tokens are verified with (SPEC §3, §14.3).

import { createPublicKey } from "node:crypto";
import type { AccountFile } from "./account-schema.js";
import type { AccountConfig } from "./config.js";
import { LEAST_SECRET_LENGTH } from "./contradictions.js";
import type { Sources } from "./sources.js";

type JwtFile = Extract<AccountFile, { from: "jwt" }>;
type JwtKeys = Extract<AccountConfig, { from: "jwt" }>["keys"];

/** The account settings, or null where something in them is wrong; `sources.issues` says what. */
export function buildAccount(file: AccountFile, sources: Sources): AccountConfig | null {
  if (file.from === "single") return { from: "single", anonymous: "reject", secret: null };
  const secret = file.accountKey === undefined ? null : sources.secret(file.accountKey, ["account", "accountKey"]);
  if (secret !== null && secret.length < LEAST_SECRET_LENGTH) {
    sources.refuse(
      ["account", "accountKey"],
      " is too short to be a secret: give it at least 16 characters, at random",
    );
  }
  const common = { anonymous: file.anonymous, secret };
  switch (file.from) {
    case "header":
    case "cookie":
      return { ...common, from: file.from, name: file.name };
    case "basic":
      return { ...common, from: "basic" };
    case "jwt": {
      const keys = jwtKeys(file, sources);
      const { claim, issuer, audience } = file;
      return keys === null ? null : { ...common, from: "jwt", claim, issuer, audience, keys };
    }
    default:
      return { ...common, from: "credential", changingCredentials: file.changingCredentials };
  }
}

function jwtKeys(file: JwtFile, sources: Sources): JwtKeys | null {
  const given = (["jwks", "secret", "publicKey"] as const).filter((name) => file[name] !== undefined);
  if (given.length !== 1) {
    const what = given.length === 0 ? "none is given" : `${given.join(" and ")} are given`;
    sources.refuse(
      given.length === 0 ? ["account"] : ["account", given[1] ?? "jwks"],
      `account: tokens are verified with one of jwks, secret and publicKey, but ${what}`,
    );
    return null;
  }
  if (file.jwks !== undefined) return { kind: "jwks", url: file.jwks };
  if (file.secret !== undefined) {
    const secret = sources.secret(file.secret, ["account", "secret"]);
    return secret === null ? null : { kind: "secret", secret };
  }
  const pem = file.publicKey === undefined ? null : sources.secret(file.publicKey, ["account", "publicKey"]);
  if (pem === null) return null;
  const fault = publicKeyFault(pem);
  if (fault === null) return { kind: "publicKey", pem };
  sources.refuse(["account", "publicKey"], ` ${fault}`);
  return null;
}

function publicKeyFault(pem: string): string | null {
  // Node derives the public key of a private one, which has no place in a gateway.
  if (pem.includes("PRIVATE KEY-----")) return "is a private key; give the public one (openssl pkey -pubout makes it)";
  try {
    createPublicKey(pem);
    return null;
  } catch {
    return "is no public key; it must be PEM, starting with -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----";
  }
}
