// What every adapter's `idempotency()` is made of: a runtime that knows no framework.

import { parseDuration, parseSize } from "../core/duration.js";
import type { Policy } from "../core/policy.js";
import { readAccount } from "./accounts/resolver.js";
import { Budget } from "./budget.js";
import { coversMethod } from "./compiled-policy.js";
import { createLayer } from "./handle.js";
import type { HousekeepingSettings } from "./housekeeping.js";
import {
  type BackgroundOptions,
  checkOptions,
  type IdempotencyOptions,
  LAYER_OPTIONS,
  type RouteOptions,
  withRouteOptions,
} from "./idempotency-options.js";
import type { Begin, Layer, LayerOptions, LayerRequest } from "./layer.js";
import type { HeaderList, HttpResponse } from "./message.js";
import { normalisePath } from "./path.js";
import { problem, problemResponse } from "./problem.js";
import { withContentLength } from "./replay.js";
import { type StoreInUse, useStore } from "./store-in-use.js";
import { type KeyQuestion, keyStatus } from "./well-known/key-status.js";

export type { AccountResolver } from "./accounts/resolver.js";
export type { BackgroundOptions, IdempotencyOptions, RouteOptions } from "./idempotency-options.js";

/** A request as an adapter describes it. */
export interface RequestFacts {
  readonly method: string;
  /** Path and query as received (origin form). */
  readonly target: string;
  readonly headers: HeaderList;
  /** How the history names the route; method and path where left out. */
  readonly route?: string;
  /** As {@link LayerRequest.body}. */
  readonly body: LayerRequest["body"];
}

/** A request for the state of a key. */
export interface KeyStatusQuestion extends Pick<KeyQuestion, "encodedKey" | "query"> {
  readonly headers: HeaderList;
}

/** What an adapter works with. */
export interface Idempotency<Req> {
  readonly policy: Policy;
  readonly layer: Layer;
  /** The key's header, in lower case. */
  readonly header: string;
  /** Counts the bodies that are held. */
  readonly memory: Budget;
  /** Whether the layer has anything to do with a request; where not, its handler runs at once. */
  concerns(method: string, hasKey: boolean): boolean;
  /** Rejects only with what the body, the account or a function of the options failed with. */
  begin(request: Req, facts: RequestFacts): Promise<Begin>;
  /** What became of a key of the caller's own (SPEC §10.2); `wellKnown` of onceward/well-known serves it. */
  keyStatus(request: Req, question: KeyStatusQuestion): Promise<HttpResponse>;
  /**
   * The same, with a route's own options in place of these.
   *
   * @throws IdempotencyError as {@link createIdempotency}.
   */
  forRoute(route: RouteOptions): Idempotency<Req>;
  /** Resolves when the store is open; rejects with what keeps it from opening. */
  ready(): Promise<void>;
  /**
   * Waits for what is not recorded yet, `timeoutMs` at most (default 10,000), and lets go of the store. For when the
   * server has stopped.
   */
  close(timeoutMs?: number): Promise<void>;
}

/** What every adapter's middleware has beside being called by its framework. */
export type MiddlewareParts<Req> = Pick<Idempotency<Req>, "policy" | "ready" | "close" | "keyStatus">;

/** Makes an adapter's middleware of what its framework calls. */
export function middlewareOf<Call extends object, Req>(
  call: Call,
  runtime: Idempotency<Req>,
): Call & MiddlewareParts<Req> {
  return Object.assign(call, {
    policy: runtime.policy,
    ready: () => runtime.ready(),
    close: (timeoutMs?: number) => runtime.close(timeoutMs),
    keyStatus: (request: Req, question: KeyStatusQuestion) => runtime.keyStatus(request, question),
  });
}

const MAX_BUFFER_BYTES = 256 * 1_048_576;
const STORE_TIMEOUT_MS = 5_000;
const DRAIN_MS = 10_000;

