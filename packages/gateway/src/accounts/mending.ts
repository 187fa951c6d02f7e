// How a refusal is mended, in the settings of the gateway (SPEC S3).

/** Of a request that presents nothing. */
export const SHARE = "Send the credential with each request, or have the operator set `account: { anonymous: share }`.";

/** Of a request that carries only cookies. */
export const NAME_COOKIE = "The operator can name the session's cookie: `account: { from: cookie, name: … }`.";

/** Of a credential that is another one when the request is retried. */
export const CHANGING =
  "The operator can take the account from a claim of the token, `account: { from: jwt, claim: sub, … }`, or state that credentials stay the same for as long as keys are kept, `account: { changingCredentials: accept }`.";
