// The declaration of `account` (SPEC §3, §14.3).

import { z } from "zod";
import { headerName, httpUrl, leaf, oneOf, type SecretSource, secret, text } from "./leaf.js";

interface Common {
  anonymous: "reject" | "share";
  accountKey?: SecretSource | undefined;
}

/** `account` as it is written, complete but with secrets still to be read. */
export type AccountFile =
  | (Common & { from?: "credential" | undefined; changingCredentials: "reject" | "accept" })
  | (Common & { from: "header" | "cookie"; name: string })
  | (Common & { from: "basic" })
  | { from: "single" }
  | (Common & {
      from: "jwt";
      claim: string;
      issuer: string;
      audience: string;
      jwks?: string | undefined;
      secret?: SecretSource | undefined;
      publicKey?: SecretSource | undefined;
    });

const common = {
  anonymous: leaf(
    oneOf("reject", "share"),
    "What a keyed request without any account is: refused, or one account that all share.",
  ).prefault("reject"),
  accountKey: leaf(
    secret,
    "The secret under which credentials are kept as digests, the same on every gateway of one store; left out, the first gateway creates one in the store.",
  ).optional(),
};

const forms = z.discriminatedUnion("from", [
  z.strictObject({
    from: z.literal("credential").optional(),
    changingCredentials: leaf(
      oneOf("reject", "accept"),
      "What a credential that changes between a request and its retry is: refused, or taken as the account.",
    ).prefault("reject"),
    ...common,
  }),
  z.strictObject({
    from: z.literal("header"),
    name: leaf(headerName, "The header that names the account; one that clients cannot forge."),
    ...common,
  }),
  z.strictObject({ from: z.literal("cookie"), name: leaf(text, "The cookie that names the account."), ...common }),
  z.strictObject({ from: z.literal("basic"), ...common }),
  z.strictObject({ from: z.literal("single") }),
  z.strictObject({
    from: z.literal("jwt"),
    claim: leaf(text, "The claim that names the account.").prefault("sub"),
    issuer: leaf(text, "The `iss` a token must have."),
    audience: leaf(text, "The `aud` a token must have."),
    jwks: leaf(
      httpUrl("https://login.example.com/.well-known/jwks.json"),
      "Address of the issuer's key set.",
    ).optional(),
    secret: leaf(secret, "The secret tokens are signed with (HS256, HS384, HS512).").optional(),
    publicKey: leaf(secret, "The public key tokens are signed with, PEM.").optional(),
    ...common,
  }),
]);

/** `account: single` for `account: { from: single }`, where there is nothing else to say. */
export const ACCOUNT_SHORTHANDS: readonly string[] = ["credential", "basic", "single"];

export const accountSchema: z.ZodType<AccountFile, unknown> = forms.meta({
  description: "Who is calling: keys of two accounts never meet.",
});
