// The options of `idempotency()` in every adapter: declared, and checked once at the start.

import { type Duration, parseDuration, parseSize, type Size } from "../core/duration.js";
import { IdempotencyError } from "../core/errors.js";
import type { Policy, PolicyOptions } from "../core/policy.js";
import { resolvePolicy, unsuitableStore } from "../core/resolve-policy.js";
import type { Store } from "../core/store.js";
import { lacksTransactions } from "../core/transactions.js";
import type { AccountResolver } from "./accounts/resolver.js";
import type { LayerOptions } from "./layer.js";

/** Tidying up in the background, once for each store however many middlewares use it. */
export interface BackgroundOptions {
  /** How often expired records are deleted and the history is trimmed. Default 10s. */
  readonly purgeEvery?: Duration;
  /** How often interrupted operations are looked for whose client never came back. Default 1h, first after the lease. */
  readonly sweepEvery?: Duration;
  /** Runs that the history keeps. Default 10,000. */
  readonly keepRuns?: number;
}

/** Options of the layer that stand beside the policy's. */
type RuntimeOptions = Pick<
  LayerOptions,
  | "clock"
  | "hashKeys"
  | "history"
  | "maxStepLogBytes"
  | "maxSteps"
  | "maxWaiters"
  | "maxWaitersPerKey"
  | "newKeysPerSecond"
  | "onEvent"
  | "onObserved"
  | "policyDocument"
  | "showPath"
  | "storeTimeoutMs"
>;

/**
 * Options of `idempotency()` in every adapter; `Req` is the framework's request. The policy options (SPEC §13) stand
 * beside them. What is unknown, malformed or contradictory is refused when the middleware is made.
 */
export interface IdempotencyOptions<Req> extends Omit<PolicyOptions, "forwardKey">, RuntimeOptions {
  /** Where records live. It is opened here, and closed by `close()` of the last middleware that uses it. */
  readonly store: Store;
  /** Who is calling (SPEC S1): a function of the request, or one of `onceward/accounts`. */
  readonly account: AccountResolver<Req>;
  /** Keeps apart applications that share a store (SPEC S5). Default `default`. */
  readonly namespace?: string;
  /** Keeps live and test apart (SPEC S5). Default `live`. */
  readonly environment?: string | ((request: Req) => string);
  /** The operation runs in `transaction` (SPEC §7.1), so that interrupted ones are run again by default. */
  readonly transactional?: boolean;
  /** SPEC S6: asked before a replay; where it says false the caller gets 403. */
  readonly authorizeReplay?: (request: Req) => boolean | Promise<boolean>;
  /** Memory for bodies of keyed requests and answers in all; beyond it 503. Default 256 MiB. */
  readonly maxBuffer?: Size;
  /** false: the application purges and sweeps. */
  readonly background?: false | BackgroundOptions;
}

/** Those that are the layer's as they are. */
export const LAYER_OPTIONS: readonly (keyof RuntimeOptions)[] = [
  ...(["clock", "hashKeys", "history", "maxSteps", "maxStepLogBytes", "maxWaiters", "maxWaitersPerKey"] as const),
  ...(["newKeysPerSecond", "onEvent", "onObserved", "policyDocument", "showPath", "storeTimeoutMs"] as const),
];
const OWN_OPTIONS: readonly (keyof IdempotencyOptions<never>)[] = [
  ...(["store", "account", "namespace", "environment", "transactional", "authorizeReplay"] as const),
  ...(["maxBuffer", "background"] as const),
  ...LAYER_OPTIONS,
];
const BACKGROUND_OPTIONS: readonly string[] = ["purgeEvery", "sweepEvery", "keepRuns"];

/**
 * Checks all options and answers the policy they make; `more` names those that only one adapter has.
 *
 * @throws IdempotencyError `config_invalid` or `store_unsuitable`, with the place and the fix.
 */
export function checkOptions(options: IdempotencyOptions<never>, more: readonly string[] = []): Policy {
  if (typeof options !== "object" || options === null) throw invalid("idempotency() takes an object of options.");
  const { store, account, transactional = false } = options;
  if (typeof (store as Partial<Store> | undefined)?.claim !== "function")
    throw invalid("`store` is missing or no store: give one such as `memoryStore()` of onceward/stores/memory.");
  if (typeof account !== "function")
    throw invalid(
      "`account` is missing: give a function of the request that answers who is calling, a helper of onceward/accounts, or `singleTenant` where there is only one account.",
    );
  checkKinds(options);
  const besides: readonly string[] = [...OWN_OPTIONS, ...more];
  const policy: PolicyOptions = Object.fromEntries(Object.entries(options).filter(([name]) => !besides.includes(name)));
  const resolved = resolvePolicy(policy, { surface: "library", hasRoutes: true, transactional, besides });
  const unsuitable = unsuitableStore(resolved, store.info) ?? (transactional ? lacksTransactions(store) : null);
  if (unsuitable !== null) throw new IdempotencyError("store_unsuitable", `idempotency(): ${unsuitable}.`);
  return resolved;
}

