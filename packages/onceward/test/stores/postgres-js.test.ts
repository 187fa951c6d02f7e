// The PostgreSQL store through postgres.js: the shared suite.

import { storeSuite } from "onceward/testing";
import { describe, it } from "vitest";
import { missing, postgresPlace, sharedServer } from "./postgres-kit.js";

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  const server = sharedServer();

  storeSuite({
    name: "postgres through postgres.js",
    runner: { describe, it },
    capabilities: { shared: true, history: true, transactions: true, clock: "fake" },
    setUp: () => postgresPlace(server, { kind: "postgres.js" }),
  });
});
