// The claim on its two sides: what a handler works with, and how the adapter around it ends it.

import { misused, tooLate } from "../core/claim-owner.js";
import type { RunFlag } from "../core/history.js";
import type { Policy } from "../core/policy.js";
import type { StepContext } from "../core/steps.js";
import type { Transactions } from "../core/transactions.js";
import { type AnswerInit, answerOf } from "./answer-init.js";
import type { HttpClaim, ResponseHead } from "./layer.js";
import { type HeaderList, type HttpResponse, headerValue, withoutHeaders } from "./message.js";
import { withContentLength } from "./replay.js";

export type { StepContext } from "../core/steps.js";
export type { AnswerInit } from "./answer-init.js";

/**
 * The claim as a handler sees it, in its framework's own place. It is there for a request without a key too: `step` then
 * just runs and `transaction` is a plain one, so that handlers need not branch.
 *
 * `Sent` is what a handler of the framework returns: a `Response`, or `void` where the answer is sent by then.
 */
export interface IdempotencyClaim<Sent> {
  /** The idempotency key; null where the request carried none, or was let through unprotected. */
  readonly key: string | null;
  /** As the account resolver named it; null without a key. */
  readonly account: string | null;
  /** Of this request in the run history; null without a key. */
  readonly runId: string | null;
  /** Whether an interrupted run came before, whose steps are not run again (SPEC §4.6, §7.2). */
  readonly tookOver: boolean;
  /** Aborted when the claim is lost to somebody else: what is done after it is not recorded (SPEC §4.2). */
  readonly signal: AbortSignal;
  /**
   * Nothing of the operation has started, such as where validation refuses it (SPEC §4.5, §4.8): the answer that follows
   * is not recorded, and the key stays unused.
   *
   * @throws IdempotencyError `claim_misused` where a step or a transaction has begun already.
   */
  notStarted(): void;
  /**
   * Runs a part of the operation once: when the operation is taken over after a crash, a finished step is not run again
   * and its recorded result, which is JSON, is returned (SPEC §7.2). Names are unique within a run. What `run` throws is
   * thrown on, and records nothing.
   */
  step<T>(name: string, run: (step: StepContext) => T | Promise<T>): Promise<T>;
  /**
   * Runs `work` in a transaction of `database` and records the answer it returns in the same one (SPEC §7.1): both are
   * committed, or neither. That answer, or the layer's own where the claim was lost, is what the client gets. What
   * `work` throws rolls back and is thrown on.
   */
  transaction<Tx>(database: Transactions<Tx>, work: (tx: Tx) => AnswerInit | Promise<AnswerInit>): Promise<Sent>;
}

/** The adapter's side, where the request owns its key. Each ending answers what the client is to be sent. */
export interface OwnedRequest<Sent> {
  /** To be put in the framework's own place. */
  readonly claim: IdempotencyClaim<Sent>;
  /** The handler answered; a transaction's answer stands against whatever it says afterwards. */
  finish(response: HttpResponse): Promise<HttpResponse>;
  /** The handler's answer is too large or streams (SPEC §5.4). */
  finishUnkept(head: ResponseHead): ReturnType<HttpClaim["finishUnkept"]>;
  /** The handler is gone without an answer: nobody knows what it did (SPEC §4.9). */
  unknown(detail: string): Promise<HttpResponse>;
  /** What a transaction has recorded already, which is what the client gets; null where there was none. */
  settled(): Promise<HttpResponse | null>;
  /** Marks the run in the history, also after its end. */
  flag(flag: RunFlag): void;
}

const OUTCOME_NOT_STARTED = ["Onceward-Outcome", "not-started"] as const;

/**
 * The claim of a request that owns its key. `send` makes of a transaction's answer what the framework's handlers
 * return, or sends it; `preset` answers the fields that the framework was told already to send with whatever is answered
 * (those of CORS, as a rule), since a transaction's answer is recorded with them.
 */
