// How few round trips the PostgreSQL store makes, and that no member of one fails or holds up the others.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { ClaimRequest } from "onceward";
import type { PgClientLike, PgPoolLike, PgQueryLike } from "onceward/stores/postgres";
import { describe, expect, it } from "vitest";
import { answerOf, claimOf, newId, together } from "../../src/testing/store-suite/suite-case.js";
import { faultBench, missing } from "./postgres-kit.js";

interface Watched extends PgPoolLike {
  /** The statements that were sent, in order. */
  readonly sent: PgQueryLike[];
  /** How long the next statement is kept back before it is sent, in milliseconds. */
  delayNextMs: number;
}

/** A pool that says what goes through it. */
function watched(pool: PgPoolLike): Watched {
  const client: Watched & { readonly totalCount: number; query(): void } = {
    sent: [],
    delayNextMs: 0,
    totalCount: 0,
    query() {},
    async connect() {
      const taken = await pool.connect();
      return new Proxy(taken, {
        get(target, name) {
          const value = Reflect.get(target, name);
          if (name !== "query") return typeof value === "function" ? value.bind(target) : value;
          return async (query: PgQueryLike) => {
            client.sent.push(query);
            const delayMs = client.delayNextMs;
            client.delayNextMs = 0;
            if (delayMs > 0) await sleep(delayMs);
            return target.query(query);
          };
        },
      }) as PgClientLike;
    },
  };
  return client;
}

