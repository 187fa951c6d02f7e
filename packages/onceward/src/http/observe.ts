// `mode: observe`: the request goes its way untouched, and the history says what would have been done.

import type { BeginRequest, Begun, Engine } from "../core/engine.js";
import type { Policy } from "../core/policy.js";
import type { FingerprintDigest } from "./fingerprint.js";
import type { Observation, ResponseHead } from "./layer.js";
import { readOutcome, recordedAnswer } from "./layer-claim.js";
import type { RunDraft } from "./run-log.js";

export interface ObserverFacts {
  readonly engine: Engine;
  readonly policy: Policy;
  readonly run: RunDraft;
  readonly digest: FingerprintDigest | null;
  /** All but the fingerprint, which is known when the body has passed. Its record is apart from enforced ones. */
  readonly request: Omit<BeginRequest, "fingerprint">;
}

/** Claims when the request's body has passed, so that duplicates meet as they would, and records no answer's body. */
export class Observer implements Observation {
  readonly #facts: ObserverFacts;
  #begun: Promise<Begun> | null = null;

  constructor(facts: ObserverFacts) {
    this.#facts = facts;
  }

  requestChunk(chunk: Uint8Array): void {
    this.#facts.digest?.update(chunk);
  }

  requestEnd(): void {
    const { engine, request, digest } = this.#facts;
    this.#begun ??= engine.begin({ ...request, fingerprint: digest?.digest() ?? null });
  }

  responseEnd(head: ResponseHead | null): void {
    if (this.#begun === null) {
      // The upload broke off: it would have claimed nothing.
      this.#end(head, "nothing");
      return;
    }
    void this.#begun.then((begun) => this.#conclude(begun, head));
  }

  async #conclude(begun: Begun, head: ResponseHead | null): Promise<void> {
    if (begun.kind === "replay" || begun.kind === "unknown") this.#facts.run.duplicate();
    this.#end(head, this.#wouldHave(begun));
    if (begun.kind !== "owned") return;
    const { claim } = begun;
    const outcome = head === null ? "unknown" : readOutcome(head, this.#facts.policy);
    if (head === null || outcome === "unknown") await claim.interrupt(502);
    else if (outcome === "not-started") await claim.release();
    else await claim.complete(recordedAnswer({ ...head, body: null }, this.#facts.policy));
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
