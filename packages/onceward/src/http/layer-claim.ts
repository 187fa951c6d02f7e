// The owner's side of a keyed request over HTTP: what of its answer is recorded, and what the client is sent.

import type { OwnedClaim } from "../core/claim.js";
import type { TransactionEnd } from "../core/claim-transaction.js";
import type { RunFlag } from "../core/history.js";
import type { Policy } from "../core/policy.js";
import type { Answer } from "../core/record.js";
import type { StepContext } from "../core/steps.js";
import type { Transactions } from "../core/transactions.js";
import type { HttpClaim, ResponseHead } from "./layer.js";
import { type HeaderList, type HttpResponse, headerValue } from "./message.js";
import { type Problem, problem } from "./problem.js";
import { encodeResponse, recordableHeaders, withContentLength } from "./replay.js";
import type { RunDraft } from "./run-log.js";

/** What a claim needs of the layer. */
export interface LayerClaimFacts {
  readonly claim: OwnedClaim;
  readonly policy: Policy;
  readonly account: string;
  readonly key: string;
  readonly run: RunDraft;
  readonly refuse: (problem: Problem) => HttpResponse;
}

/** The word of an upstream or a handler on its own answer (SPEC §4.8); never sent on. */
const OUTCOME_HEADER = "onceward-outcome";

/** What an answer says of its operation (SPEC §4.8, §4.9). */
export function readOutcome(head: ResponseHead, policy: Policy): "final" | "not-started" | "unknown" {
  const word = headerValue(head.headers, OUTCOME_HEADER)?.trim().toLowerCase();
  if (word === "final" || word === "not-started") return word;
  if (policy.notStarted.has(head.status)) return "not-started";
  if (policy.unknownStatuses.has(head.status)) return "unknown";
  const busy = head.status === 503 && policy.busyNotStarted && headerValue(head.headers, "retry-after") !== undefined;
  return busy ? "not-started" : "final";
}

/**
 * An answer as it is recorded: without what is not kept of it (SPEC §5.2), and without a body that is null (§5.4).
 *
 * @throws TypeError where it holds what no HTTP response can carry.
 */
export function recordedAnswer(head: ResponseHead & { readonly body: Uint8Array | null }, policy: Policy): Answer {
  const { status } = head;
  if (!Number.isInteger(status) || status < 200 || status > 999)
    throw new TypeError(`${status} is no status of an answer.`);
  const body = head.body !== null && head.body.length <= policy.maxBodyBytes ? head.body : null;
  return {
    status,
    payload: encodeResponse({ status, headers: recordableHeaders(head.headers, policy), body }),
  };
}

export class LayerClaim implements HttpClaim {
  readonly account: string;
  readonly key: string;
  readonly runId: string;
  readonly #claim: OwnedClaim;
  readonly #policy: Policy;
  readonly #run: RunDraft;
  readonly #refuse: (problem: Problem) => HttpResponse;

  constructor(facts: LayerClaimFacts) {
    this.account = facts.account;
    this.key = facts.key;
    this.runId = facts.run.id;
    this.#claim = facts.claim;
    this.#policy = facts.policy;
    this.#run = facts.run;
    this.#refuse = facts.refuse;
  }

  get signal(): AbortSignal {
    return this.#claim.signal;
  }

  get tookOver(): boolean {
    return this.#claim.tookOver;
  }

  step<T>(name: string, run: (step: StepContext) => T | Promise<T>): Promise<T> {
    return this.#claim.step(name, run);
  }

