// The pure state machine: (what the store found, the rules, the store's now) → what to do.
//
// The table of SPEC §4, told in prose. A key that another request used is refused first, whatever became of it, unless
// the policy compares nothing. A done record is replayed. While the owner is believed alive, a duplicate is told to come
// back or waits. When its lease has lapsed nobody knows what happened: `hold` makes the record unknown, `rerun` takes it
// over, `recover` asks. An unknown record stays so under `hold`; under the other two it is taken over or asked about
// again, but not while a stalled owner that came back keeps its lease alive.

import type { RequestErrorCode } from "./errors.js";
import { isLapsed, type StoredRecord } from "./record.js";

/** What of a policy the machine looks at. */
export interface MachineRules {
  readonly onMismatch: "reject" | "replay";
  readonly duplicates: "replay" | "reject";
  /** Whether duplicates wait while the operation runs. */
  readonly waits: boolean;
  readonly onInterrupted: "hold" | "rerun" | "recover";
}

export type Decision =
  | { readonly do: "replay" }
  | { readonly do: "refuse"; readonly code: RequestErrorCode }
  | { readonly do: "wait" }
  /** Answer `outcome_unknown`; the record says so already. */
  | { readonly do: "answer-unknown" }
  /** Make it unknown, then answer so. */
  | { readonly do: "hold" }
  | { readonly do: "take-over" }
  | { readonly do: "ask" };

/** What a request is to do about the record it found. */
export function decide(record: StoredRecord, now: number, fingerprint: string | null, rules: MachineRules): Decision {
  if (rules.onMismatch === "reject" && !sameFingerprint(record.fingerprint, fingerprint)) {
    return { do: "refuse", code: "key_reused" };
  }
  const lapsed = isLapsed(record, now);
  switch (record.state) {
    case "done":
      return rules.duplicates === "reject" ? { do: "refuse", code: "duplicate" } : { do: "replay" };
    case "running":
      if (!lapsed) return rules.waits ? { do: "wait" } : { do: "refuse", code: "in_progress" };
      return interrupted(rules, "hold");
    case "unknown":
      return lapsed ? interrupted(rules, "answer-unknown") : { do: "answer-unknown" };
  }
}

function interrupted(rules: MachineRules, held: "hold" | "answer-unknown"): Decision {
  if (rules.onInterrupted === "rerun") return { do: "take-over" };
  return { do: rules.onInterrupted === "recover" ? "ask" : held };
}

/**
 * Whether two fingerprints may be of the same request. Only digests of one kind (the tag before the colon) can be
 * compared: after a change of policy (`exact` to `json`, another list of fields, `off`) the old records hold digests of
 * another kind, and to call them different would turn the retries of honest clients into `key_reused` at the very
 * moment of a deployment.
 */
export function sameFingerprint(a: string | null, b: string | null): boolean {
  if (a === null || b === null || a === b) return true;
  return a.slice(0, a.indexOf(":")) !== b.slice(0, b.indexOf(":"));
}
