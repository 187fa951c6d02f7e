// The MySQL store through each of its clients: the shared suite.

import { randomBytes } from "node:crypto";
import { storeSuite } from "onceward/testing";
import { describe, it } from "vitest";
import { missing, mysqlPlace, sharedServer } from "./mysql-kit.js";

const capabilities = { shared: true, history: true, transactions: true, clock: "fake" } as const;

describe.skipIf(missing !== null)(missing ?? "MySQL", () => {
  const server = sharedServer();

  storeSuite({
    name: "mysql through mysql2",
    runner: { describe, it },
    capabilities,
    setUp: () => mysqlPlace(server),
  });

  storeSuite({
    name: "mysql through mysql2, by the server's clock",
    runner: { describe, it },
    capabilities: { ...capabilities, clock: "running" },
    setUp: () => mysqlPlace(server, { serverClock: true }),
  });

  storeSuite({
    name: "sealed(mysql)",
    runner: { describe, it },
    capabilities,
    setUp: () => mysqlPlace(server, { kind: "mysql2 with callbacks", key: randomBytes(32).toString("hex") }),
  });
});