  async transaction<Tx>(
    database: Transactions<Tx>,
    work: (tx: Tx) => HttpResponse | Promise<HttpResponse>,
  ): Promise<HttpResponse> {
    // Kept here, since a runner may wrap what makes it roll back.
    let undone: (() => Promise<HttpResponse>) | null = null;
    const answerOf = (response: HttpResponse): Answer => {
      const outcome = this.#readOutcome(response);
      if (outcome === "final") return recordedAnswer(response, this.#policy);
      undone = () => (outcome === "unknown" ? this.#unknownStatus(response) : this.notStarted(response));
      throw new Error("This answer is not to be recorded, so the transaction is rolled back.");
    };
    let end: TransactionEnd<HttpResponse>;
    try {
      end = await this.#claim.transaction(database, work, answerOf);
    } catch (error) {
      if (undone === null) throw error;
      return (undone as () => Promise<HttpResponse>)();
    }
    if (end.outcome !== "recorded") return this.#refused(end.outcome);
    const { status, headers, body } = end.value;
    this.#ended(status, body);
    return withContentLength({ status, headers: this.#sent(headers), body });
  }

  async finish(response: HttpResponse): Promise<HttpResponse> {
    const outcome = this.#readOutcome(response);
    if (outcome === "unknown") return this.#unknownStatus(response);
    if (outcome === "not-started") return this.notStarted(response);
    const refusal = await this.#record(response);
    return refusal ?? withContentLength({ ...response, headers: this.#sent(response.headers) });
  }

  async finishUnkept(
    head: ResponseHead,
  ): Promise<
    | { readonly kind: "stream"; readonly head: ResponseHead }
    | { readonly kind: "answer"; readonly response: HttpResponse }
  > {
    const stream = { kind: "stream", head: { status: head.status, headers: this.#sent(head.headers) } } as const;
    const outcome = this.#readOutcome(head);
    if (outcome === "unknown") return { kind: "answer", response: await this.#unknownStatus(head) };
    if (outcome === "not-started") {
      await this.#release(head.status);
      return stream;
    }
    const refusal = await this.#record({ ...head, body: null });
    return refusal === null ? stream : { kind: "answer", response: refusal };
  }

  async notStarted(response: HttpResponse): Promise<HttpResponse> {
    await this.#release(response.status);
    return withContentLength({ ...response, headers: this.#sent(response.headers) });
  }

  async unknown(status: 500 | 502 | 504, detail: string): Promise<HttpResponse> {
    await this.#claim.interrupt(status);
    this.#run.end({ outcome: "unknown", status, code: "outcome_unknown" });
    return this.#refuse(problem("outcome_unknown", { status, detail }));
  }

  flag(flag: RunFlag): void {
    this.#run.flag(flag);
  }

  /** A part of an operation that ran says more than a status that others take for "not started". */
  #readOutcome(head: ResponseHead): "final" | "not-started" | "unknown" {
    const outcome = readOutcome(head, this.#policy);
    return outcome === "not-started" && this.#claim.begun ? "final" : outcome;
  }

  #unknownStatus(head: ResponseHead): Promise<HttpResponse> {
    const detail = "The service behind answered that it does not know the outcome.";
    return this.unknown(head.status === 504 ? 504 : 502, detail);
  }

  async #release(status: number): Promise<void> {
    await this.#claim.release();
    this.#run.end({ outcome: "not_started", status });
  }

  /** Records an answer; answers what the client gets instead of it, or null where it may have it. */
  async #record(answer: ResponseHead & { readonly body: Uint8Array | null }): Promise<HttpResponse | null> {
    const { status } = answer;
    let recorded: Answer;
    try {
      recorded = recordedAnswer(answer, this.#policy);
    } catch (error) {
      // The operation ran, and its answer is none: left as it is, the key would go on running for ever (SPEC P5).
      const reason = error instanceof Error ? error.message : "it is malformed.";
      return this.unknown(500, `The operation ran, and its answer cannot be recorded: ${reason}`);
    }
    const recording = await this.#claim.complete(recorded);
    switch (recording) {
      case "recorded":
      case "deferred":
        this.#ended(status, answer.body);
        return null;
      case "unrecorded":
        return this.#refused("unknown");
      case "lost":
        return this.#refused("lost");
    }
  }

  #ended(status: number, body: Uint8Array | null): void {
    const kept = body !== null && body.length <= this.#policy.maxBodyBytes;
    this.#run.end({ outcome: kept ? "recorded" : "not_kept", status });
  }

  /** What the client gets instead of an answer that is not the one true one. */
  #refused(why: "unknown" | "lost"): HttpResponse {
    switch (why) {
      case "unknown":
        // SPEC §4.11: whoever takes over may answer otherwise, so this answer must not be seen.
        this.#run.end({ outcome: "unknown", status: 503, code: "outcome_unknown" });
        return this.#refuse(problem("outcome_unknown", { status: 503, retryAfterMs: this.#policy.retryAfterMs }));
      case "lost":
        // SPEC §4.2: the client's retry fetches the one true answer.
        this.#run.flag("CLAIM_LOST");
        this.#run.end({ outcome: "refused", status: 409, code: "in_progress" });
        return this.#refuse(problem("in_progress", { retryAfterMs: this.#policy.retryAfterMs }));
    }
  }

  /**
   * The fields the first client gets. Where replays carry no marker and no recorded Date, this answer's Date is left to
   * the server too, so that not even its place tells the two apart (SPEC §5.3).
   */
  #sent(headers: HeaderList): HeaderList {
    const { marker, keepDate } = this.#policy;
    return recordableHeaders(headers, { keepSetCookie: true, keepDate: keepDate || marker !== false });
  }
}
