// What callers of an API may know (SPEC §10): types only. Instants are RFC 3339, durations seconds, sizes bytes.

/** GET /.well-known/idempotency. */
export interface PolicyDocument {
  readonly version: 1;
  /** URI template (RFC 6570) of {@link KeyStatus}; null where that is not served. */
  readonly keyStatus: string | null;
  /** The first one that matches a request holds; where none does, keys mean nothing. */
  readonly routes: readonly RoutePolicy[];
}

export interface RoutePolicy {
  readonly route: string;
  /** Further condition, which holds for requests with this header value or host. */
  readonly when: { readonly header: string; readonly equals: string } | { readonly host: string } | null;
  /** null: keys mean nothing here. */
  readonly policy: PublishedPolicy | null;
}

export interface PublishedPolicy {
  readonly profile: string;
  /** false: on trial, keys are watched and nothing is promised. */
  readonly enforced: boolean;
  /** Methods whose requests may carry a key. */
  readonly methods: readonly string[] | "all";
  readonly header: string;
  readonly required: boolean;
  readonly key: {
    /** `quoted`: only a Structured Field String (RFC 9651); `quoted-or-bare`: bare visible ASCII too. */
    readonly format: "quoted" | "quoted-or-bare";
    readonly minLength: number;
    readonly maxLength: number;
    /** What a key is unique within, for one account. */
    readonly uniquePer: "account" | "operation";
  };
  readonly retention: {
    /** From the first request's arrival. */
    readonly seconds: number;
    /** A header that sets another end, and its bounds from now; null: none. */
    readonly header: string | null;
    readonly minSeconds: number;
    readonly maxSeconds: number;
  };
  /** A key that is used again with another request. */
  readonly mismatch: {
    readonly compared: "request" | "json" | "fields" | "nothing";
    readonly answer: "first-answer" | number;
  };
  /** A duplicate of a request that has been answered: its answer, or a status that refuses it. */
  readonly duplicate: "first-answer" | number;
  /** A duplicate while the first request runs: it waits so long, then gets this status. */
  readonly inFlight: { readonly status: number; readonly waitSeconds: number; readonly retryAfterSeconds: number };
  /** What becomes of an operation that was interrupted. */
  readonly interrupted: "held" | "run-again" | "asked-about";
  readonly recorded: {
    /** Every status is recorded and replayed but these, after which the key is unused. */
    readonly statuses: "all";
    readonly except: readonly number[];
    /** After these too, where the answer has Retry-After. */
    readonly exceptWithRetryAfter: readonly number[];
    /** These leave the outcome unknown. */
    readonly unknown: readonly number[];
    /** Larger answers are not kept; a duplicate is then answered 409. */
    readonly maxBodyBytes: number;
  };
  readonly maxRequestBytes: number;
  /** The header field that is `true` on a replay; null: nothing tells a replay. */
  readonly replayMarker: string | null;
  readonly errorFormat: "application/problem+json" | "application/json";
}

/** GET /.well-known/idempotency/keys/{key}. */
export type KeyStatus =
  | { readonly state: "absent" }
  | { readonly state: "running"; readonly since: string }
  | {
      readonly state: "done";
      readonly since: string;
      readonly endedAt: string;
      readonly status: number;
      readonly expiresAt: string;
    }
  | { readonly state: "unknown"; readonly since: string; readonly expiresAt: string };
