// What the SDK's errors mean: which had no effect and may be sent again, and what a person is to do about them.

import { IdempotencyError } from "../../core/errors.js";
import type { DynamoDBItem } from "./client.js";

export function isNamed(error: unknown, ...names: readonly string[]): boolean {
  return typeof error === "object" && error !== null && names.includes(String((error as { name?: unknown }).name));
}

/** A condition that does not hold, with the item that it was judged on where the server says (SPEC §4.1). */
export function isConditionFailure(error: unknown): error is { readonly Item?: DynamoDBItem } {
  return isNamed(error, "ConditionalCheckFailedException");
}

/** Refused before anything was done, and not for good. */
export function isPassing(error: unknown): boolean {
  return (
    isNamed(
      error,
      "ProvisionedThroughputExceededException",
      "ThrottlingException",
      "Throttling",
      "RequestLimitExceeded",
      // The item is part of somebody's transaction, or written in another Region of a strongly consistent global table.
      "TransactionConflictException",
      "ReplicatedWriteConflictException",
    ) && !isNamed(error, "AbortError")
  );
}

const KEYS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, the profile, or the role";

/** In one line: what is wrong and what to do, as far as the error tells; no secret is in it. */
export function explain(error: unknown, table: string): string {
  if (error instanceof IdempotencyError) return error.message;
  const { name = "", message = "", code = "" } = Object(error) as { name?: string; message?: string; code?: string };
  const said = `${name}${message === "" ? "" : `: ${message}`}`;
  const at = `The DynamoDB table ${table}`;
  switch (name) {
    case "ResourceNotFoundException":
      return `${at} does not exist in this Region and account: check the client's region and endpoint, or create it.`;
    case "ProvisionedThroughputExceededException":
    case "ThrottlingException":
    case "RequestLimitExceeded":
      return `${at} is throttled (${name}): raise its capacity, or bill it on demand.`;
    case "AccessDeniedException":
      return `${at} may not be used with these credentials: allow what docs/stores/dynamodb.md lists. (${message})`;
    case "UnrecognizedClientException":
    case "InvalidSignatureException":
    case "IncompleteSignatureException":
    case "MissingAuthenticationTokenException":
    case "InvalidClientTokenId":
      return `DynamoDB does not accept the credentials: ${KEYS}, and this machine's clock. (${said})`;
    case "ExpiredTokenException":
      return `The credentials for DynamoDB have expired: ${KEYS}. (${said})`;
    case "CredentialsProviderError":
      return `There are no credentials for DynamoDB: ${KEYS}. (${message})`;
  }
  if (name === "ValidationException" && /item size/i.test(message)) {
    return `A record of the DynamoDB table ${table} would be larger than the 400 KB of an item: record fewer steps.`;
  }
  if (/region is missing/i.test(message)) {
    return "The DynamoDB client has no Region: give it `region`, or set AWS_REGION.";
  }
  if (["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH"].includes(code)) {
    return `DynamoDB cannot be reached (${code}): check the client's endpoint and region, and the network.`;
  }
  return `${at} could not be asked: ${said === "" ? String(error) : said}`;
}

/** Any error as one of ours. */
export function unavailable(error: unknown, table: string): IdempotencyError {
  if (error instanceof IdempotencyError) return error;
  return new IdempotencyError("store_unavailable", explain(error, table), { cause: error });
}