/** Options that a route may have of its own. */
export interface RouteOptions
  extends Omit<PolicyOptions, "forwardKey">,
    Pick<IdempotencyOptions<never>, "transactional"> {}

/**
 * A middleware's options with those of a route in their place. A route with a `profile` of its own starts from that
 * profile and inherits no other policy option, since a profile behaves as its documents say.
 *
 * @throws IdempotencyError `config_invalid` where one of them is none of a route's.
 */
export function withRouteOptions<Req>(options: IdempotencyOptions<Req>, route: RouteOptions): IdempotencyOptions<Req> {
  if (typeof route !== "object" || route === null) throw invalid("those of a route are an object, or false.");
  const isOwn = (name: string): boolean => (OWN_OPTIONS as readonly string[]).includes(name);
  const misplaced = Object.keys(route).find((name) => isOwn(name) && name !== "transactional");
  if (misplaced !== undefined) throw invalid(`\`${misplaced}\` is set for the middleware, not for one route.`);
  if (route.profile === undefined) return { ...options, ...route };
  const own = Object.fromEntries(Object.entries(options).filter(([name]) => isOwn(name)));
  return { ...(own as unknown as IdempotencyOptions<Req>), ...route };
}

type Check = readonly [name: keyof IdempotencyOptions<never>, fits: (value: unknown) => boolean, must: string];

const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
const isFunction = (value: unknown): boolean => typeof value === "function";
const isBoolean = (value: unknown): boolean => typeof value === "boolean";
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1;

const CHECKS: readonly Check[] = [
  ["namespace", isText, "a text that is not empty"],
  ["environment", (value) => isText(value) || isFunction(value), "a text, or a function of the request"],
  ["transactional", isBoolean, "true or false"],
  ["authorizeReplay", isFunction, "a function of the request that answers true or false"],
  ["maxBuffer", (value) => (parseSize(value) ?? 0) >= 1_048_576, 'a size such as "256MiB", of at least 1 MiB'],
  ["background", isBackground, "false, or `{ purgeEvery, sweepEvery, keepRuns }` with durations from 100 ms"],
  ["hashKeys", isBoolean, "true or false"],
  ["history", isBoolean, "true or false"],
  ["maxSteps", isCount, "a whole number from 1"],
  ["maxStepLogBytes", isCount, "a whole number of bytes from 1"],
  ["maxWaiters", isCount, "a whole number from 1"],
  ["maxWaitersPerKey", isCount, "a whole number from 1"],
  ["newKeysPerSecond", (value) => value === null || isCount(value), "a whole number from 1, or null"],
  ["storeTimeoutMs", isCount, "a whole number of milliseconds from 1"],
  ["onEvent", isFunction, "a function"],
  ["onObserved", isFunction, "a function"],
  ["showPath", isFunction, "a function of the path"],
  ["policyDocument", isText, "an address or a path"],
];

function checkKinds(options: IdempotencyOptions<never>): void {
  for (const [name, fits, must] of CHECKS) {
    const value = options[name];
    if (value !== undefined && !fits(value)) throw invalid(`\`${name}\` must be ${must}.`);
  }
}

function isBackground(value: unknown): boolean {
  if (value === false) return true;
  if (typeof value !== "object" || value === null) return false;
  const { purgeEvery, sweepEvery, keepRuns } = value as BackgroundOptions;
  const often = [purgeEvery, sweepEvery].filter((every) => every !== undefined);
  return (
    Object.keys(value).every((name) => BACKGROUND_OPTIONS.includes(name)) &&
    often.every((every) => (parseDuration(every) ?? 0) >= 100) &&
    (keepRuns === undefined || (Number.isSafeInteger(keepRuns) && keepRuns >= 0))
  );
}

function invalid(message: string): IdempotencyError {
  return new IdempotencyError("config_invalid", `The idempotency options are not valid: ${message}`);
}
