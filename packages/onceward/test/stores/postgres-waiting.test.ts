// Waking those who wait for a record that another node runs: LISTEN and NOTIFY, and what they must never break (SPEC §4.13).

import { PGlite } from "@electric-sql/pglite";
import type { Fence, RecordId, Store } from "onceward";
import { describe, expect, it } from "vitest";
import { createLayer } from "../../src/http/handle.js";
import { answerOf, claimOf, newFence, SECOND } from "../../src/testing/store-suite/suite-case.js";
import { requestOf, response } from "../http/layer-kit.js";
import { faultBench, missing } from "./postgres-kit.js";

/** Watches a record, and counts how often it was told of. */
function watch(store: Store, id: RecordId): { readonly told: () => number; readonly end: () => void } {
  let told = 0;
  const end = store.waiting?.watch(id, () => told++);
  if (end === undefined) throw new Error("The store wakes nobody.");
  return { told: () => told, end };
}

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  const bench = faultBench();
  let offset = 0;
  const now = () => Date.now() + offset;

  /** Whether the record is marked, so that its change will be told. */
  const marked = async (id: RecordId): Promise<boolean> => {
    const sql = `SELECT waited FROM ${bench.schema}.onceward_records WHERE id = $1`;
    return (await bench.admin.query(sql, [Buffer.from(id, "hex")])).rows[0]?.waited === true;
  };

  const changes: Readonly<Record<string, (store: Store, id: RecordId, fence: Fence) => Promise<unknown>>> = {
    completed: (store, id, fence) => store.complete(id, fence, answerOf("done")),
    released: (store, id, fence) => store.release(id, fence),
    "made unknown": (store, id, fence) => store.interrupt(id, fence, 500, "owner"),
    "taken over": (store, id, fence) => {
      offset += 61 * SECOND;
      return store.takeOver(id, fence, { fence: newFence(), leaseMs: 60 * SECOND });
    },
    settled: (store, id, fence) => {
      offset += 61 * SECOND;
      return store.settle(id, fence, { fence: newFence(), answer: answerOf("settled") });
    },
    "completed by a transaction of the user's": async (store, id, fence) => {
      const statement = store.transactions?.completion(id, fence, answerOf("done"));
      await bench.admin.query(statement?.text ?? "", [...(statement?.values ?? [])]);
    },
  };

  for (const [name, change] of Object.entries(changes)) {
    it(`4.13 who waits on another node is told when the record is ${name}`, async () => {
      const [owner, other] = [await bench.node({ now }), await bench.node({ now })];
      const { id, fence } = claimOf();
      await owner.claim(claimOf({ id, fence }));
      const waiter = watch(other, id);
      await expect.poll(() => marked(id)).toBe(true);
      expect(waiter.told()).toBe(0);
      await change(owner, id, fence);
      await expect.poll(waiter.told).toBe(1);
      waiter.end();
    });
  }

  it("4.13 in PGlite, and through postgres.js", async () => {
    const lite = await PGlite.create();
    bench.after(() => lite.close());
    await lite.exec(`CREATE SCHEMA ${bench.schema}`);
    const inLite = async (id: RecordId): Promise<boolean> => {
      const sql = `SELECT waited FROM ${bench.schema}.onceward_records WHERE id = $1`;
      return (await lite.query<{ readonly waited: boolean }>(sql, [Buffer.from(id, "hex")])).rows[0]?.waited === true;
    };
    const cases = [
      [lite, inLite],
      [bench.postgresJs(), marked],
    ] as const;
    for (const [client, isMarked] of cases) {
      const store = await bench.node({ client });
      const { id, fence } = claimOf();
      await store.claim(claimOf({ id, fence }));
      const waiter = watch(store, id);
      await expect.poll(() => isMarked(id)).toBe(true);
      expect(waiter.told()).toBe(0);
      await store.complete(id, fence, answerOf("done"));
      await expect.poll(waiter.told).toBe(1);
    }
  });

  it("4.13 a watch of what does not run any more is told at once", async () => {
    const store = await bench.node();
    const { id, fence } = claimOf();
    await store.claim(claimOf({ id, fence }));
    await store.complete(id, fence, answerOf("done"));
    await expect.poll(watch(store, id).told).toBeGreaterThan(0);
    await expect.poll(watch(store, claimOf().id).told).toBeGreaterThan(0);
  });

  it("nothing is notified of records that nobody waits for, since a NOTIFY holds up every other", async () => {
    const listener = await bench.pool({ url: bench.server.url }).connect();
    const heard: unknown[] = [];
    listener.on("notification", ({ payload }) => heard.push(payload));
    await listener.query("LISTEN onceward_changed");
    const [owner, other] = [await bench.node(), await bench.node()];
    const waited = claimOf();
    for (const request of [claimOf(), claimOf(), waited]) {
      await owner.claim(request);
      if (request === waited) {
        watch(other, waited.id);
        await expect.poll(() => marked(waited.id)).toBe(true);
      }
      await owner.complete(request.id, request.fence, answerOf("done"));
    }
    await expect.poll(() => heard.length).toBeGreaterThan(0);
    expect(heard).toEqual([waited.id]);
    listener.release(true);
  });

  it("4.13 a key that was released and claimed again is marked again by whoever looks at it", async () => {
    const [owner, other] = [await bench.node(), await bench.node()];
    const { id, fence } = claimOf();
    await owner.claim(claimOf({ id, fence }));
    const waiter = watch(other, id);
    await expect.poll(() => marked(id)).toBe(true);
    await owner.release(id, fence);
    await expect.poll(waiter.told).toBe(1);
    const next = claimOf({ id });
    await owner.claim(next);
    expect(await marked(id)).toBe(false);
    await other.find(id);
    await expect.poll(() => marked(id)).toBe(true);
    await owner.complete(id, next.fence, answerOf("done"));
    await expect.poll(waiter.told).toBe(2);
  });

  it.each(["pg", "postgres.js"])(
    "4.13 %s: a listening connection that is lost is made anew, and nothing is missed",
    async (kind) => {
      const clientOf = () => (kind === "pg" ? bench.pool() : bench.postgresJs());
      const [owner, other] = [await bench.node({ client: clientOf() }), await bench.node({ client: clientOf() })];
      const first = claimOf();
      await owner.claim(first);
      const early = watch(other, first.id);
      await expect.poll(() => marked(first.id)).toBe(true);
      bench.relay.refuse();
      await bench.admin.query(
        `UPDATE ${bench.schema}.onceward_records SET state = 2, unknown = true, lease_until = 0, ended_at = 1, status = 500`,
      );
      bench.relay.heal();
      // Told though the notification was lost: what changed in between is unknown, so everybody looks.
      await expect.poll(early.told, { timeout: 15_000 }).toBeGreaterThan(0);
      const second = claimOf();
      await expect
        .poll(() =>
          owner.claim(second).then(
            ({ outcome }) => outcome,
            () => "",
          ),
        )
        .toBe("claimed");
      const late = watch(other, second.id);
      await expect.poll(() => marked(second.id), { timeout: 15_000 }).toBe(true);
      await owner.complete(second.id, second.fence, answerOf("done"));
      await expect.poll(late.told).toBeGreaterThan(0);
    },
    40_000,
  );

  it("a store that is not to listen, or has one connection, wakes nobody and works", async () => {
    for (const options of [{ listen: false }, { client: bench.pool({ max: 1 }) }]) {
      const store = await bench.node(options);
      expect(store.waiting).toBeUndefined();
      expect((await store.claim(claimOf())).outcome).toBe("claimed");
    }
  });

  it("closing gives the listening connection back and ends it", async () => {
    const pool = bench.pool({ max: 3, application_name: "listening" });
    const store = await bench.node({ client: pool });
    const { id, fence } = claimOf();
    await store.claim(claimOf({ id, fence }));
    watch(store, id);
    await expect.poll(() => marked(id)).toBe(true);
    await store.close();
    await expect.poll(() => [pool.totalCount - pool.idleCount, pool.waitingCount]).toEqual([0, 0]);
    const sql = "SELECT query FROM pg_stat_activity WHERE application_name = 'listening' AND query LIKE 'LISTEN%'";
    await expect.poll(async () => (await bench.admin.query(sql)).rows).toEqual([]);
  });

  it("4.13 200 duplicates on other nodes wait for one run, at a bounded number of store calls, and get its answer", async () => {
    const stores = [await bench.node(), await bench.node(), await bench.node()];
    let finds = 0;
    const layers = stores.map((store) => {
      const find = store.find.bind(store);
      return createLayer({
        store: Object.assign(store, {
          find(id: RecordId) {
            finds++;
            return find(id);
          },
        }),
      });
    });
    const send = async (index: number): Promise<string> => {
      const policy = { whileRunning: { wait: "20s" } } as const;
      const begun = await layers[index % 3]?.begin(requestOf({ key: "storm", policy }));
      if (begun?.kind === "answer") return new TextDecoder().decode(begun.response.body);
      if (begun?.kind !== "run") throw new Error("not keyed");
      runs++;
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      const answer = await begun.claim.finish(response("the one answer", 201));
      return new TextDecoder().decode(answer.body);
    };
    let runs = 0;
    const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => send(index)));
    expect(new Set(answers)).toEqual(new Set(["the one answer"]));
    expect(runs).toBe(1);
    // One poller a node: at most every 20, 40, … 500 ms.
    expect(finds).toBeLessThan(100);
    await Promise.all(layers.map((layer) => layer.drain(1_000)));
  });
});
