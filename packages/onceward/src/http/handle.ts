// Binds the engine to HTTP. The way of a request: read the key → know the account → read the body → begin → answer.

import type { Clock } from "../core/clock.js";
import { systemClock } from "../core/clock.js";
import { type BeginRequest, type Begun, Engine, type Verdict } from "../core/engine.js";
import { isIdempotencyError } from "../core/errors.js";
import type { EngineEvent } from "../core/events.js";
import type { Policy } from "../core/policy.js";
import type { StoredRecord } from "../core/record.js";
import type { Store } from "../core/store.js";
import { type CompiledPolicy, coversMethod, PolicyCompiler } from "./compiled-policy.js";
import { checkExpiration } from "./expiration.js";
import { readIdempotencyKey } from "./idempotency-key.js";
import { KeyThrottle } from "./key-throttle.js";
import type { AccountReading, Begin, KeyQuery, KeyState, Layer, LayerOptions, LayerRequest } from "./layer.js";
import { LayerClaim, recordedAnswer } from "./layer-claim.js";
import { type HttpResponse, headerValues } from "./message.js";
import { Observer } from "./observe.js";
import { isRequestErrorCode, type Problem, problem, problemResponse } from "./problem.js";
import { decodeResponse, markReplayed, withContentLength } from "./replay.js";
import { readFingerprint, startDigest } from "./request-digest.js";
import { type RunDraft, RunLog } from "./run-log.js";
import { hashedKey, recordId } from "./scope.js";

