// How a request whose account cannot be told is refused (SPEC S3).

import type { AccountReading } from "../layer.js";

/** Refused with 400: nothing that would tell accounts apart, or not readable. `detail` names the setting, no credential. */
export function refused(detail: string): AccountReading {
  return { kind: "refused", status: 400, detail };
}

/** The account of all callers without any, under `anonymous: share`. No other account is spelled so: they have a colon. */
export const ANONYMOUS = "anonymous";

/** A request that presents nothing: refused, or one account for all of them. `mend` says how to get another answer. */
export function unidentified(anonymous: "reject" | "share", missing: string, mend: string): AccountReading {
  if (anonymous === "share") return { kind: "account", account: ANONYMOUS };
  return refused(`${missing}, so it cannot be told whose idempotency key this is. ${mend}`);
}
