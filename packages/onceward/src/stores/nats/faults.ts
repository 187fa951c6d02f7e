// What went wrong at NATS, in Onceward's terms.

import { IdempotencyError, isIdempotencyError } from "../../core/errors.js";

/** https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const WRONG_LAST_SEQUENCE: readonly number[] = [10071, 10164];
const STREAM_NOT_FOUND = 10059;
const STREAM_NAME_IN_USE = 10058;
const STREAM_STORE_FAILED = 10077;
const JETSTREAM_NOT_ENABLED: readonly number[] = [10039, 10076];
const NO_REPLICAS_WITHOUT_CLUSTER = 10074;
const NO_SUITABLE_PEERS = 10005;

/** The number of an error of JetStream's API, or null. */
function apiCode(error: unknown): number | null {
  const code = (error as { readonly code?: unknown } | null)?.code;
  return typeof code === "number" ? code : null;
}

/** Somebody else wrote the key since it was read. */
export function isConflict(error: unknown): boolean {
  return WRONG_LAST_SEQUENCE.includes(apiCode(error) ?? 0);
}

/** The bucket has reached its own bounds (`max_bytes`, `max_msgs`); nothing was written. */
export function isFull(error: unknown): boolean {
  return apiCode(error) === STREAM_STORE_FAILED && /maximum/.test(String((error as Error).message));
}

export function isMissing(error: unknown): boolean {
  return apiCode(error) === STREAM_NOT_FOUND;
}

/** Another process created the stream at the same moment, with other settings. */
export function isTaken(error: unknown): boolean {
  return apiCode(error) === STREAM_NAME_IN_USE;
}

/** Nobody listened to the request: JetStream is off, or what was asked for has no leader just now. */
export function isUnheard(error: unknown): boolean {
  return nameOf(error) === "JetStreamNotEnabled" || nameOf(error) === "NoRespondersError";
}

/** A cluster that is still coming together, or a stream that has no leader yet: later it may be otherwise. */
export function isTooSoon(error: unknown): boolean {
  return isUnanswered(error) || apiCode(error) === NO_SUITABLE_PEERS;
}

function isUnanswered(error: unknown): boolean {
  return nameOf(error) === "TimeoutError" || nameOf((error as Error).cause) === "TimeoutError";
}

/** What a caller of the store is told where a request failed: it may have taken effect, or may yet. */
export function unavailable(doing: string, error: unknown): IdempotencyError {
  if (isIdempotencyError(error)) return error;
  // A client gives up for ever after ten attempts, unless it is told otherwise.
  const closed = nameOf(error) === "ClosedConnectionError";
  const fix = closed ? " (connect with `maxReconnectAttempts: -1`, so that the client never gives up)" : "";
  const reason = `NATS could not ${doing}: ${messageOf(error)}${fix}.`;
  return new IdempotencyError("store_unavailable", reason, { cause: error });
}

/** What whoever opens the store is told, with the fix. */
export function cannotOpen(stream: string, doing: string, fault: unknown): IdempotencyError {
  const error = isIdempotencyError(fault, "store_unavailable") ? fault.cause : fault;
  if (isIdempotencyError(error)) return error;
  const refused = (reason: string) => {
    return new IdempotencyError("store_inaccessible", `The NATS store cannot ${doing}: ${reason}`, { cause: error });
  };
  const code = apiCode(error);
  const message = messageOf(error);
  if (JETSTREAM_NOT_ENABLED.includes(code ?? 0)) {
    return refused("JetStream is not enabled for this account. Enable it in the server's configuration (`jetstream`).");
  }
  if (isUnheard(error)) {
    const reason = "nothing answers to JetStream's API.";
    return refused(`${reason} Start the server with \`-js\`, or give the account JetStream, or wait for a leader.`);
  }
  if (/permission/i.test(message)) {
    return refused(`${message}. Give this user the permissions that docs/stores/nats.md lists.`);
  }
  if (code === NO_REPLICAS_WITHOUT_CLUSTER || code === NO_SUITABLE_PEERS) {
    return refused(`${message}. Set \`replicas\` to what the cluster can hold (1 on a single server).`);
  }
  if (isUnanswered(error)) {
    return refused(
      `no answer about ${stream} in time. See that the server runs, and that this user may use $JS.API.>.`,
    );
  }
  return refused(`${message}.`);
}

function nameOf(error: unknown): string | undefined {
  return (error as Error | null | undefined)?.name;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
