// Ways to tell who is calling (SPEC S1), for the option `account` of every adapter.

import { IdempotencyError } from "../core/errors.js";
import { parseAuthorization } from "./accounts/authorization.js";
import { readBasic } from "./accounts/basic-credential.js";
import { type Presentation, presentedCredential } from "./accounts/credential.js";
import { type AccountKeys, digestReading } from "./accounts/digest.js";
import { holdsCredential, namedByHeader, presentedHeader } from "./accounts/header-account.js";
import { refused, unidentified } from "./accounts/refusal.js";
import type { AccountResolver } from "./accounts/resolver.js";
import { claimAccount, invalidToken } from "./accounts/token-claim.js";
import type { AccountReading } from "./layer.js";
import { type HeaderList, headerValues } from "./message.js";

export type { AccountResolver } from "./accounts/resolver.js";

/**
 * A secret that credentials are digested under, of at least 16 characters; in a list the one in use comes first, then
 * those it replaced, under which records are still found. Leave a replaced one there for one retention.
 */
export type AccountSecret = string | readonly [inUse: string, ...replaced: string[]];

export interface CredentialOptions {
  readonly secret: AccountSecret;
  /** What a request without a credential is: refused (default), or all of them one account. */
  readonly anonymous?: "reject" | "share";
}

export interface AuthorizationOptions extends CredentialOptions {
  /**
   * Whether credentials are taken that are others when they are presented again, such as signed tokens (SPEC S3). A
   * retry with another one runs the operation again, so `accept` says that they stay the same. Default `reject`.
   */
  readonly changingCredentials?: "reject" | "accept";
}

export interface JwtOptions {
  /**
   * Verifies a token (signature, `exp`, `nbf`, issuer, audience) and answers its claims; throws or rejects where it does
   * not hold. Such as jose's: `(token) => jwtVerify(token, keys, { issuer, audience })`.
   */
  readonly verify: (token: string) => VerifiedToken | Promise<VerifiedToken>;
  /** The issuer, or those that are accepted; the token's `iss` is held against it once more. */
  readonly issuer: string | readonly string[];
  /** The claim that names the account, a text or a whole number. Default `sub`. */
  readonly claim?: string;
  /** What a request without a token is: refused (default), or all of them one account. */
  readonly anonymous?: "reject" | "share";
}

export interface VerifiedToken {
  readonly payload: object;
}

/** There is only one account: every caller shares all keys. */
export const singleTenant: AccountResolver<unknown> = () => ({ kind: "account", account: "single:", label: "single" });

/**
 * The account that a header names. Only for a header that a trusted gateway in front sets, and takes away from what its
 * clients send: whoever can set it can have any account's answers (SPEC S2). One whose name sounds like a credential's
 * (`X-Api-Key`) needs `secret`, under which its value is digested (SPEC §9.2).
 *
 * @throws IdempotencyError `config_invalid`.
 */
export function accountFromHeader(name: string, options?: Partial<CredentialOptions>): AccountResolver<unknown> {
  const { secret, anonymous = "reject" } = options ?? {};
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) throw invalid(`"${name}" is no name of a header.`);
  if (secret === undefined && holdsCredential(name))
    throw invalid(
      `the header ${name} sounds like a credential's, which may not be kept as it is: give \`secret\` too, so that a digest is kept.`,
    );
  const keys = secret === undefined ? null : accountKeys(secret);
  const mend = `Send ${name} with each request, or have the application set \`anonymous: "share"\`.`;
  return (_request, headers) => {
    const presented = presentedHeader(headers, name, anonymous, mend);
    if (presented.kind !== "presented" || keys !== null) return digested(presented, "header", keys);
    return namedByHeader(presented.parts, name);
  };
}

/**
 * The account that the presented credential stands for: `Authorization` and `X-Api-Key`, both where both are sent, held
 * as a digest under `secret` (SPEC S1). Credentials that change between a request and its retry are refused (SPEC S3).
 * It verifies nothing: that is for the application's own authentication.
 *
 * @throws IdempotencyError `config_invalid`.
 */
export function accountFromAuthorization(options: AuthorizationOptions): AccountResolver<unknown> {
  const { anonymous = "reject", changingCredentials = "reject" } = options;
  const keys = accountKeys(options.secret);
  const mend = {
    anonymous: 'Send the credential with each request, or have the application set `anonymous: "share"`.',
    cookies: "The application can answer the session's user: `account: (request) => …`.",
    changing:
      'The application can take the account from a claim of the token, `accountFromJwt`, or state that credentials stay the same for as long as keys are kept, `changingCredentials: "accept"`.',
  };
  return (_request, headers) =>
    digested(presentedCredential(headers, { anonymous, changingCredentials, mend }), "credential", keys);
}

/**
 * The account that the user of HTTP Basic authentication is, once `verify` says that the password is his (SPEC S2). Both
 * are given as UTF-8, or as ISO 8859-1 where they are not. A changed password is the same account.
 */
