// Why a database is refused at start: each in one message that says how to mend it.

import { IdempotencyError } from "../../core/errors.js";

/** `place` names the database and, where there is one, the schema. */
export function schemaNewer(place: string, found: number, known: number): IdempotencyError {
  return new IdempotencyError(
    "store_schema_newer",
    `The tables in ${place} were made by a newer version of Onceward (schema ${found}; this one knows up to ${known}) ` +
      "and were left as they are. Use that version or a later one.",
    { details: { found, known } },
  );
}

/** `statements` names the function whose statements are to be run, such as `postgresSchema()`. */
export function tablesMissing(place: string, statements: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "store_inaccessible",
    `The store's tables are not in ${place}, or not in this version. Run the statements of ${statements} there as a ` +
      "user who may create tables, or let the store make them (`migrate: true`).",
    { cause },
  );
}

export function foreignTable(place: string, table: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "store_foreign",
    `The table ${table} in ${place} is not one of Onceward's and was left as it is. Give the store another \`prefix\`.`,
    { cause },
  );
}
