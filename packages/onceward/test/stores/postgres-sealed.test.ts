// The PostgreSQL store under a seal: the shared suite.

import { randomBytes } from "node:crypto";
import { storeSuite } from "onceward/testing";
import { describe, it } from "vitest";
import { missing, postgresPlace, sharedServer } from "./postgres-kit.js";

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  const server = sharedServer();

  storeSuite({
    name: "sealed(postgres)",
    runner: { describe, it },
    capabilities: { shared: true, history: true, transactions: true, clock: "fake" },
    setUp: () => postgresPlace(server, { key: randomBytes(32).toString("hex") }),
  });
});