export function accountFromBasicUser(options: {
  readonly verify: (user: string, password: string) => boolean | Promise<boolean>;
}): AccountResolver<unknown> {
  const { verify } = options;
  if (typeof verify !== "function")
    throw invalid("`verify` is missing: a user's name that nobody verified is anybody's.");
  return async (_request, headers) => {
    const value = onlyAuthorization(headers, "user", "reject");
    if (typeof value !== "string") return value;
    const reading = readBasic(value);
    if (reading.kind !== "basic") return refused(`The Authorization header is not Basic authentication that is whole.`);
    const user = decoded(reading.user);
    if (await verify(user, decoded(reading.password)))
      return { kind: "account", account: `basic-user:${user}`, label: user };
    const detail = "The user's name and password do not verify.";
    return { kind: "refused", status: 401, detail, wwwAuthenticate: 'Basic realm="api", charset="UTF-8"' };
  };
}

/**
 * The account that a verified bearer token names: issuer and claim, so that a refreshed token is the same account (SPEC
 * S2). The library verifies no signatures itself; `verify` does, and what it answers is all that is believed. A token
 * that does not hold is 401; where the keys cannot be fetched (jose's timeout, a failed `fetch`) it is 503.
 *
 * @throws IdempotencyError `config_invalid`.
 */
export function accountFromJwt(options: JwtOptions): AccountResolver<unknown> {
  const { verify, claim = "sub", anonymous = "reject" } = options;
  const issuers = typeof options.issuer === "string" ? [options.issuer] : options.issuer;
  if (typeof verify !== "function")
    throw invalid(
      "`verify` is missing: a claim of a token that nobody verified is anybody's. Give jose's `jwtVerify`.",
    );
  if (
    !Array.isArray(issuers) ||
    issuers.length === 0 ||
    issuers.some((name) => typeof name !== "string" || name === "")
  )
    throw invalid("`issuer` is missing: a claim names an account together with who issued it.");
  return async (_request, headers) => {
    const value = onlyAuthorization(headers, "bearer token", anonymous);
    if (typeof value !== "string") return value;
    const parsed = parseAuthorization(value);
    if (parsed === "empty" || parsed.scheme !== "bearer")
      return refused("The Authorization header holds no bearer token, which accounts are told apart by here.");
    let claims: Readonly<Record<string, unknown>>;
    try {
      const verified = await verify(parsed.credential);
      claims = { ...verified.payload };
    } catch (error) {
      return notVerified(error);
    }
    const { iss, exp } = claims;
    if (typeof iss !== "string" || !issuers.includes(iss))
      return invalidToken("The token is not of an issuer that is accepted here.");
    // For functions that only decode: an old token must not name an account.
    if (typeof exp !== "number" || exp * 1_000 <= Date.now())
      return invalidToken("The token has expired, or does not say when it expires.");
    return claimAccount(claims, claim, iss);
  };
}

/** The value of the one Authorization header, or what there is without. */
function onlyAuthorization(headers: HeaderList, what: string, anonymous: "reject" | "share"): string | AccountReading {
  const values = headerValues(headers, "authorization");
  if (values.length > 1) return refused("The Authorization header was sent more than once: send it once.");
  const mend = "Send it with each request.";
  return values[0] ?? unidentified(anonymous, `The request carries no ${what}`, mend);
}

function notVerified(error: unknown): AccountReading {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  const outOfReach = code === "ERR_JWKS_TIMEOUT" || code === "ERR_JOSE_GENERIC" || error instanceof TypeError;
  if (!outOfReach) return invalidToken("The bearer token does not verify.");
  const detail = "The keys to verify tokens with cannot be had now. Nothing was run; retry later, with the same key.";
  return { kind: "refused", status: 503, detail };
}

function digested(presentation: Presentation, kind: string, keys: AccountKeys | null): AccountReading {
  if (presentation.kind !== "presented") return presentation;
  if (keys === null) throw new TypeError("What was presented is digested under a key.");
  return digestReading(keys, kind, presentation.parts);
}

function accountKeys(secret: AccountSecret): AccountKeys {
  const [first, ...rest] = (typeof secret === "string" ? [secret] : (secret ?? [])).map((text) => {
    if (typeof text !== "string" || text.length < 16)
      throw invalid(
        "`secret` must be a text of at least 16 characters, or a list of such: `openssl rand -base64 32` makes one.",
      );
    return new TextEncoder().encode(text);
  });
  if (first === undefined) throw invalid("`secret` is missing: credentials are kept as digests under it.");
  return [first, ...rest];
}

/** RFC 7617 §2.1: UTF-8 to nearly every client. */
function decoded(bytes: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
  } catch {
    return bytes;
  }
}

function invalid(message: string): IdempotencyError {
  return new IdempotencyError("config_invalid", `The account of the idempotency options is not valid: ${message}`);
}
