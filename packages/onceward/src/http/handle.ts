// Binds the engine to HTTP. The way of a request: read the key → know the account → read the body → begin → answer.

import type { Clock } from "../core/clock.js";
import { systemClock } from "../core/clock.js";
import { type BeginRequest, type Begun, Engine, type Verdict } from "../core/engine.js";
import { isIdempotencyError } from "../core/errors.js";
import type { EngineEvent } from "../core/events.js";
import type { Policy } from "../core/policy.js";
import type { RecordId, RecordLabels, StoredRecord } from "../core/record.js";
import { sweepInterrupted } from "../core/sweep.js";
import { type CompiledPolicy, coversMethod, PolicyCompiler } from "./compiled-policy.js";
import { checkExpiration } from "./expiration.js";
import { readIdempotencyKey } from "./idempotency-key.js";
import { KeyThrottle } from "./key-throttle.js";
import type { AccountReading, Begin, KeyQuery, KeyState, Layer, LayerOptions, LayerRequest } from "./layer.js";
import { LayerClaim, recordedAnswer } from "./layer-claim.js";
import { type HttpResponse, headerValues } from "./message.js";
import { Observer } from "./observe.js";
import { accountProblem, isRequestErrorCode, type Problem, problem, problemResponse } from "./problem.js";
import { decodeResponse, markReplayed, withContentLength } from "./replay.js";
import { readFingerprint, startDigest } from "./request-digest.js";
import { type RunDraft, RunLog } from "./run-log.js";
import { hashedKey, hmac, recordId } from "./scope.js";

const PASS: Begin = { kind: "pass", headers: [], observation: null };
const IGNORED: Begin = { kind: "pass", headers: [["Idempotency-Status", "ignored"]], observation: null };
/** What writing the history is given at least, where answers took all the time there was. */
const LEAST_FLUSH_MS = 500;
const OBSERVE_NAMESPACE = "\0observe\0";

type Account = Extract<AccountReading, { kind: "account" }>;

/** A keyed request whose key and account are known. */
interface Keyed {
  readonly request: LayerRequest;
  readonly compiled: CompiledPolicy;
  readonly key: string;
  readonly account: Account;
  readonly run: RunDraft;
}

/** Makes the layer of a process. The store must be open. */
export function createLayer(options: LayerOptions): Layer {
  return new HttpLayer(options);
}

class HttpLayer implements Layer {
  readonly #options: LayerOptions;
  readonly #clock: Clock;
  readonly #engine: Engine;
  readonly #policies: PolicyCompiler;
  readonly #runs: RunLog;
  readonly #throttle: KeyThrottle | null;

