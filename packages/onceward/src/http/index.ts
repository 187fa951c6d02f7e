// The public entry of the HTTP layer: what adapters, the gateway and tools build on.
export { parseAuthorization } from "./accounts/authorization.js";
export { type BasicReading, readBasic } from "./accounts/basic-credential.js";
export { type CredentialRules, type Presentation, presentedCredential } from "./accounts/credential.js";
export { type AccountKeys, digestReading, type Presented } from "./accounts/digest.js";
export { holdsCredential, namedByHeader, presentedHeader } from "./accounts/header-account.js";
export { ANONYMOUS, refused, unidentified } from "./accounts/refusal.js";
export { claimAccount, invalidToken } from "./accounts/token-claim.js";
export { withoutWhiteSpace } from "./accounts/white-space.js";
export { Budget } from "./budget.js";
export { connectionNamed, isHopByHop } from "./connection-headers.js";
export { MAX_CANONICAL_BYTES } from "./fingerprint.js";
export { createLayer } from "./handle.js";
export { Housekeeping, type HousekeepingDeps, type HousekeepingSettings } from "./housekeeping.js";
export { type Html, html, htmlPage, joined, PAGE_CSP } from "./html.js";
export * from "./layer.js";
export * from "./message.js";
export { Spool } from "./node/spool.js";
export { normalisePath, type PathReading } from "./path.js";
export {
  accountProblem,
  type ErrorFormat,
  isRequestErrorCode,
  type Problem,
  problem,
  problemResponse,
} from "./problem.js";
export {
  decodeResponse,
  encodeResponse,
  isOwnHeader,
  type RecordedResponse,
  recordableHeaders,
  withContentLength,
} from "./replay.js";
export { compileRoutePattern, parseRouteMatch, type RouteMatch } from "./route-pattern.js";
export { hashedKey, type RecordIdParts, recordId } from "./scope.js";
export { type KeyQuestion, type KeyStatusDeps, keyStatus } from "./well-known/key-status.js";
export { DOCUMENT_PATH, type DocumentedRoute, KEYS_PATH, policyDocument } from "./well-known/policy-document.js";
export type { KeyStatus, PolicyDocument, PublishedPolicy, RoutePolicy } from "./well-known/published.js";
export { representations } from "./well-known/representations.js";
