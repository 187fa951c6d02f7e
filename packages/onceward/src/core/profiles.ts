// The six profiles of SPEC §12, as data: what each changes of the defaults in SPEC §13.

import type { PolicyOptions, ProfileName } from "./policy.js";

export interface Profile {
  readonly title: string;
  /** The document whose sentences the profile makes true. */
  readonly source: string;
  readonly options: Omit<PolicyOptions, "profile">;
  /** SPEC §4.8: which statuses of an upstream mean "not started"; in the library the handler says so itself. */
  readonly gatewayNotStarted: readonly number[];
  /** Whether an upstream's 503 with `Retry-After` means "not started" too (SPEC §4.8). */
  readonly gatewayBusyNotStarted: boolean;
  /** Where the source names what it applies to, so that it is refused where no routes are listed; else null. */
  readonly covers: { readonly apis: string; readonly exampleRoute: string } | null;
}

/** SPEC §4.8's list: an upstream that answers so has validated or refused, and started nothing. */
const REFUSALS = [400, 401, 403, 404, 405, 406, 409, 411, 413, 414, 415, 422, 425, 426, 428, 429, 431] as const;

/** Refusals of the caller itself; all that the sources without an exception for validation leave unrecorded. */
const CALLER_REFUSALS = [401, 403, 429] as const;

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  ietf: {
    title: "The Idempotency-Key HTTP header field",
    source: "draft-ietf-httpapi-idempotency-key-header-07",
    options: {},
    gatewayNotStarted: REFUSALS,
    gatewayBusyNotStarted: true,
    covers: null,
  },
  stripe: {
    title: "Stripe API v1, idempotent requests",
    source: "Stripe API v1",
    options: { methods: ["POST"], errorFormat: "stripe" },
    gatewayNotStarted: REFUSALS,
    gatewayBusyNotStarted: true,
    covers: null,
  },
  glyue: {
    title: "Glyue, Idempotency Layer",
    source: "Glyue idempotency layer",
    options: {
      methods: "all",
      keyMaxLength: 64,
      fingerprint: "off",
      onMismatch: "replay",
      marker: false,
      keepDate: true,
      keepSetCookie: true,
    },
    gatewayNotStarted: CALLER_REFUSALS,
    gatewayBusyNotStarted: false,
    covers: null,
  },
  fyno: {
    title: "Fyno, Idempotent Requests",
    source: "Fyno idempotent requests",
    options: {
      methods: ["POST"],
      keyMaxLength: 8192,
      fingerprint: "off",
      onMismatch: "replay",
      marker: false,
      expiration: { header: "x-idempotency-expiration", min: "24h", max: "365d" },
    },
    gatewayNotStarted: REFUSALS,
    gatewayBusyNotStarted: true,
    covers: {
      apis: "the Event, Event Bulk and Automations APIs of its source, in the live environment",
      exampleRoute:
        '{ match: "POST /v1/:workspace/event", profile: fyno, when: { header: X-Environment, equals: live } }',
    },
  },
  apiture: {
    title: "Apiture, Idempotent Operations",
    source: "Apiture idempotent operations",
    options: { fingerprint: "off", onMismatch: "replay", marker: false },
    gatewayNotStarted: CALLER_REFUSALS,
    gatewayBusyNotStarted: false,
    covers: null,
  },
  gains: {
    title: "GAINS, Idempotency",
    source: "GAINS idempotency",
    options: { methods: ["POST", "PUT", "PATCH"], fingerprint: "off", onMismatch: "replay", marker: false },
    gatewayNotStarted: REFUSALS,
    gatewayBusyNotStarted: true,
    covers: null,
  },
};