/** Bounds on records are none of these tests' matter, and counting them would be seen. */
const limits = { maxRecords: 1_000, maxRecordsPerAccount: 1_000 };

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  const bench = faultBench();

  async function node(options: Parameters<typeof bench.node>[0] = {}) {
    const client = watched(bench.pool());
    const store = await bench.node({ client, limits, ...options });
    client.sent.length = 0;
    return { client, store };
  }

  it("200 claims at once are one round trip, and so are their completions, renewals, releases and findings", async () => {
    const { client, store } = await node();
    const requests = Array.from({ length: 200 }, () => claimOf());
    const trips = async (work: (request: ClaimRequest) => Promise<unknown>): Promise<number> => {
      client.sent.length = 0;
      await Promise.all(requests.map(work));
      return client.sent.length;
    };
    expect(await trips((request) => store.claim(request))).toBe(1);
    expect(await trips(({ id, fence }) => store.renew(id, fence, 1_000))).toBe(1);
    expect(await trips(({ id, fence }) => store.complete(id, fence, answerOf("done")))).toBe(1);
    expect(await trips(({ id }) => store.find(id))).toBe(1);
    const more = requests.map(() => claimOf());
    expect(await trips((_, index = requests.indexOf(_)) => store.claim(more[index] as ClaimRequest))).toBe(1);
    expect(
      await trips((_, index = requests.indexOf(_)) => store.release(more[index]?.id ?? "", more[index]?.fence ?? "")),
    ).toBe(1);
  });

  it("what comes while a round trip is under way travels in the next one", async () => {
    const { client, store } = await node();
    client.delayNextMs = 100;
    const first = store.claim(claimOf());
    await sleep(20);
    const later = together(50, () => store.claim(claimOf()));
    await Promise.all([first, later]);
    expect(client.sent.length).toBe(2);
  });

  it("a lone operation goes out at once", async () => {
    const { client, store } = await node();
    const asked = store.claim(claimOf());
    for (let turns = 0; turns < 3; turns++) await turn();
    expect(client.sent.length).toBe(1);
    await asked;
  });

  it("4.13 200 duplicates of a new key are a few round trips, of a done one they are one", async () => {
    const { client, store } = await node();
    const id = newId();
    const results = await together(200, () => store.claim(claimOf({ id })));
    expect(results.filter(({ outcome }) => outcome === "claimed").length).toBe(1);
    expect(client.sent.length).toBeLessThanOrEqual(3);
    const [winner] = results.flatMap((result) => (result.outcome === "claimed" ? [result.record] : []));
    await store.complete(id, winner?.fence ?? "", answerOf("done"));
    client.sent.length = 0;
    const replays = await together(200, () => store.claim(claimOf({ id })));
    expect(replays.every((replay) => replay.outcome === "found" && replay.record.state === "done")).toBe(true);
    expect(client.sent.length).toBe(1);
  });

  it("a member that the server refuses fails alone", async () => {
    const { store } = await node();
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        store.claim(claimOf(index === 7 ? { retention: { untilMs: 1e300 } } : {})),
      ),
    );
    expect(results.map(({ status }) => status === "fulfilled")).toEqual(results.map((_, index) => index !== 7));
    expect(results[7]).toMatchObject({ reason: { code: "store_unavailable" } });
    const requests = Array.from({ length: 20 }, () => claimOf());
    await Promise.all(requests.map((request) => store.claim(request)));
    const completed = await Promise.allSettled(
      requests.map(({ id, fence }, index) => store.complete(id, fence, answerOf("done", index === 3 ? 99_999 : 200))),
    );
    expect(completed.map(({ status }) => status === "fulfilled")).toEqual(requests.map((_, index) => index !== 3));
  });

  it("a round trip that takes long does not hold up those behind it", async () => {
    const { client, store } = await node({ gathering: { longestWaitMs: 50 } });
    client.delayNextMs = 1_000;
    let slow = true;
    const first = store.claim(claimOf()).then(() => {
      slow = false;
    });
    await sleep(5);
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
    expect(slow).toBe(true);
    await first;
  });

  it("answers that are large travel in several round trips, there and back", async () => {
    const { client, store } = await node();
    const trips = async <T>(work: (request: ClaimRequest) => Promise<T>): Promise<readonly T[]> => {
      client.sent.length = 0;
      return Promise.all(requests.map(work));
    };
    const requests = Array.from({ length: 20 }, () => claimOf());
    await trips((request) => store.claim(request));
    const payloads = requests.map(() => new Uint8Array(randomBytes(1024 * 1024)));
    const payloadOf = (request: ClaimRequest) => payloads[requests.indexOf(request)] ?? new Uint8Array();
    await trips((request) => store.complete(request.id, request.fence, { status: 200, payload: payloadOf(request) }));
    expect(client.sent.length).toBe(5);
    const claimed = await trips(({ id }) => store.claim(claimOf({ id })));
    expect(client.sent.length).toBe(3);
    const found = await trips(({ id }) => store.find(id));
    expect(client.sent.length).toBe(3);
    for (const [index, request] of requests.entries()) {
      const [one, other] = [claimed[index], found[index]];
      const records = [one?.outcome === "found" ? one.record : null, other?.record];
      for (const record of records) expect(Buffer.compare(record?.payload ?? Buffer.of(), payloadOf(request))).toBe(0);
    }
  });

  it("statements of the lanes are prepared under a name, and none where that is switched off", async () => {
    const one = await node();
    await one.store.claim(claimOf());
    expect(one.client.sent.map(({ name }) => name)).toEqual([expect.stringMatching(/^onceward_[0-9a-f]{16}$/)]);
    const two = await node({ preparedStatements: false });
    const request = claimOf();
    await two.store.claim(request);
    await two.store.complete(request.id, request.fence, answerOf("done"));
    expect(two.client.sent.map(({ name }) => name)).toEqual([undefined, undefined]);
  });

  it("plans follow the table's growth: what was planned for a few rows does not read them all when they are many", async () => {
    const store = await bench.node({ client: bench.pool({ max: 1 }) });
    const table = `${bench.schema}.onceward_records`;
    await bench.admin.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`);
    const pair = async (): Promise<void> => {
      const request = claimOf({ account: newId() });
      await store.claim(request);
      await store.complete(request.id, request.fence, answerOf("done"));
    };
    for (let index = 0; index < 3; index++) await pair();
    // From now on the table counts as one of three rows.
    await bench.admin.query(`VACUUM ANALYZE ${table}`);
    for (let index = 0; index < 20; index++) await pair();
    for (let round = 0; round < 20; round++) await together(100, pair);
    const read = async () => {
      const sql = `SELECT n_tup_ins::int AS made, seq_tup_read::int AS walked FROM pg_stat_user_tables WHERE relid = $1::regclass`;
      return (await bench.admin.query(sql, [table])).rows[0];
    };
    // A connection tells what it did when it next does something, and at most once a second.
    const told = async (): Promise<number> => {
      await pair();
      return (await read()).made;
    };
    await expect.poll(told, { timeout: 20_000, interval: 300 }).toBeGreaterThan(2_023);
    // Reading all of it for each of 4,000 lookups would be millions.
    expect((await read()).walked).toBeLessThan(100_000);
  });

  it.each(["repeatable read", "serializable"])(
    "P1 under a default isolation of %s nothing is different",
    async (level) => {
      await bench.admin.query(
        `CREATE ROLE ${bench.schema} LOGIN SUPERUSER; ALTER ROLE ${bench.schema} SET default_transaction_isolation = '${level}'`,
      );
      const url = bench.server.url.replace("postgres@", `${bench.schema}@`);
      const clients = [bench.pool({ url }), bench.pool({ url })];
      const stores = await Promise.all(clients.map((client) => bench.node({ client })));
      for (let round = 0; round < 10; round++) {
        const ids = Array.from({ length: 20 }, newId);
        const claims = await Promise.all(
          ids.flatMap((id) => stores.map(async (store) => ({ store, result: await store.claim(claimOf({ id })) }))),
        );
        const won = claims.flatMap(({ store, result }) =>
          result.outcome === "claimed" ? [{ store, ...result.record }] : [],
        );
        expect(won.map(({ id }) => id).sort()).toEqual(ids.sort());
        const ended = await Promise.all(won.map(({ store, id, fence }) => store.complete(id, fence, answerOf("done"))));
        expect(ended.every(Boolean)).toBe(true);
      }
    },
  );

  it("4.11 a statement_timeout that is too short is store_unavailable, and says so", async () => {
    const pool = bench.pool({ options: "-c statement_timeout=100" });
    const store = await bench.node({ client: pool });
    const holder = await bench.admin.connect();
    await holder.query(`BEGIN; LOCK TABLE ${bench.schema}.onceward_records`);
    await expect(store.claim(claimOf())).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(/statement_timeout/),
    });
    await holder.query("ROLLBACK");
    holder.release();
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
  });
});
