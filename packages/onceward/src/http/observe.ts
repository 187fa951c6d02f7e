// `mode: observe`: the request goes its way untouched, and the history says what would have been done.

import type { Begun } from "../core/engine.js";
import type { Policy } from "../core/policy.js";
import type { Answer } from "../core/record.js";
import type { FingerprintDigest } from "./fingerprint.js";
import type { Observation, ResponseHead } from "./layer.js";
import { readOutcome, recordedAnswer } from "./layer-claim.js";
import type { RunDraft } from "./run-log.js";

export interface ObserverFacts {
  readonly policy: Policy;
  readonly run: RunDraft;
  readonly digest: FingerprintDigest | null;
  /** Begins with the fingerprint, which is known when the body has passed. Its record is apart from enforced ones. */
  readonly begin: (fingerprint: string | null) => Promise<Begun>;
}

/** Claims when the request's body has passed, so that duplicates meet as they would, and records no answer's body. */
export class Observer implements Observation {
  readonly #facts: ObserverFacts;
  #begun: Promise<Begun> | null = null;
  #ended = false;

  constructor(facts: ObserverFacts) {
    this.#facts = facts;
  }

  requestChunk(chunk: Uint8Array): void {
    this.#facts.digest?.update(chunk);
  }

  requestEnd(): void {
    // A claim made after the response would never be ended.
    if (this.#ended) return;
    this.#begun ??= this.#begin();
    // Whoever concludes is told; where nobody does, it is no unhandled rejection.
    this.#begun.catch(() => {});
  }

  responseEnd(head: ResponseHead | null): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#begun === null) {
      // The upload broke off: it would have claimed nothing.
      this.#end(head, "nothing");
      return;
    }
    this.#begun.then((begun) => this.#conclude(begun, head)).catch(() => this.#end(head, "failed"));
  }

  async #begin(): Promise<Begun> {
    const { begin, digest } = this.#facts;
    return begin(digest?.digest() ?? null);
  }

  async #conclude(begun: Begun, head: ResponseHead | null): Promise<void> {
    const met = begun.kind === "owned" ? null : begun.record;
    if (met !== null && !(begun.kind === "refused" && begun.code === "key_reused")) this.#facts.run.duplicate();
    this.#end(head, this.#wouldHave(begun));
    if (begun.kind !== "owned") return;
    const { claim } = begun;
    const outcome = head === null ? "unknown" : readOutcome(head, this.#facts.policy);
    const answer = head === null || outcome !== "final" ? null : this.#recorded(head);
    if (outcome === "not-started") await claim.release();
    else if (answer === null) await claim.interrupt(502);
    else await claim.complete(answer);
  }

  /** As enforcing would: an answer that cannot be recorded leaves the outcome unknown. */
  #recorded(head: ResponseHead): Answer | null {
    try {
      return recordedAnswer({ ...head, body: null }, this.#facts.policy);
    } catch {
      return null;
    }
  }

  #wouldHave(begun: Begun): string {
    switch (begun.kind) {
      case "owned":
        return "run";
      case "replay":
        return "replay";
      case "unknown":
        return "outcome_unknown";
      case "refused":
        return begun.code;
    }
  }

  #end(head: ResponseHead | null, code: string): void {
    this.#facts.run.end({ outcome: "observed", status: head?.status ?? null, code });
  }
}