export function ownedRequest<Sent>(
  held: HttpClaim,
  policy: Policy,
  send: (response: HttpResponse) => Sent | Promise<Sent>,
  preset: () => HeaderList = () => [],
): OwnedRequest<Sent> {
  return new Owned(held, policy, send, preset);
}

/** The claim of a request that the layer lets pass. */
export function passingClaim<Sent>(send: (response: HttpResponse) => Sent | Promise<Sent>): IdempotencyClaim<Sent> {
  return new PassingClaim(send);
}

class Owned<Sent> implements OwnedRequest<Sent> {
  readonly claim: IdempotencyClaim<Sent>;
  readonly #held: HttpClaim;
  readonly #policy: Policy;
  readonly #send: (response: HttpResponse) => Sent | Promise<Sent>;
  readonly #preset: () => HeaderList;
  #begun = false;
  #notStarted = false;
  #ended = false;
  /** The transactions under way or over; the first that answers is the last. */
  #transactions: Promise<HttpResponse | null> = Promise.resolve(null);

  constructor(
    held: HttpClaim,
    policy: Policy,
    send: (response: HttpResponse) => Sent | Promise<Sent>,
    preset: () => HeaderList,
  ) {
    this.#held = held;
    this.#policy = policy;
    this.#send = send;
    this.#preset = preset;
    this.claim = new OwnedClaimView(held, {
      notStarted: () => this.#markNotStarted(),
      step: (name, run) => this.#step(name, run),
      transaction: (database, work) => this.#transaction(database, work),
    });
  }

  settled(): Promise<HttpResponse | null> {
    return this.#transactions;
  }

  async finish(response: HttpResponse): Promise<HttpResponse> {
    const settled = await this.#end();
    return settled ?? this.#held.finish({ ...response, headers: this.#withWord(response.headers) });
  }

  async finishUnkept(head: ResponseHead): ReturnType<HttpClaim["finishUnkept"]> {
    const settled = await this.#end();
    if (settled !== null) return { kind: "answer", response: settled };
    return this.#held.finishUnkept({ ...head, headers: this.#withWord(head.headers) });
  }

  async unknown(detail: string): Promise<HttpResponse> {
    return (await this.#end()) ?? this.#held.unknown(500, detail);
  }

  /** No more of the handler's doings are taken; what it left under way is waited for. */
  #end(): Promise<HttpResponse | null> {
    this.#ended = true;
    return this.#transactions;
  }

  flag(flag: RunFlag): void {
    this.#held.flag(flag);
  }

  #withWord(headers: HeaderList): HeaderList {
    const dated = withDate(headers, this.#policy);
    return this.#notStarted ? [...dated, OUTCOME_NOT_STARTED] : dated;
  }

