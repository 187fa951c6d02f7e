// The claim that a case's handler was given.

import assert from "node:assert/strict";
import type { IdempotencyClaim } from "../../http/claim.js";
import type { CaseRequest } from "./bench.js";

/** The claim, which is there behind the middleware, with a key or without. */
export function claimOf(request: CaseRequest): IdempotencyClaim<unknown> {
  assert.ok(request.claim !== null, "behind the middleware there is always a claim");
  return request.claim;
}
