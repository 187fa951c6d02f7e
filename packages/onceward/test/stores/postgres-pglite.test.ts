// The PostgreSQL store in PGlite, inside the process: the shared suite.

import { storeSuite } from "onceward/testing";
import { describe, it } from "vitest";
import { sharedPGlite } from "./postgres-kit.js";

const setUp = sharedPGlite();

storeSuite({
  name: "postgres in PGlite",
  runner: { describe, it },
  capabilities: { shared: false, history: true, transactions: true, clock: "fake" },
  setUp,
});
