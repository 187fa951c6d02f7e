// The JSON that the gateway publishes and its admin API speaks; types only, the one source for both sides.

import type { AuditEntry, Page, RecordState, Run } from "onceward";
import type { KeyStatus, PolicyDocument } from "onceward/http";

export type { AuditEntry, Page, RecordState, Run };

// Admin API. Instants are epoch milliseconds; listings are newest first and take `limit` (1 to 200) and `cursor`.

/** GET /api/runs: also takes account, key, route, outcome, flag, record, from (inclusive) and to (exclusive). */
export type RunList = Page<Run>;

/** GET /api/records: also takes state, account and key. */
export type RecordList = Page<RecordItem>;

/** GET /api/audit. */
export type AuditList = Page<AuditEntry>;

/** A record without its answer. `account` and `key` are as the history shows them. */
export interface RecordItem {
  readonly id: string;
  readonly state: RecordState;
  readonly account: string;
  readonly key: string;
  /** Method and path of the first request. */
  readonly operation: string;
  /** The run that made it. */
  readonly runId: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Until when its owner is believed alive; null where nobody owns it any more. */
  readonly leaseUntil: number | null;
  readonly endedAt: number | null;
  /** `done`: the recorded status. `unknown`: what duplicates are answered with. */
  readonly status: number | null;
}

/** GET /api/records/{id}. */
export interface RecordDetail extends RecordItem {
  /** The store's clock when it was read; leases and expiry are judged by it. */
  readonly now: number;
  /** Its owner has not been heard of since its lease lapsed. */
  readonly lapsed: boolean;
  readonly answer: RecordedAnswer | null;
}

/** What is recorded, without what belongs to the account: no values of header fields, no body. */
export type RecordedAnswer =
  | {
      readonly readable: true;
      readonly status: number;
      /** As they are replayed, repeated ones included. */
      readonly headerNames: readonly string[];
      /** null: too large or a stream, and not kept. */
      readonly bodyBytes: number | null;
    }
  /** It cannot be read, for example since it is sealed with a key that is not configured. */
  | { readonly readable: false; readonly detail: string };

/** POST /api/records/{id}/settle. */
export type SettleRequest =
  | { readonly reason: string; readonly outcome: "never-happened" }
  | { readonly reason: string; readonly response: SettledResponse };

/** A response that an operator vouches for: every duplicate gets it. */
export interface SettledResponse {
  /** 200 to 599. */
  readonly status: number;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** Base64; left out: empty. */
  readonly body?: string;
}

/** POST /api/records/{id}/release. */
export interface ReleaseRequest {
  readonly reason: string;
  /** Needed while it is running; its operation may then be started a second time. */
  readonly force?: boolean;
}

/** What both answer where they took effect; 409 with a problem where the record did not allow it. */
export interface ChangeDone {
  readonly entry: AuditEntry;
  /** The record as it is now; null where the key is unused again. */
  readonly record: RecordItem | null;
  /** Whether the run in the history shows the change too. */
  readonly amended: boolean;
}

/** GET /healthz and /readyz. */
export interface Health {
  readonly status: "ok" | "stopping" | "store unavailable";
}

/** Every error of the admin API (RFC 9457). */
export interface AdminProblem {
  readonly type: "about:blank";
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** 400: the query parameter that is wrong. */
  readonly parameter?: string;
}

// What callers of the API may know (SPEC §10).

export type { KeyStatus, PolicyDocument };