  constructor(options: LayerOptions) {
    const { store, newKeysPerSecond, storeTimeoutMs, maxWaitersPerKey, maxWaiters, maxSteps, maxStepLogBytes } =
      options;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#policies = new PolicyCompiler(options.ask);
    const history = options.history === false ? null : (store.history ?? null);
    this.#runs = new RunLog(history, this.#clock, options.onObserved);
    this.#throttle = typeof newKeysPerSecond === "number" ? new KeyThrottle(this.#clock, newKeysPerSecond) : null;
    this.#engine = new Engine({
      store,
      clock: this.#clock,
      onEvent: (event) => this.#onEvent(event),
      ...(storeTimeoutMs === undefined ? {} : { storeTimeoutMs }),
      ...(maxWaitersPerKey === undefined ? {} : { maxWaitersPerKey }),
      ...(maxWaiters === undefined ? {} : { maxWaiters }),
      ...(maxSteps === undefined ? {} : { maxSteps }),
      ...(maxStepLogBytes === undefined ? {} : { maxStepLogBytes }),
      hmac,
    });
  }

  async begin(request: LayerRequest): Promise<Begin> {
    const { policy, method } = request;
    const compiled = this.#policies.compile(policy);
    const sent = headerValues(request.headers, compiled.header);
    if (!coversMethod(policy, method)) return sent.length > 0 && policy.announceIgnored ? IGNORED : PASS;
    const reading = readIdempotencyKey(sent, compiled.keyRules);
    if (reading.kind === "absent") {
      if (!policy.required) return PASS;
      const missing = problem("key_missing");
      // It is no keyed request, so it has no place in the history, unless that is all there is to tell.
      if (policy.mode === "observe") return this.#refuse(policy, this.#openRun(request, ""), missing);
      return this.#answer(policy, missing);
    }
    const run = this.#openRun(request, reading.kind === "key" ? reading.key : "");
    try {
      if (reading.kind === "invalid")
        return this.#refuse(policy, run, problem("key_invalid", { detail: reading.rule }));
      const account = await request.account();
      if (account.kind === "refused") {
        return this.#refuse(policy, run, accountProblem(account));
      }
      run.account = account.label ?? account.account;
      const keyed: Keyed = { request, compiled, key: reading.key, account, run };
      if (policy.mode === "observe") return this.#observe(keyed);
      return await this.#enforce(keyed);
    } catch (error) {
      return this.#failed(policy, run, error);
    }
  }

  async keyState(query: KeyQuery): Promise<KeyState> {
    for (const account of [query.account, ...(query.previous ?? [])]) {
      const found = await this.#engine.find(recordId({ ...query, account }), "");
      if (found === null) continue;
      const { state, createdAt: since, expiresAt, endedAt, status } = found.record;
      if (state === "running") return { state, since };
      if (state === "unknown") return { state, since, expiresAt };
      return { state, since, expiresAt, endedAt: endedAt ?? since, status: status ?? 0 };
    }
    return { state: "absent" };
  }

  sweep(signal?: AbortSignal): Promise<number> {
    const now = (): number => this.#clock.now();
    return sweepInterrupted(this.#options.store, now, (event) => this.#onEvent(event), signal);
  }

  get droppedRuns(): number {
    return this.#runs.dropped;
  }

  async drain(timeoutMs: number): Promise<void> {
    const untilMs = this.#clock.monotonic() + timeoutMs;
    await this.#engine.drain(timeoutMs);
    // The history may not hold what the records rest on up for longer.
    const leftMs = Math.max(LEAST_FLUSH_MS, untilMs - this.#clock.monotonic());
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(leftMs, resolve);
      void this.#runs.flush().then(cancel).then(resolve);
    });
  }

  async #enforce(keyed: Keyed): Promise<Begin> {
    const { request, compiled, key, account, run } = keyed;
    const { policy } = request;
    const fingerprint = await readFingerprint(request, () => run.flag("CLIENT_GONE"));
    const { begun, refusal } = await this.#beginEngine(keyed, request.namespace, {
      fingerprint,
      waitMs: policy.waitMs,
      rules: compiled.rules,
      ask: compiled.recover === null ? null : (record) => this.#ask(keyed, record),
    });
    switch (begun.kind) {
      case "owned": {
        const refuse = (own: Problem): HttpResponse => this.#problem(policy, own);
        return {
          kind: "run",
          claim: new LayerClaim({ claim: begun.claim, policy, account: account.account, key, run, refuse }),
        };
      }
      case "replay":
        return this.#replay(keyed, begun.record);
      case "unknown":
        run.duplicate();
        return this.#refuse(policy, run, problem("outcome_unknown", { status: begun.status }), begun.record.runId);
      case "refused":
        return this.#refused(keyed, begun, refusal);
    }
  }

  /** Begins, and says what kept the request from making a record, where something did. */
  async #beginEngine(
    keyed: Keyed,
    namespace: string,
    how: Pick<BeginRequest, "fingerprint" | "waitMs" | "rules" | "ask">,
  ): Promise<{ readonly begun: Begun; readonly refusal: Problem | null }> {
    const { account, run, request } = keyed;
    const id = await this.#findId(keyed, namespace);
    run.recordId = id;
    const { refusal, retention } = this.#admit(keyed);
    let made = false;
    try {
      const begun = await this.#engine.begin({
        id,
        labels: this.#labels(keyed),
        arrivedAtMonotonicMs: run.startedMs,
        leaseMs: request.policy.leaseMs,
        retention,
        refusal: refusal?.code ?? null,
        ...how,
      });
      made = begun.kind === "owned" && !begun.claim.tookOver;
      return { begun, refusal };
    } finally {
      if (!made && refusal === null) this.#throttle?.giveBack(account.account);
    }
  }

  /** Whether the request may make a record, and for how long it would be kept (SPEC §8.1, §9.4). */
  #admit({ request, account }: Keyed): {
    readonly refusal: Problem | null;
    readonly retention: BeginRequest["retention"];
  } {
    const { policy, headers } = request;
    const { expiration } = policy;
    const asked = expiration === null ? [] : headerValues(headers, expiration.header.toLowerCase());
    let retention: BeginRequest["retention"] = { forMs: policy.retentionMs };
    if (expiration !== null && asked.length > 0) {
      const checked = checkExpiration(asked.join(", "), this.#clock.now(), expiration);
      if (!checked.ok) return { refusal: problem("expiration_invalid", { detail: checked.reason }), retention };
      retention = { untilMs: checked.untilMs };
    }
    const refusal = this.#throttle?.take(account.account) === false ? problem("too_many_keys") : null;
    return { refusal, retention };
  }

  /** The record's id. Rejects where the store cannot say under which name of the account the key was used. */
  async #findId({ request, key, account, run }: Keyed, namespace: string): Promise<RecordId> {
    const { policy, environment, method, path } = request;
    const operation = policy.scope === "account+operation" ? `${method} ${path}` : null;
    const idOf = (name: string): RecordId => recordId({ namespace, environment, account: name, operation, key });
    // Made under an account key that was replaced since: rare, and only for one retention after the change (SPEC S1).
    for (const name of account.previous ?? []) {
      const previous = idOf(name);
      if ((await this.#engine.find(previous, run.id)) !== null) return previous;
    }
    return idOf(account.account);
  }

  #labels({ request, key, run }: Keyed): RecordLabels {
    return {
      account: run.account,
      key: this.#shownKey(key),
      operation: `${request.method} ${this.#shownPath(request.path)}`,
      runId: run.id,
    };
  }

  /** Nothing of it waits for the store: the request goes its way at once. */
  #observe(keyed: Keyed): Begin {
    const { request, compiled, run } = keyed;
    const rules = { ...compiled.rules, waits: false, onInterrupted: "hold" } as const;
    const observer = new Observer({
      policy: request.policy,
      run,
      digest: startDigest(request),
      begin: async (fingerprint) => {
        const namespace = OBSERVE_NAMESPACE + request.namespace;
        return (await this.#beginEngine(keyed, namespace, { fingerprint, waitMs: 0, rules, ask: null })).begun;
      },
    });
    return { kind: "pass", headers: [], observation: observer };
  }

  async #replay({ request, run }: Keyed, record: StoredRecord): Promise<Begin> {
    const { policy } = request;
    run.duplicate();
    const recorded = decodeResponse(record.status ?? 0, record.payload ?? new Uint8Array(0));
    const forbidden = (await request.authorizeReplay?.()) ?? null;
    if (forbidden !== null) {
      run.end({ outcome: "refused", status: forbidden.status, replayOf: record.runId });
      return { kind: "answer", response: withContentLength(forbidden), code: null };
    }
    const { status, headers, body } = recorded;
    if (body === null)
      return this.#refuse(policy, run, problem("response_not_kept", { originalStatus: status }), record.runId);
    run.end({ outcome: "replayed", status, replayOf: record.runId });
    return {
      kind: "answer",
      response: withContentLength({ status, headers: markReplayed(headers, policy.marker), body }),
      code: null,
    };
  }

  #refused(keyed: Keyed, refused: Extract<Begun, { kind: "refused" }>, refusal: Problem | null): Begin {
    const { request, run } = keyed;
    const { policy } = request;
    const { code, record } = refused;
    // Out of reach at the claim: who knows of a record has no need to guess (SPEC §4.11).
    if (code === "store_unavailable" && record === null) return this.#outOfReach(policy, run);
    // Another request under a used key is no duplicate of it.
    if (record !== null && code !== "key_reused") run.duplicate();
    if (refusal?.code === code) return this.#refuse(policy, run, refusal, record?.runId);
    const retry = code === "in_progress" ? { retryAfterMs: policy.retryAfterMs } : {};
    return this.#refuse(policy, run, problem(code, retry), record?.runId);
  }

  async #ask({ request, key, account, compiled }: Keyed, record: StoredRecord): Promise<Verdict> {
    if (compiled.recover === null) return { outcome: "unknown" };
    const { operation, createdAt } = record;
    const verdict = await compiled.recover({ account: account.account, key, operation, createdAt });
    if (verdict.outcome === "never-happened" || verdict.outcome === "unknown") return verdict;
    // It comes from a function of the user, whom no compiler may have checked.
    if (verdict.outcome !== "done" || !(verdict.response.body instanceof Uint8Array))
      throw new TypeError("a verdict is done with a response whose body is bytes, never-happened, or unknown");
    return { outcome: "done", answer: recordedAnswer(verdict.response, request.policy) };
  }

  /** A request that broke off, or that the layer itself refuses while reading it. */
  #failed(policy: Policy, run: RunDraft, error: unknown): Begin {
    if (isIdempotencyError(error, "store_unavailable")) return this.#outOfReach(policy, run);
    if (isIdempotencyError(error) && isRequestErrorCode(error.code)) {
      return this.#refuse(policy, run, problem(error.code, { detail: error.message }));
    }
    if (isIdempotencyError(error, "store_corrupt")) {
      const operation = "read a recorded answer";
      this.#onEvent({ type: "store-failed", runId: run.id, recordId: run.recordId ?? "", operation, error });
      const detail = "The recorded answer cannot be read. The operation is not run again.";
      return this.#refuse(policy, run, problem("outcome_unknown", { detail }));
    }
    if (policy.mode === "observe") {
      // Whoever only watches breaks nothing.
      run.end({ outcome: "observed", status: null, code: "failed" });
      return PASS;
    }
    run.end({ outcome: "not_started", status: null });
    throw error;
  }

  #outOfReach(policy: Policy, run: RunDraft): Begin {
    const code = "store_unavailable";
    if (policy.mode === "observe" || policy.onStoreError === "reject") return this.#refuse(policy, run, problem(code));
    run.end({ outcome: "bypassed", status: null, code });
    return PASS;
  }

  #refuse(policy: Policy, run: RunDraft, own: Problem, replayOf?: string): Begin {
    if (policy.mode === "observe") {
      run.end({ outcome: "observed", status: null, code: own.code });
      return PASS;
    }
    const begin = this.#answer(policy, own);
    run.end({
      outcome: "refused",
      status: begin.response.status,
      code: own.code,
      ...(replayOf === undefined ? {} : { replayOf }),
    });
    return begin;
  }

  #answer(policy: Policy, own: Problem): Extract<Begin, { kind: "answer" }> {
    return { kind: "answer", response: this.#problem(policy, own), code: own.code };
  }

  #problem(policy: Policy, own: Problem): HttpResponse {
    return withContentLength(problemResponse(own, policy.errorFormat, this.#options.policyDocument));
  }

  #openRun({ method, path, route }: LayerRequest, key: string): RunDraft {
    return this.#runs.begin({ key: this.#shownKey(key), method, path: this.#shownPath(path), route });
  }

  #shownKey(key: string): string {
    return this.#options.hashKeys === true && key !== "" ? hashedKey(key) : key;
  }

  #shownPath(path: string): string {
    return this.#options.showPath?.(path) ?? path;
  }

  #onEvent(event: EngineEvent): void {
    this.#runs.onEvent(event);
    this.#options.onEvent?.(event);
  }
}