  #markNotStarted(): void {
    this.#assertOpen("notStarted()");
    if (this.#begun) {
      throw misused("notStarted() was called after a step or a transaction had begun: part of the operation ran.");
    }
    this.#notStarted = true;
  }

  #step<T>(name: string, run: (step: StepContext) => T | Promise<T>): Promise<T> {
    this.#begin(`step(${JSON.stringify(name)})`);
    return this.#held.step(name, run);
  }

  async #transaction<Tx>(
    database: Transactions<Tx>,
    work: (tx: Tx) => AnswerInit | Promise<AnswerInit>,
  ): Promise<Sent> {
    this.#begin("transaction()");
    const before = this.#transactions;
    const made = before.then((settled) => {
      if (settled !== null) throw misused("transaction() was called after one that has answered this request.");
      return this.#held.transaction(
        database,
        answering(work, (answer) => this.#recordable(answer)),
      );
    });
    // One that failed leaves the request to its handler.
    this.#transactions = made.catch(() => before);
    return this.#send(await made);
  }

  /** A transaction's answer with what else is to be sent with it. */
  #recordable(answer: HttpResponse): HttpResponse {
    const own = new Set(answer.headers.map(([name]) => name.toLowerCase()));
    const headers = [...withoutHeaders(this.#preset(), (name) => own.has(name)), ...answer.headers];
    return { ...answer, headers: withDate(headers, this.#policy) };
  }

  #begin(what: string): void {
    this.#assertOpen(what);
    if (this.#notStarted) throw misused(`${what} was called after notStarted().`);
    this.#begun = true;
  }

  #assertOpen(what: string): void {
    if (this.#ended) throw tooLate(what);
  }
}

type Doings<Sent> = Pick<IdempotencyClaim<Sent>, "notStarted" | "step" | "transaction">;

/** Nothing but what a handler may use, so that no handler ends a claim behind its adapter's back. */
class OwnedClaimView<Sent> implements IdempotencyClaim<Sent> {
  readonly key: string;
  readonly account: string;
  readonly runId: string;
  readonly tookOver: boolean;
  readonly #held: HttpClaim;
  readonly #doings: Doings<Sent>;

  constructor(held: HttpClaim, doings: Doings<Sent>) {
    this.key = held.key;
    this.account = held.account;
    this.runId = held.runId;
    this.tookOver = held.tookOver;
    this.#held = held;
    this.#doings = doings;
  }

  get signal(): AbortSignal {
    return this.#held.signal;
  }

  notStarted(): void {
    this.#doings.notStarted();
  }

  step<T>(name: string, run: (step: StepContext) => T | Promise<T>): Promise<T> {
    return this.#doings.step(name, run);
  }

  transaction<Tx>(database: Transactions<Tx>, work: (tx: Tx) => AnswerInit | Promise<AnswerInit>): Promise<Sent> {
    return this.#doings.transaction(database, work);
  }
}

class PassingClaim<Sent> implements IdempotencyClaim<Sent> {
  readonly key: null = null;
  readonly account: null = null;
  readonly runId: null = null;
  readonly tookOver = false;
  readonly #send: (response: HttpResponse) => Sent | Promise<Sent>;
  #signal: AbortSignal | null = null;

  constructor(send: (response: HttpResponse) => Sent | Promise<Sent>) {
    this.#send = send;
  }

  get signal(): AbortSignal {
    this.#signal ??= new AbortController().signal;
    return this.#signal;
  }

  notStarted(): void {
    // There is no key to give back.
  }

  async step<T>(_name: string, run: (step: StepContext) => T | Promise<T>): Promise<T> {
    // Nobody repeats this request under its key, so no call of its is another's duplicate.
    return run({ idempotencyKey: crypto.randomUUID(), signal: this.signal });
  }

  async transaction<Tx>(database: Transactions<Tx>, work: (tx: Tx) => AnswerInit | Promise<AnswerInit>): Promise<Sent> {
    const result = await database.run(answering(work), null);
    if (result.outcome === "committed") return this.#send(withContentLength(result.value));
    throw result.outcome === "lost" ? new Error("The transaction was rolled back.") : result.error;
  }
}

/** `work` with its answer made a response within the transaction, so that one that is none rolls back. */
function answering<Tx>(
  work: (tx: Tx) => AnswerInit | Promise<AnswerInit>,
  finished: (answer: HttpResponse) => HttpResponse = (answer) => answer,
): (tx: Tx) => HttpResponse | Promise<HttpResponse> {
  const respond = (init: AnswerInit): HttpResponse => finished(answerOf(init));
  return (tx) => {
    const answer = work(tx);
    return isThenable(answer) ? answer.then(respond) : respond(answer);
  };
}

function isThenable(value: AnswerInit | Promise<AnswerInit>): value is Promise<AnswerInit> {
  return typeof (value as Promise<AnswerInit> | null)?.then === "function";
}

/** A Date that is replayed has to be there from the first answer on, or the server would give that one another. */
function withDate(headers: HeaderList, policy: Policy): HeaderList {
  if (!policy.keepDate || headerValue(headers, "date") !== undefined) return headers;
  return [...headers, ["Date", new Date().toUTCString()]];
}
