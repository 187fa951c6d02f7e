// The answers that Onceward makes itself, in the format of the policy (SPEC §6).

import type { ErrorCode, RequestErrorCode } from "../core/errors.js";
import type { HeaderList, HttpResponse } from "./message.js";

/** An answer of Onceward's own. Nothing of the key, the fingerprint or the recorded request is ever in it. */
export interface Problem {
  readonly code: RequestErrorCode;
  readonly status: number;
  /** A sentence or two for whoever reads the client's log: what happened and what to do. */
  readonly detail: string;
  /** Sent in whole seconds, rounded up, at least 1. */
  readonly retryAfterMs?: number;
  /** More fields, such as those of CORS. */
  readonly headers?: HeaderList;
  /** `response_not_kept`: the status of the first answer. */
  readonly originalStatus?: number;
  /** `account_unknown`: the challenge of a 401 (RFC 9110 §11.6.1). */
  readonly wwwAuthenticate?: string;
}

/** `problem`: RFC 9457. `stripe`: `{"error": {"type", "code", "message"}}`, the only place Stripe's clients look at. */
export type ErrorFormat = "problem" | "stripe";

interface Kind {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** The default of `retryAfterMs`, where SPEC §6 has a Retry-After. */
  readonly retryAfterMs?: number;
}

const KINDS: Readonly<Record<RequestErrorCode, Kind>> = {
  key_missing: {
    status: 400,
    title: "Idempotency key missing",
    detail: "This operation needs an idempotency key: send a new, unique one for each intended operation.",
  },
  key_invalid: {
    status: 400,
    title: "Idempotency key not readable",
    detail: "The idempotency key cannot be read. Nothing was run.",
  },
  account_unknown: {
    status: 400,
    title: "Account unknown",
    detail: "The account that this idempotency key belongs to cannot be told. Nothing was run.",
  },
  expiration_invalid: {
    status: 400,
    title: "Expiration not acceptable",
    detail: "The expiration of this idempotency key cannot be read or is out of bounds. Nothing was run.",
  },
  in_progress: {
    status: 409,
    title: "Operation in progress",
    detail: "A request with this idempotency key is still being processed. Retry it later, with the same key.",
    retryAfterMs: 1_000,
  },
  duplicate: {
    status: 409,
    title: "Duplicate request",
    detail: "A request with this idempotency key was already accepted. It was not run again.",
  },
  response_not_kept: {
    status: 409,
    title: "Response not kept",
    detail: "The request with this idempotency key has completed, but its response was not kept. It was not run again.",
  },
  key_reused: {
    status: 422,
    title: "Idempotency key reused",
    detail: "This idempotency key was already used for another request. Use a new key for a new operation.",
  },
  too_many_keys: {
    status: 429,
    title: "Too many idempotency keys",
    detail: "The limit on idempotency keys is reached. Nothing was run; retry later, with the same key.",
    retryAfterMs: 1_000,
  },
  outcome_unknown: {
    status: 500,
    title: "Outcome unknown",
    detail:
      "The request with this idempotency key was interrupted, and whether it took effect is not known. Retry later, with the same key; a new key may run it twice.",
  },
  store_unavailable: {
    status: 503,
    title: "Idempotency store unavailable",
    detail: "The idempotency key could not be checked. Nothing was run; retry later, with the same key.",
    retryAfterMs: 1_000,
  },
  upstream_unavailable: {
    status: 503,
    title: "Service unavailable",
    detail: "The service behind could not be reached. Nothing was sent to it; retry later, with the same key.",
    retryAfterMs: 1_000,
  },
  replay_refused: {
    status: 403,
    title: "Recorded answer refused",
    detail: "This caller may not have the recorded answer of this idempotency key. Nothing was run.",
  },
  request_too_large: {
    status: 413,
    title: "Request too large",
    detail: "The body of this request is larger than is accepted with an idempotency key. Nothing was run.",
  },
  request_invalid: {
    status: 400,
    title: "Request not readable",
    detail: "This request is malformed or can be read in two ways. Nothing was run.",
  },
};

const encoder = new TextEncoder();

/** Whether a code is one of those that a request is answered with. */
export function isRequestErrorCode(code: ErrorCode): code is RequestErrorCode {
  return Object.hasOwn(KINDS, code);
}

/** A problem with the status, the detail and the Retry-After of SPEC §6, but for what is overridden. */
export function problem(code: RequestErrorCode, overrides?: Partial<Omit<Problem, "code">>): Problem {
  const { status, detail, retryAfterMs } = KINDS[code];
  return { code, status, detail, ...(retryAfterMs === undefined ? {} : { retryAfterMs }), ...overrides };
}

/** The refusal of a caller. One that cannot be told now may be told in a moment (503); others need another request. */
export function accountProblem(refused: {
  readonly status: number;
  readonly detail: string;
  readonly wwwAuthenticate?: string;
}): Problem {
  const { status, detail, wwwAuthenticate } = refused;
  return problem("account_unknown", {
    status,
    detail,
    ...(status === 503 ? { retryAfterMs: 1_000 } : {}),
    ...(wwwAuthenticate === undefined ? {} : { wwwAuthenticate }),
  });
}

/**
 * The response of a problem, without framing fields. `policyDocument` is the address of what SPEC §10.1 publishes,
 * percent-encoded as addresses are.
 */
export function problemResponse(problem: Problem, format: ErrorFormat, policyDocument?: string): HttpResponse {
  const stripe = format === "stripe";
  const status = stripe && problem.code === "key_reused" && problem.status === 422 ? 400 : problem.status;
  const headers: (readonly [string, string])[] = [
    ["Content-Type", stripe ? "application/json" : "application/problem+json"],
    ["Cache-Control", "no-store"],
  ];
  if (policyDocument !== undefined) headers.push(["Link", `<${policyDocument}>; rel="describedby"`]);
  if (problem.retryAfterMs !== undefined) {
    headers.push(["Retry-After", String(Math.max(1, Math.ceil(problem.retryAfterMs / 1_000)))]);
  }
  if (problem.wwwAuthenticate !== undefined) headers.push(["WWW-Authenticate", problem.wwwAuthenticate]);
  if (problem.headers !== undefined) headers.push(...problem.headers);
  const content = stripe ? stripeContent(problem, status) : problemContent(problem, status);
  return { status, headers, body: encoder.encode(`${JSON.stringify(content)}\n`) };
}

function problemContent(problem: Problem, status: number): object {
  return {
    // A name, not an address: this project has no host of its own that could promise to answer there (RFC 9457 §3.1.1
    // allows a URI that leads nowhere). What to do is in `detail` and behind the Link.
    type: `urn:onceward:problem:${problem.code}`,
    title: KINDS[problem.code].title,
    status,
    detail: problem.detail,
    code: problem.code,
    ...(problem.originalStatus === undefined ? {} : { originalStatus: problem.originalStatus }),
  };
}

function stripeContent(problem: Problem, status: number): object {
  return {
    error: {
      type: stripeType(problem.code, status),
      code: problem.code,
      message: problem.detail,
      // Stripe's own members are in snake case.
      ...(problem.originalStatus === undefined ? {} : { original_status: problem.originalStatus }),
    },
  };
}

/** The types Stripe's clients know: a clash of keys, a fault of the request, a fault of the service. */
function stripeType(code: RequestErrorCode, status: number): string {
  switch (code) {
    case "key_reused":
    case "in_progress":
    case "duplicate":
    case "response_not_kept":
      return "idempotency_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}