const PASS: Begin = { kind: "pass", headers: [], observation: null };
const IGNORED: Begin = { kind: "pass", headers: [["Idempotency-Status", "ignored"]], observation: null };
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
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #engine: Engine;
  readonly #policies: PolicyCompiler;
  readonly #runs: RunLog;
  readonly #throttle: KeyThrottle | null;

  constructor(options: LayerOptions) {
    const { store, newKeysPerSecond, storeTimeoutMs, maxWaitersPerKey, maxWaiters } = options;
    this.#options = options;
    this.#store = store;
    this.#clock = options.clock ?? systemClock;
    this.#policies = new PolicyCompiler(options.ask);
    this.#runs = new RunLog(options.history === false ? null : (store.history ?? null), this.#clock);
    this.#throttle = typeof newKeysPerSecond === "number" ? new KeyThrottle(this.#clock, newKeysPerSecond) : null;
    this.#engine = new Engine({
      store,
      clock: this.#clock,
      onEvent: (event) => this.#onEvent(event),
      ...(storeTimeoutMs === undefined ? {} : { storeTimeoutMs }),
      ...(maxWaitersPerKey === undefined ? {} : { maxWaitersPerKey }),
      ...(maxWaiters === undefined ? {} : { maxWaiters }),
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
      return policy.mode === "observe" ? PASS : this.#answer(policy, problem("key_missing"));
    }
    const run = this.#openRun(request, reading.kind === "key" ? reading.key : "");
    try {
      if (reading.kind === "invalid")
        return this.#refuse(policy, run, problem("key_invalid", { detail: reading.rule }));
      const account = await request.account();
      if (account.kind === "refused") {
        const { status, detail, wwwAuthenticate } = account;
        return this.#refuse(
          policy,
          run,
          problem("account_unknown", { status, detail, ...(wwwAuthenticate === undefined ? {} : { wwwAuthenticate }) }),
        );
      }
      run.account = account.label ?? account.account;
      const keyed: Keyed = { request, compiled, key: reading.key, account, run };
      if (policy.mode === "observe") return await this.#observe(keyed);
      return await this.#enforce(keyed);
    } catch (error) {
      return this.#failed(policy, run, error);
    }
  }

  async keyState(query: KeyQuery): Promise<KeyState> {
    for (const account of [query.account, ...(query.previous ?? [])]) {
      const found = await this.#store.find(recordId({ ...query, account }));
      if (found === null) continue;
      const { state, createdAt: since, expiresAt, endedAt, status } = found.record;
      if (state === "running") return { state, since };
      if (state === "unknown") return { state, since, expiresAt };
      return { state, since, expiresAt, endedAt: endedAt ?? since, status: status ?? 0 };
    }
    return { state: "absent" };
  }

  async drain(timeoutMs: number): Promise<void> {
    await this.#engine.drain(timeoutMs);
    await this.#runs.flush();
  }

  async #enforce(keyed: Keyed): Promise<Begin> {
    const { request, compiled, key, account, run } = keyed;
    const { policy } = request;
    const fingerprint = await readFingerprint(request);
    const admission = this.#admit(keyed);
    const begun = await this.#engine.begin({
      ...(await this.#describe(keyed, request.namespace)),
      fingerprint,
      waitMs: policy.waitMs,
      rules: compiled.rules,
      refusal: admission.refusal?.code ?? null,
      retention: admission.retention,
      ask: compiled.recover === null ? null : (record) => this.#ask(keyed, record),
    });
    switch (begun.kind) {
      case "owned": {
        if (!begun.claim.tookOver) this.#throttle?.spend(account.account);
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
        return this.#refused(keyed, begun, admission.refusal);
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
    const refusal = this.#throttle?.allows(account.account) === false ? problem("too_many_keys") : null;
    return { refusal, retention };
  }

  async #describe(
    keyed: Keyed,
    namespace: string,
  ): Promise<Pick<BeginRequest, "id" | "labels" | "arrivedAtMonotonicMs" | "leaseMs">> {
    const { request, key, account, run } = keyed;
    const { policy, environment, method, path } = request;
    const operation = policy.scope === "account+operation" ? `${method} ${path}` : null;
    const idOf = (name: string): string => recordId({ namespace, environment, account: name, operation, key });
    let id = idOf(account.account);
    // Made under an account key that was replaced since: rare, and only for one retention after the change (SPEC S1).
    for (const name of account.previous ?? []) {
      const previous = idOf(name);
      const found = await this.#store.find(previous).catch(() => null);
      if (found !== null) id = previous;
    }
    run.recordId = id;
    const labels = {
      account: run.account,
      key: this.#shownKey(key),
      operation: `${method} ${this.#shownPath(path)}`,
      runId: run.id,
    };
    return { id, labels, arrivedAtMonotonicMs: run.startedMs, leaseMs: policy.leaseMs };
  }

  async #observe(keyed: Keyed): Promise<Begin> {
    const { request, compiled, run } = keyed;
    const { refusal, retention } = this.#admit(keyed);
    const observer = new Observer({
      engine: this.#engine,
      policy: request.policy,
      run,
      digest: startDigest(request),
      request: {
        ...(await this.#describe(keyed, OBSERVE_NAMESPACE + request.namespace)),
        waitMs: 0,
        rules: { ...compiled.rules, waits: false, onInterrupted: "hold" },
        refusal: refusal?.code ?? null,
        retention,
        ask: null,
      },
    });
    return { kind: "pass", headers: [], observation: observer };
  }

  async #replay({ request, run }: Keyed, record: StoredRecord): Promise<Begin> {
    const { policy } = request;
    const recorded = decodeResponse(record.status ?? 0, record.payload ?? new Uint8Array(0));
    run.duplicate();
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
    if (code === "store_unavailable" && policy.onStoreError === "bypass") {
      run.end({ outcome: "bypassed", status: null, code });
      return PASS;
    }
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
    if (verdict.outcome !== "done") return verdict;
    return { outcome: "done", answer: recordedAnswer(verdict.response, request.policy) };
  }

  /** A request that broke off, or that the layer itself refuses while reading it. */
  #failed(policy: Policy, run: RunDraft, error: unknown): Begin {
    if (isIdempotencyError(error) && isRequestErrorCode(error.code)) {
      return this.#refuse(policy, run, problem(error.code, { detail: error.message }));
    }
    if (isIdempotencyError(error, "store_corrupt")) {
      const detail = "The recorded answer cannot be read. The operation is not run again.";
      return this.#refuse(policy, run, problem("outcome_unknown", { detail }));
    }
    run.flag("CLIENT_GONE");
    run.end({ outcome: "not_started", status: null });
    throw error;
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
