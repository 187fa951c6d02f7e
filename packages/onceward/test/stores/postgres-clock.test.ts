// The PostgreSQL store judged by the server's own clock, as in production: the shared suite.

import { storeSuite } from "onceward/testing";
import { describe, it } from "vitest";
import { missing, serverClockPlace, sharedServer } from "./postgres-kit.js";

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  const server = sharedServer();

  storeSuite({
    name: "postgres by the server's clock",
    runner: { describe, it },
    capabilities: { shared: true, history: true, transactions: true, clock: "running" },
    setUp: () => serverClockPlace(server),
  });
});
