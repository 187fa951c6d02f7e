// The state machine against SPEC §4's table, written out here row by row and not derived from the code.

import { describe, expect, test } from "vitest";
import { decide, type MachineRules, sameFingerprint } from "../../src/core/machine.js";
import type { RecordState, StoredRecord } from "../../src/core/record.js";

const NOW = 1_000_000;
const PRINTS = { same: "x1:aa", differs: "x1:bb", none: null, "of another kind": "j1:aa" } as const;

const REPLAY = "replay";
const REUSED = "refuse key_reused";
const IN_PROGRESS = "refuse in_progress";
const DUPLICATE = "refuse duplicate";

function record(state: RecordState, live: boolean): StoredRecord {
  return {
    id: "i",
    state,
    fence: "f",
    fingerprint: "x1:aa",
    createdAt: 0,
    expiresAt: NOW + 1_000,
    // At its very end a lease has lapsed.
    leaseUntil: live ? NOW + 1 : NOW,
    endedAt: null,
    status: null,
    payload: null,
    account: "a",
    key: "k",
    operation: "POST /",
    runId: "r",
  };
}

function decided(state: RecordState, live: boolean, print: keyof typeof PRINTS, rules: MachineRules): string {
  const decision = decide(record(state, live), NOW, PRINTS[print], rules);
  return decision.do === "refuse" ? `refuse ${decision.code}` : decision.do;
}

/** What the table says where the fingerprint is not known to differ, or `onMismatch` is `replay`. */
const SAME: Record<string, Record<MachineRules["onInterrupted"], string>> = {
  "running, lease lapsed": { hold: "hold", rerun: "take-over", recover: "ask" },
  "unknown, lease lapsed": { hold: "answer-unknown", rerun: "take-over", recover: "ask" },
  // SPEC §4.2: a stalled owner that came back and renews is not to be robbed.
  "unknown, lease live": { hold: "answer-unknown", rerun: "answer-unknown", recover: "answer-unknown" },
};

describe("SPEC §4, the table", () => {
  const every: MachineRules[] = [];
  for (const onMismatch of ["reject", "replay"] as const)
    for (const duplicates of ["replay", "reject"] as const)
      for (const waits of [false, true])
        for (const onInterrupted of ["hold", "rerun", "recover"] as const)
          every.push({ onMismatch, duplicates, waits, onInterrupted });

  test.each(every)(
    "onMismatch $onMismatch, duplicates $duplicates, waits $waits, onInterrupted $onInterrupted",
    (rules) => {
      for (const live of [false, true])
        for (const state of ["running", "done", "unknown"] as const)
          for (const print of ["same", "differs", "none", "of another kind"] as const) {
            const answer = decided(state, live, print, rules);
            const row = `${state}, lease ${live ? "live" : "lapsed"}`;
            let wanted: string | undefined;
            if (print === "differs" && rules.onMismatch === "reject") wanted = REUSED;
            else if (state === "done") wanted = rules.duplicates === "reject" ? DUPLICATE : REPLAY;
            else if (row === "running, lease live") wanted = rules.waits ? "wait" : IN_PROGRESS;
            else wanted = SAME[row]?.[rules.onInterrupted];
            expect([row, print, answer]).toEqual([row, print, wanted]);
          }
    },
  );
});

describe("SPEC §5.6 comparison", () => {
  test("where there is no fingerprint none is compared", () => {
    expect(sameFingerprint(null, "x1:aa")).toBe(true);
    expect(sameFingerprint("x1:aa", null)).toBe(true);
    expect(sameFingerprint(null, null)).toBe(true);
  });

  test("only digests of one tag are compared, so that a change of policy refuses no retry", () => {
    expect(sameFingerprint("x1:aa", "x1:aa")).toBe(true);
    expect(sameFingerprint("x1:aa", "x1:ab")).toBe(false);
    expect(sameFingerprint("x1:aa", "j1:ab")).toBe(true);
    expect(sameFingerprint("x1:aa", "x12:ab")).toBe(true);
    expect(sameFingerprint("f1.01:aa", "f1.02:ab")).toBe(true);
  });
});
