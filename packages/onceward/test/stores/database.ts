// The SQLite that the store under test runs on, for tests that open its file themselves.

import type { DatabaseSync as Database } from "@photostructure/sqlite";

// Two libraries in one process do not see each other's locks (https://sqlite.org/howtocorrupt.html, 2.2.1).
const builtin = process.getBuiltinModule?.("node:sqlite" as "node:fs") as unknown as
  | { readonly DatabaseSync: typeof Database }
  | undefined;

export const DatabaseSync: typeof Database =
  builtin?.DatabaseSync ?? (await import("@photostructure/sqlite")).DatabaseSync;
