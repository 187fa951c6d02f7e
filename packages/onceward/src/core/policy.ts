// A policy: the options of SPEC §13 as people write them, and as the engine reads them.

import type { Duration, Size } from "./duration.js";

/** The named policies of SPEC §12. */
export type ProfileName = "ietf" | "stripe" | "glyue" | "fyno" | "apiture" | "gains";

/** What is known of an operation that was interrupted, for whoever is asked what became of it (SPEC §4.6). */
export interface Interrupted {
  readonly account: string;
  readonly key: string;
  /** Method and path of the first request. */
  readonly operation: string;
  /** Arrival of the first request, epoch milliseconds. */
  readonly createdAt: number;
}

/** The verdict on an interrupted operation. */
export type RecoverVerdict =
  | {
      readonly outcome: "done";
      readonly response: {
        readonly status: number;
        readonly headers: readonly (readonly [string, string])[];
        readonly body: Uint8Array;
      };
    }
  | { readonly outcome: "never-happened" }
  | { readonly outcome: "unknown" };

export type RecoverFunction = (interrupted: Interrupted) => Promise<RecoverVerdict>;

/** Computes what a reused key is compared with; the library hashes what it returns. */
export type FingerprintFunction = (request: {
  readonly method: string;
  readonly target: string;
  readonly body: Uint8Array;
}) => string | Uint8Array;

/** The options of SPEC §13: one vocabulary for the library and the gateway. What is left out is the profile's. */
export interface PolicyOptions {
  readonly profile?: ProfileName;
  readonly header?: string;
  readonly required?: boolean;
  readonly methods?: readonly string[] | "all";
  readonly keyMaxLength?: number;
  readonly strict?: boolean;
  readonly scope?: "account" | "account+operation";
  readonly retention?: Duration;
  readonly expiration?: "off" | { readonly header: string; readonly min: Duration; readonly max: Duration };
  readonly fingerprint?: "exact" | "json" | "off" | readonly string[] | FingerprintFunction;
  readonly onMismatch?: "reject" | "replay";
  readonly duplicates?: "replay" | "reject";
  readonly whileRunning?: "reject" | { readonly wait: Duration };
  readonly retryAfter?: Duration;
  readonly onInterrupted?: "hold" | "rerun" | RecoverFunction | { readonly ask: string };
  readonly lease?: Duration;
  readonly onStoreError?: "reject" | "bypass";
  readonly notStarted?: readonly number[];
  readonly unknownStatuses?: readonly number[];
  readonly maxRequestBody?: Size;
  readonly errorFormat?: "problem" | "stripe";
  readonly mode?: "enforce" | "observe";
  readonly marker?: string | false;
  readonly keepSetCookie?: boolean;
  readonly keepDate?: boolean;
  readonly maxBody?: Size;
  readonly announceIgnored?: boolean;
  /** Media types whose answers stream and are not kept (SPEC §5.4). */
  readonly streamingTypes?: readonly string[];
  /** Whether the key is forwarded to the upstream (SPEC §5.7); gateway only. */
  readonly forwardKey?: boolean;
}

/** A policy as the engine reads it: every option present, durations in milliseconds, sizes in bytes. */
export interface Policy {
  readonly profile: ProfileName;
  readonly header: string;
  readonly required: boolean;
  readonly methods: ReadonlySet<string> | "all";
  readonly keyMaxLength: number;
  readonly strict: boolean;
  readonly scope: "account" | "account+operation";
  readonly retentionMs: number;
  readonly expiration: { readonly header: string; readonly minMs: number; readonly maxMs: number } | null;
  readonly fingerprint: "exact" | "json" | "off" | readonly string[] | FingerprintFunction;
  readonly onMismatch: "reject" | "replay";
  readonly duplicates: "replay" | "reject";
  /** How long a duplicate waits for a running operation; 0: not at all. */
  readonly waitMs: number;
  readonly retryAfterMs: number;
  readonly onInterrupted: "hold" | "rerun" | RecoverFunction | { readonly ask: string };
  readonly leaseMs: number;
  readonly onStoreError: "reject" | "bypass";
  readonly notStarted: ReadonlySet<number>;
  /** Whether a 503 with `Retry-After` says that the operation did not start (SPEC §4.8); the profile's, not an option. */
  readonly busyNotStarted: boolean;
  readonly unknownStatuses: ReadonlySet<number>;
  readonly maxRequestBodyBytes: number;
  readonly errorFormat: "problem" | "stripe";
  readonly mode: "enforce" | "observe";
  readonly marker: string | false;
  readonly keepSetCookie: boolean;
  readonly keepDate: boolean;
  readonly maxBodyBytes: number;
  readonly announceIgnored: boolean;
  readonly streamingTypes: ReadonlySet<string>;
  readonly forwardKey: boolean;
}
