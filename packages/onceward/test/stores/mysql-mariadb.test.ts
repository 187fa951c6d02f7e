// The MySQL store through the mariadb connector: the shared suite, and settings of servers that must change nothing.

import { storeSuite } from "onceward/testing";
import { describe, it } from "vitest";
import { missing, mysqlPlace, sharedServer } from "./mysql-kit.js";

const capabilities = { shared: true, history: true, transactions: true, clock: "fake" } as const;

/** Whatever a team has set for reasons of its own. */
const ODD = {
  // Rows that are set to what they are already are then not counted.
  flags: ["-FOUND_ROWS"],
  initSql:
    "SET sql_mode = 'ORACLE,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,EMPTY_STRING_IS_NULL,NO_ZERO_DATE', " +
    "time_zone = '-03:30', tx_isolation = 'READ-COMMITTED', div_precision_increment = 0",
};

describe.skipIf(missing !== null)(missing ?? "MySQL", () => {
  const server = sharedServer();

  storeSuite({
    name: "mysql through mariadb",
    runner: { describe, it },
    capabilities,
    setUp: () => mysqlPlace(server, { kind: "mariadb" }),
  });

  storeSuite({
    name: "mysql in sessions that read SQL, count rows, tell the time and isolate otherwise",
    runner: { describe, it },
    capabilities,
    setUp: () => mysqlPlace(server, { kind: "mysql2 with callbacks", settings: ODD }),
  });
});
