// Validates policy options once, completes them from their profile, and holds them against the store.

import { IdempotencyError } from "./errors.js";
import type { Policy, PolicyOptions } from "./policy.js";
import { OPTIONS, type OptionName } from "./policy-options.js";
import { PROFILES } from "./profiles.js";
import type { StoreInfo } from "./store.js";
import { closest } from "./suggestion.js";

/** One thing that is wrong with options: where, what, and how to mend it. */
export interface PolicyIssue {
  /** Place within the options, such as `["expiration", "min"]`. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Where the options stand, since a few mean something on one side only. */
export interface PolicyContext {
  readonly surface: "library" | "gateway";
  /** Whether the options apply to routes that are listed; the library is always mounted on some. */
  readonly hasRoutes: boolean;
  /**
   * Whether operations run in `transaction` (SPEC §7.1), so that an interrupted one left nothing behind and is run again
   * unless `onInterrupted` says otherwise. Default false.
   */
  readonly transactional?: boolean;
  /** Names of options that stand beside these and are checked elsewhere; one of them may have been meant. */
  readonly besides?: readonly string[];
}

/** All that is wrong with options; empty where they are fine. */
export function checkPolicy(options: object, context: PolicyContext): PolicyIssue[] {
  const issues: PolicyIssue[] = [];
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name as OptionName] : undefined;
    if (option === undefined) {
      const meant = closest(name, [...Object.keys(OPTIONS), ...(context.besides ?? [])]);
      issues.push({
        path: [name],
        message: `unknown option "${name}"${meant === undefined ? "" : `; did you mean "${meant}"?`}`,
      });
    } else if (option.read(value) === undefined) {
      issues.push({ path: [name], message: `${name} is ${show(value)}, but it must be ${option.values}` });
    }
  }
  return issues.length > 0 ? issues : contradictions(options as PolicyOptions, context);
}

/**
 * Validates options once and completes them from their profile.
 *
 * @throws IdempotencyError `config_invalid`, whose `details.issues` are the {@link PolicyIssue}s.
 */
export function resolvePolicy(options: PolicyOptions, context: PolicyContext): Policy {
  const issues = checkPolicy(options, context);
  if (issues.length > 0) {
    const list = issues.map((issue) => issue.message).join("; ");
    throw new IdempotencyError("config_invalid", `The idempotency options are not valid: ${list}`, {
      details: { issues },
    });
  }
  const profile = PROFILES[options.profile ?? "ietf"];
  const notStarted = context.surface === "gateway" ? profile.gatewayNotStarted : [];
  const merged: Record<string, unknown> = {
    ...{ profile: "ietf", notStarted },
    ...(context.transactional === true ? { onInterrupted: "rerun" } : {}),
    ...profile.options,
    ...defined(options),
  };
  const read = <T>(name: OptionName): T => {
    const option = OPTIONS[name];
    return option.read(Object.hasOwn(merged, name) ? merged[name] : option.default) as T;
  };
  return {
    profile: read("profile"),
    header: read("header"),
    required: read("required"),
    methods: read("methods"),
    keyMaxLength: read("keyMaxLength"),
    strict: read("strict"),
    scope: read("scope"),
    retentionMs: read("retention"),
    expiration: read("expiration"),
    fingerprint: read("fingerprint"),
    onMismatch: read("onMismatch"),
    duplicates: read("duplicates"),
    waitMs: read("whileRunning"),
    retryAfterMs: read("retryAfter"),
    onInterrupted: read("onInterrupted"),
    leaseMs: read("lease"),
    onStoreError: read("onStoreError"),
    notStarted: read("notStarted"),
    busyNotStarted: context.surface === "gateway" && profile.gatewayBusyNotStarted,
    unknownStatuses: read("unknownStatuses"),
    maxRequestBodyBytes: read("maxRequestBody"),
    errorFormat: read("errorFormat"),
    mode: read("mode"),
    marker: read("marker"),
    keepSetCookie: read("keepSetCookie"),
    keepDate: read("keepDate"),
    maxBodyBytes: read("maxBody"),
    announceIgnored: read("announceIgnored"),
    streamingTypes: read("streamingTypes"),
    forwardKey: read("forwardKey"),
  };
}

