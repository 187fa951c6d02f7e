// Tells PostgreSQL's own word on a commit from a connection that broke.

/**
 * Whether the server itself reported the error, so that the transaction is rolled back for certain. Not those of the
 * classes 08 (connection) and 57P (shutdown), nor 40003, which says that it does not know.
 */
export function isPostgresError(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  const { code, severity } = error as { readonly code?: unknown; readonly severity?: unknown };
  if (typeof code !== "string" || typeof severity !== "string" || !/^[0-9A-Z]{5}$/.test(code)) return false;
  return code !== "40003" && !code.startsWith("08") && !code.startsWith("57P");
}
