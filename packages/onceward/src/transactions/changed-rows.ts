// How many rows a statement changed, as the drivers' results say it.

/**
 * Reads `rowCount` (pg), `count` (postgres.js), `affectedRows` (mysql2, mariadb, PGlite), `numAffectedRows` (Kysely), or the
 * same within the first element of an array (mysql2). Counts may be bigints.
 *
 * @throws TypeError where the result says no such thing: a transaction must not be committed on a guess.
 */
export function changedRows(result: unknown): number {
  if (typeof result === "number") return result;
  for (const holder of [result, Array.isArray(result) ? result[0] : null]) {
    if (typeof holder !== "object" || holder === null) continue;
    for (const name of ["rowCount", "affectedRows", "numAffectedRows", "count"]) {
      const value: unknown = (holder as Readonly<Record<string, unknown>>)[name];
      if (typeof value === "number" || typeof value === "bigint") return Number(value);
    }
  }
  throw new TypeError("The database's answer does not say how many rows a statement changed.");
}