/** What a store cannot honour of a policy, as a sentence with the fix; null where it can. */
export function unsuitableStore(policy: Policy, store: StoreInfo): string | null {
  const longestMs = Math.max(policy.retentionMs, policy.expiration?.maxMs ?? 0);
  if (longestMs > store.maxRetentionMs) {
    return `the ${store.name} store keeps records for at most ${hours(store.maxRetentionMs)} and the policy asks for ${hours(longestMs)}: shorten \`retention\` (or \`expiration.max\`), or take another store`;
  }
  if (store.maxClockSkewMs >= policy.leaseMs) {
    return `the ${store.name} store allows for ${store.maxClockSkewMs} ms of clock skew, which is not less than the lease of ${policy.leaseMs} ms: lengthen \`lease\``;
  }
  return null;
}

function hours(ms: number): string {
  return `${Math.round(ms / 360_000) / 10} h`;
}

function contradictions(options: PolicyOptions, context: PolicyContext): PolicyIssue[] {
  const issues: PolicyIssue[] = [];
  const refuse = (name: OptionName, message: string): void => void issues.push({ path: [name], message });
  const profile = PROFILES[options.profile ?? "ietf"];
  if (profile.covers !== null && !context.hasRoutes) {
    const { apis, exampleRoute } = profile.covers;
    refuse(
      "profile",
      `profile ${options.profile} covers only ${apis}: list them under \`routes\` and set it there, such as ${exampleRoute}`,
    );
  }
  const duplicates = options.duplicates ?? profile.options.duplicates;
  if (duplicates === "reject" && typeof options.whileRunning === "object") {
    refuse(
      "whileRunning",
      "duplicates that are refused have nothing to wait for: remove `whileRunning`, or set `duplicates: replay`",
    );
  }
  if ((options.fingerprint ?? profile.options.fingerprint) === "off" && options.onMismatch === "reject") {
    const mend = options.fingerprint === "off" ? "remove one of the two" : "set `fingerprint: exact` too";
    refuse("onMismatch", `with \`fingerprint: off\` nothing is compared, so nothing can be refused: ${mend}`);
  }
  const both = (options.unknownStatuses ?? []).filter((status) =>
    (options.notStarted ?? profile.gatewayNotStarted).includes(status),
  );
  if (both.length > 0 && (context.surface === "gateway" || options.notStarted !== undefined)) {
    refuse(
      "unknownStatuses",
      `status ${both.join(", ")} cannot both mean "not started" and "unknown": remove it from \`notStarted\` or \`unknownStatuses\``,
    );
  }
  if (context.surface === "gateway") {
    if (typeof options.onInterrupted === "function")
      refuse("onInterrupted", "a function works in the library only; the gateway takes `{ ask: URL }`");
    if (typeof options.fingerprint === "function") refuse("fingerprint", "a function works in the library only");
  } else {
    if (typeof options.onInterrupted === "object")
      refuse("onInterrupted", "`ask` works in the gateway only; the library takes a function");
    if (options.forwardKey !== undefined)
      refuse("forwardKey", "`forwardKey` works in the gateway only: the library forwards nothing");
  }
  const carries = headerOf(options.header ?? profile.options.header ?? OPTIONS.header.default);
  if (headerOf(options.marker ?? profile.options.marker ?? OPTIONS.marker.default) === carries) {
    refuse("marker", "the marker of a replay cannot be the header of the key: name another one");
  }
  const expiration = options.expiration ?? profile.options.expiration;
  if (typeof expiration === "object" && headerOf(expiration.header) === carries) {
    refuse("expiration", "the header of an expiration cannot be the header of the key: name another one");
  }
  return issues;
}

function headerOf(name: unknown): string | null {
  return typeof name === "string" ? name.toLowerCase() : null;
}

function defined(options: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function show(value: unknown): string {
  if (typeof value === "function") return "a function";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
