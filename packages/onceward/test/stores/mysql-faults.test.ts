// The MySQL store while its server and its connections do their worst: at most one run a key, and an answer for everybody.

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { driveThroughFaults } from "./fault-drive.js";
import { type ClientKind, faultBench, missing, poolOf } from "./mysql-kit.js";

describe.skipIf(missing !== null)(missing ?? "MySQL", () => {
  const bench = faultBench();
  const nodes = (kind: ClientKind) =>
    Promise.all([bench.node({ pool: bench.pool(kind) }), bench.node({ pool: bench.pool(kind) })]);

  describe("P1 P2 P5 under hold no key runs twice, none is wedged, and every request is answered", {
    timeout: 120_000,
  }, () => {
    for (const kind of ["mysql2", "mariadb"] as const) {
      it(`${kind}: while the server is killed and started again`, async () => {
        const report = await driveThroughFaults({
          stores: await nodes(kind),
          keys: 40,
          copies: 3,
          spreadMs: 3_000,
          async trouble() {
            for (let round = 0; round < 2; round++) {
              await sleep(700);
              await bench.server.kill();
              await sleep(400);
              await bench.server.start();
            }
          },
        });
        expect(report.runs).toBeGreaterThan(0);
      });

      it(`${kind}: while connections are killed and cut mid-answer`, async () => {
        const report = await driveThroughFaults({
          stores: await nodes(kind),
          keys: 40,
          copies: 3,
          spreadMs: 3_000,
          async trouble() {
            for (let round = 0; round < 25; round++) {
              bench.relay.cutAtNextAnswer();
              await sleep(60);
              if (round % 5 === 0) await bench.terminate();
              if (round % 7 === 0) bench.relay.cut();
              await sleep(40);
            }
          },
        });
        expect(report.runs).toBeGreaterThan(0);
      });

      it(`${kind}: while the server stands still and answers come late`, async () => {
        await driveThroughFaults({
          stores: await nodes(kind),
          keys: 30,
          copies: 3,
          spreadMs: 4_000,
          storeTimeoutMs: 800,
          async trouble() {
            await sleep(500);
            bench.server.pause();
            await sleep(2_000);
            bench.server.resume();
            bench.relay.delayAnswers(1_000);
            await sleep(1_500);
            bench.relay.heal();
            bench.relay.freezeAnswers();
            await sleep(1_500);
            bench.relay.heal();
          },
        });
      });
    }

    it.each(["mysql2", "mariadb"] as const)(
      "%s: while others have taken every connection of its pool",
      async (kind) => {
        const own = poolOf(kind, bench.server.url, { connectionLimit: 3, acquireTimeout: 1_500 });
        bench.after(() => own.end());
        const pool = own.pool as { getConnection(): Promise<{ release(): void }> };
        await driveThroughFaults({
          stores: [await bench.node({ pool: own.pool }), await bench.node()],
          keys: 20,
          copies: 3,
          spreadMs: 2_000,
          storeTimeoutMs: 800,
          async trouble() {
            const taken = await Promise.all([1, 2, 3].map(() => pool.getConnection().catch(() => null)));
            await sleep(1_200);
            for (const connection of taken) connection?.release();
          },
        });
      },
    );
  });
});
