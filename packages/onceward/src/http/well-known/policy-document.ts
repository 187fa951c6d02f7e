// The policy document (SPEC §10.1): what callers may know of each route's rules.

import type { Policy } from "../../core/policy.js";
import { isNeverKeyed } from "../../core/policy-options.js";
import type { PolicyDocument, PublishedPolicy, RoutePolicy } from "./published.js";

export const DOCUMENT_PATH = "/.well-known/idempotency";
export const KEYS_PATH: string = `${DOCUMENT_PATH}/keys/`;

/** A route as it is published. */
export interface DocumentedRoute {
  readonly name: string;
  /** null: every method. */
  readonly methods: ReadonlySet<string> | null;
  readonly when: RoutePolicy["when"];
  /** null: keys mean nothing here. */
  readonly policy: Policy | null;
}

/** The document of routes. It names no upstream, no field of a request's body, and nothing of an account. */
export function policyDocument(routes: readonly DocumentedRoute[], keys: "served" | "not-served"): PolicyDocument {
  const keyStatus = keys === "served" ? `${KEYS_PATH}{key}{?operation}` : null;
  return { version: 1, keyStatus, routes: routes.map(routePolicy) };
}

function routePolicy(route: DocumentedRoute): RoutePolicy {
  const methods = route.policy === null ? [] : keyedMethods(route.methods, route.policy.methods);
  const policy = route.policy === null || methods.length === 0 ? null : published(route.policy, methods);
  return { route: route.name, when: route.when, policy };
}

/** The methods of a route whose requests may carry a key. */
function keyedMethods(
  route: ReadonlySet<string> | null,
  policy: ReadonlySet<string> | "all",
): readonly string[] | "all" {
  if (policy === "all") return route === null ? "all" : [...route].filter((method) => !isNeverKeyed(method));
  return [...policy].filter((method) => route?.has(method) !== false && !isNeverKeyed(method));
}

function published(policy: Policy, methods: readonly string[] | "all"): PublishedPolicy {
  const { expiration } = policy;
  return {
    profile: policy.profile,
    enforced: policy.mode === "enforce",
    methods,
    header: policy.header,
    required: policy.required,
    key: {
      format: policy.strict ? "quoted" : "quoted-or-bare",
      minLength: 1,
      maxLength: policy.keyMaxLength,
      uniquePer: policy.scope === "account" ? "account" : "operation",
    },
    retention: {
      seconds: policy.retentionMs / 1_000,
      header: expiration?.header ?? null,
      minSeconds: (expiration?.minMs ?? policy.retentionMs) / 1_000,
      maxSeconds: (expiration?.maxMs ?? policy.retentionMs) / 1_000,
    },
    mismatch: { compared: compared(policy), answer: onMismatch(policy) },
    duplicate: policy.duplicates === "replay" ? "first-answer" : 409,
    inFlight: {
      status: 409,
      waitSeconds: policy.waitMs / 1_000,
      retryAfterSeconds: Math.max(1, Math.ceil(policy.retryAfterMs / 1_000)),
    },
    interrupted:
      policy.onInterrupted === "hold" ? "held" : policy.onInterrupted === "rerun" ? "run-again" : "asked-about",
    recorded: {
      statuses: "all",
      except: sorted(policy.notStarted),
      exceptWithRetryAfter: policy.busyNotStarted ? [503] : [],
      unknown: sorted(policy.unknownStatuses),
      maxBodyBytes: policy.maxBodyBytes,
    },
    maxRequestBytes: policy.maxRequestBodyBytes,
    replayMarker: policy.marker === false ? null : policy.marker,
    errorFormat: policy.errorFormat === "stripe" ? "application/json" : "application/problem+json",
  };
}

/** Which fields are compared is the operator's business (SPEC §5.6); that some are is the caller's too. */
function compared({ fingerprint }: Policy): PublishedPolicy["mismatch"]["compared"] {
  if (fingerprint === "exact") return "request";
  if (fingerprint === "json") return "json";
  return fingerprint === "off" ? "nothing" : "fields";
}

/** SPEC §6: the profile of Stripe answers 400. */
function onMismatch({ onMismatch, fingerprint, errorFormat }: Policy): PublishedPolicy["mismatch"]["answer"] {
  if (onMismatch === "replay" || fingerprint === "off") return "first-answer";
  return errorFormat === "stripe" ? 400 : 422;
}

function sorted(statuses: ReadonlySet<number>): number[] {
  return [...statuses].sort((one, other) => one - other);
}
