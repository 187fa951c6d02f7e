// Where a page of a listing of records ends: when the record was made, and its id, since several are made at once.

import { IdempotencyError } from "../../core/errors.js";
import { readHex, readInteger } from "./statements.js";

export function cursorOf(madeAt: unknown, id: unknown): string {
  return `${readInteger(madeAt)}-${readHex(id)}`;
}

function parse(cursor: string): readonly [madeAt: string, id: string] {
  const [, madeAt, id] = /^(\d{1,16})-([0-9a-f]{64})$/.exec(cursor) ?? [];
  if (madeAt !== undefined && id !== undefined) return [madeAt, id];
  throw new IdempotencyError("request_invalid", "The cursor is not one that a listing of records gave.");
}

/** The place in the order of the listing, as it is compared with `(made_at, id)`. */
export function placeOf(cursor: string): string {
  const [madeAt, id] = parse(cursor);
  return `(${madeAt}, X'${id}')`;
}

/** The same as a bound that an index can be searched by. */
export function madeAtOf(cursor: string): string {
  return parse(cursor)[0];
}
