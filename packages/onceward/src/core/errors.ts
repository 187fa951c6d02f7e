// The one error class, its codes, and its guard.

/** Codes of answers that Onceward makes itself to a request (SPEC §6). */
export type RequestErrorCode =
  | "key_missing"
  | "key_invalid"
  | "account_unknown"
  | "expiration_invalid"
  | "in_progress"
  | "duplicate"
  | "response_not_kept"
  | "key_reused"
  | "too_many_keys"
  | "outcome_unknown"
  | "store_unavailable"
  | "upstream_unavailable"
  /** 403: the application does not let this caller have a recorded answer (SPEC S6). */
  | "replay_refused"
  /** 413: a keyed request's body is larger than `maxRequestBody` (SPEC §5.5). */
  | "request_too_large"
  /** 400: the request's path or framing can be read in two ways (SPEC §5.8), or it is malformed. */
  | "request_invalid";

/** Codes of faults at start or of the store. */
export type FaultCode =
  /** Options that are unknown, malformed or contradict each other. */
  | "config_invalid"
  | "store_url_invalid"
  /** The place cannot be created, read or written. */
  | "store_inaccessible"
  /** The place holds something that is not Onceward's. */
  | "store_foreign"
  | "store_corrupt"
  /** Written by a newer version; it is not touched. */
  | "store_schema_newer"
  /** The store cannot keep a promise of the policy. */
  | "store_unsuitable"
  | "store_closed";

/** Codes of what a step or a transaction of an operation rejects with (SPEC §7). */
export type ClaimErrorCode =
  /** Somebody else owns the key by now: what this run still does is not recorded, and it should end. */
  | "claim_lost"
  /** A rule of steps and transactions is broken: a name used twice, a result that is no JSON, one after the end. */
  | "claim_misused";

export type ErrorCode = RequestErrorCode | FaultCode | ClaimErrorCode;

const BRAND = Symbol.for("onceward.IdempotencyError");

/** Every error that Onceward raises on purpose. `code` is stable; `message` is for people. */
export class IdempotencyError extends Error {
  override readonly name = "IdempotencyError";
  readonly code: ErrorCode;
  /** What a program may want to know beside the code, such as `status` or `issues`. Never a credential or a body. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options?: { readonly cause?: unknown; readonly details?: Readonly<Record<string, unknown>> },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options?.details ?? {};
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is an {@link IdempotencyError}, of any copy of this library, and of `code` where one is given. */
export function isIdempotencyError(error: unknown, code?: ErrorCode): error is IdempotencyError {
  if (typeof error !== "object" || error === null || !(BRAND in error)) return false;
  return code === undefined || (error as unknown as IdempotencyError).code === code;
}