/**
 * Checks all options, makes the layer and begins to open the store. `more` names options that only one adapter has, and
 * checks itself; `opensNow: false` leaves the opening to the first request with a key.
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function createIdempotency<Req>(
  options: IdempotencyOptions<Req>,
  more: readonly string[] = [],
  opensNow: boolean = !isWorker(),
): Idempotency<Req> {
  const policy = checkOptions(options, more);
  return new Runtime(options, policy, null, opensNow);
}

class Runtime<Req> implements Idempotency<Req> {
  readonly policy: Policy;
  readonly layer: Layer;
  readonly header: string;
  readonly memory: Budget;
  readonly #options: IdempotencyOptions<Req>;
  readonly #store: StoreInUse;
  readonly #leave: () => Promise<void>;
  readonly #namespace: string;

  /** `base`: of the middleware, where this is of one route. */
  constructor(options: IdempotencyOptions<Req>, policy: Policy, base: Runtime<Req> | null, opensNow: boolean) {
    const { store, namespace = "default", onEvent, clock } = options;
    this.policy = policy;
    this.header = policy.header.toLowerCase();
    this.memory = base?.memory ?? new Budget(parseSize(options.maxBuffer) ?? MAX_BUFFER_BYTES);
    this.layer = base?.layer ?? createLayer(layerOptions(options));
    this.#options = options;
    this.#namespace = namespace;
    if (base !== null) {
      this.#store = base.#store;
      this.#leave = base.#leave;
      return;
    }
    const user = {
      opensNow,
      housekeeping: housekeepingOf(options.background ?? {}, policy),
      sweep: (signal: AbortSignal) => this.layer.sweep(signal),
      onFailure: (operation: string, error: unknown) => {
        if (onEvent !== undefined) onEvent({ type: "store-failed", runId: "", recordId: "", operation, error });
        else console.error(`onceward: could not ${operation} (${store.info.name}): ${messageOf(error)}`);
      },
      ...(clock === undefined ? {} : { clock }),
    };
    this.#store = useStore(store, user);
    this.#leave = () => this.#store.leave(user);
  }

  concerns(method: string, hasKey: boolean): boolean {
    const { policy } = this;
    if (!coversMethod(policy, method)) return hasKey && policy.announceIgnored;
    return hasKey || policy.required;
  }

  begin(request: Req, facts: RequestFacts): Promise<Begin> {
    const { method, headers, body } = facts;
    const { authorizeReplay } = this.#options;
    const { path, query } = splitTarget(facts.target);
    return this.layer.begin({
      policy: this.policy,
      route: facts.route ?? `${method} ${path}`,
      method,
      path,
      query,
      headers,
      namespace: this.#namespace,
      environment: this.#environment(request),
      account: () => this.#account(request, headers),
      body,
      ...(authorizeReplay === undefined
        ? {}
        : { authorizeReplay: async () => ((await authorizeReplay(request)) ? null : this.#replayRefused()) }),
    });
  }

  keyStatus(request: Req, { headers, ...question }: KeyStatusQuestion): Promise<HttpResponse> {
    const perOperation = this.policy.scope === "account+operation";
    return keyStatus(
      { layer: this.layer, perOperation, isPerOperation: () => perOperation },
      {
        ...question,
        namespace: this.#namespace,
        environment: this.#environment(request),
        account: () => this.#account(request, headers),
      },
    );
  }

  #environment(request: Req): string {
    const { environment = "live" } = this.#options;
    return typeof environment === "string" ? environment : environment(request);
  }

  forRoute(route: RouteOptions): Idempotency<Req> {
    const options = withRouteOptions(this.#options, route);
    return new Runtime(options, checkOptions(options), this, false);
  }

  ready(): Promise<void> {
    return this.#store.open();
  }

  async close(timeoutMs: number = DRAIN_MS): Promise<void> {
    await this.layer.drain(timeoutMs);
    await this.#leave();
  }

  async #account(request: Req, headers: HeaderList): ReturnType<LayerRequest["account"]> {
    const reading = await readAccount(this.#options.account, request, headers);
    // Asked for once a request has a readable key, and so the place where the store is first needed.
    if (!this.#store.isOpen) await this.#store.openWithin(this.#options.storeTimeoutMs ?? STORE_TIMEOUT_MS);
    return reading;
  }

  #replayRefused(): HttpResponse {
    return withContentLength(
      problemResponse(problem("replay_refused"), this.policy.errorFormat, this.#options.policyDocument),
    );
  }
}

function layerOptions(options: IdempotencyOptions<never>): LayerOptions {
  const given = LAYER_OPTIONS.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]);
  return { store: options.store, ...(Object.fromEntries(given) as Partial<LayerOptions>) };
}

function housekeepingOf(background: false | BackgroundOptions, policy: Policy): HousekeepingSettings | false {
  if (background === false) return false;
  return {
    purgeEveryMs: parseDuration(background.purgeEvery) ?? 10_000,
    sweepEveryMs: parseDuration(background.sweepEvery) ?? 3_600_000,
    firstSweepMs: policy.leaseMs,
    keepRuns: background.keepRuns ?? 10_000,
  };
}

/**
 * Path, normalised (SPEC §5.8), and query. The framework has matched the route already, so a path that can be read in
 * two ways escapes no policy here: it is taken as it was received, and is the same to a retry that spells it alike.
 */
function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const reading = normalisePath(target);
  if (reading.ok) return { path: reading.path, query: reading.query === "" ? "" : `?${reading.query}` };
  const mark = target.indexOf("?");
  return mark < 0 ? { path: target, query: "" } : { path: target.slice(0, mark), query: target.slice(mark) };
}

/** Workers allow no I/O before their first request (`navigator.userAgent` is what Cloudflare says to tell them by). */
function isWorker(): boolean {
  const { navigator } = globalThis as { readonly navigator?: { readonly userAgent?: string } };
  return navigator?.userAgent === "Cloudflare-Workers";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
