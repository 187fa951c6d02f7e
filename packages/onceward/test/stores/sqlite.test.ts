// The SQLite store with a file of its own: the shared suite.

import { storeSuite } from "onceward/testing";
import { describe, it } from "vitest";
import { sqlitePlace } from "./places.js";

storeSuite({
  name: "sqlite",
  runner: { describe, it },
  capabilities: { shared: true, history: true, clock: "fake" },
  setUp: () => sqlitePlace(),
});
