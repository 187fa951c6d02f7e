// What every SQL store checks of what it is given, before any of it reaches the database.

import { IdempotencyError } from "../../core/errors.js";
import type { Fence, RecordId } from "../../core/record.js";

const MAX_PAGE = 1_000;

/** A wrong digit would end the bytes early in some databases and make different ids one. */
export function assertIds(id: RecordId, ...fences: readonly Fence[]): void {
  if (!/^[0-9a-f]{64}$/.test(id)) throw new TypeError("A record's id is 64 hexadecimal digits in lower case.");
  for (const fence of fences) {
    if (!/^[0-9a-f]{32}$/.test(fence)) throw new TypeError("A fence is 32 hexadecimal digits in lower case.");
  }
}

/** How many items a page holds that was asked for with `limit`. */
export function pageLimit(limit: number): number {
  if (Number.isNaN(limit)) throw new IdempotencyError("request_invalid", "The limit of a listing is not a number.");
  return Math.min(MAX_PAGE, Math.max(1, Math.floor(limit)));
}

/** The sequence number that a cursor of a listing of records stands for; the highest there is where there is none. */
export function sequenceOf(cursor: string | undefined): number {
  if (cursor === undefined) return Number.MAX_SAFE_INTEGER;
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor);
  throw new IdempotencyError("request_invalid", "The cursor is not one that a listing of records gave.");
}

/**
 * Refuses options that are no whole numbers of at least what `least` says of each.
 *
 * @throws IdempotencyError `config_invalid`.
 */
export function assertWholeNumbers(
  factory: string,
  options: Readonly<Record<string, unknown>>,
  least: Readonly<Record<string, number>>,
): void {
  for (const [name, minimum] of Object.entries(least)) {
    const value = options[name];
    if (value === undefined || (Number.isSafeInteger(value) && Number(value) >= minimum)) continue;
    throw new IdempotencyError(
      "config_invalid",
      `${factory}'s option \`${name}\` is ${String(value)}; it is to be a whole number from ${minimum} on.`,
    );
  }
}

/**
 * Refuses a prefix or schema that could not be written into statements as it is. `maxLength` leaves room for the names
 * behind a prefix.
 *
 * @throws IdempotencyError `config_invalid`.
 */
export function assertIdentifier(factory: string, option: string, value: string, maxLength: number): void {
  if (/^[a-z_][a-z0-9_]*$/.test(value) && value.length <= maxLength) return;
  throw new IdempotencyError(
    "config_invalid",
    `${factory}'s option \`${option}\` is ${JSON.stringify(value)}; it is to be 1 to ${maxLength} characters of a-z, ` +
      "0-9 and _, and not to begin with a digit.",
  );
}
