// How few round trips the MySQL store makes, that no member of one fails or holds up the others, and what waiting costs.

import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { ClaimRequest, Store } from "onceward";
import type { MysqlConnectionLike, MysqlPoolLike, MysqlPromisePoolLike } from "onceward/stores/mysql";
import { describe, expect, it } from "vitest";
import { createLayer } from "../../src/http/handle.js";
import { answerOf, claimOf, newId, together } from "../../src/testing/store-suite/suite-case.js";
import { requestOf, response } from "../http/layer-kit.js";
import { faultBench, missing } from "./mysql-kit.js";

interface Watched extends MysqlPromisePoolLike {
  /** The statements that were sent, in order. */
  readonly sent: string[];
  /** How long the next statement is kept back before it is sent, in milliseconds. */
  delayNextMs: number;
}

/** A pool that says what goes through it. */
function watched(pool: MysqlPoolLike): Watched {
  const watch: Watched = {
    sent: [],
    delayNextMs: 0,
    async getConnection() {
      const taken = await (pool as MysqlPromisePoolLike).getConnection();
      const query = async (statement: { readonly sql: string }) => {
        watch.sent.push(statement.sql);
        const delayMs = watch.delayNextMs;
        watch.delayNextMs = 0;
        if (delayMs > 0) await sleep(delayMs);
        return taken.query(statement);
      };
      return { query, release: () => taken.release(), destroy: () => taken.destroy() } satisfies MysqlConnectionLike;
    },
  };
  return watch;
}

/** Statements about records: not those that change how long a session waits for locks, nor the counts in the background. */
const about = (pool: Watched): readonly string[] =>
  pool.sent.filter((sql) => !/^SET |^SELECT \(SELECT COUNT/.test(sql));

describe.skipIf(missing !== null)(missing ?? "MySQL", () => {
  const bench = faultBench();

  async function node(options: Parameters<typeof bench.node>[0] = {}) {
    const pool = watched(bench.pool());
    const store = await bench.node({ pool, ...options });
    pool.sent.length = 0;
    return { pool, store };
  }

  async function trips<T>(pool: Watched, items: readonly T[], work: (item: T) => Promise<unknown>): Promise<number> {
    pool.sent.length = 0;
    await Promise.all(items.map(work));
    return about(pool).length;
  }

  it("200 claims at once are one round trip, and so are their renewals, completions and findings; releases are two", async () => {
    const { pool, store } = await node();
    const requests = Array.from({ length: 200 }, () => claimOf());
    expect(await trips(pool, requests, (request) => store.claim(request))).toBe(1);
    expect(await trips(pool, requests, ({ id, fence }) => store.renew(id, fence, 1_000))).toBe(1);
    expect(await trips(pool, requests, ({ id, fence }) => store.complete(id, fence, answerOf("done")))).toBe(1);
    expect(await trips(pool, requests, ({ id }) => store.find(id))).toBe(1);
    const more = Array.from({ length: 200 }, () => claimOf());
    await trips(pool, more, (request) => store.claim(request));
    expect(await trips(pool, more, ({ id, fence }) => store.release(id, fence))).toBe(2);
  });

  it("4.1 a lone claim of a new key is one statement, a replay is one here, and two at a node that meets the key first", async () => {
    const { pool, store } = await node();
    const other = await node();
    const request = claimOf();
    expect(await trips(pool, [request], (one) => store.claim(one))).toBe(1);
    expect(await trips(pool, [request], ({ id, fence }) => store.complete(id, fence, answerOf("done")))).toBe(1);
    const replay = (at: Store) => async () =>
      expect((await at.claim(claimOf({ id: request.id }))).outcome).toBe("found");
    expect(await trips(pool, [request], replay(store))).toBe(1);
    expect(await trips(other.pool, [request], replay(other.store))).toBe(2);
    expect(await trips(other.pool, [request], replay(other.store))).toBe(1);
    // Of the session's settings nothing is changed for a lone one.
    expect([...pool.sent, ...other.pool.sent].filter((sql) => sql.startsWith("SET "))).toEqual([]);
  });

  it("what comes while a round trip is under way travels in the next one", async () => {
    const { pool, store } = await node();
    pool.delayNextMs = 80;
    const first = store.claim(claimOf());
    await sleep(20);
    const later = together(50, () => store.claim(claimOf()));
    await Promise.all([first, later]);
    expect(about(pool).length).toBe(2);
  });

  it("a lone operation goes out at once", async () => {
    const { pool, store } = await node();
    const asked = store.claim(claimOf());
    for (let turns = 0; turns < 10 && pool.sent.length === 0; turns++) await turn();
    expect(pool.sent.length).toBe(1);
    await asked;
  });

  it("4.13 200 duplicates of a new key are one round trip, and of a done one too", async () => {
    const { pool, store } = await node();
    const id = newId();
    const results = await together(200, () => store.claim(claimOf({ id })));
    const winners = results.filter(({ outcome }) => outcome === "claimed");
    expect(winners.length).toBe(1);
    expect(about(pool).length).toBe(1);
    const [winner] = results.flatMap((result) => (result.outcome === "claimed" ? [result.record] : []));
    await store.complete(id, winner?.fence ?? "", answerOf("done"));
    pool.sent.length = 0;
    const replays = await together(200, () => store.claim(claimOf({ id })));
    expect(replays.every((replay) => replay.outcome === "found" && replay.record.state === "done")).toBe(true);
    expect(about(pool).length).toBe(1);
  });

  it("a member that cannot be written fails alone", async () => {
    const { store } = await node();
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        store.claim(claimOf(index === 7 ? { retention: { untilMs: 1e300 } } : {})),
      ),
    );
    expect(results.map(({ status }) => status === "fulfilled")).toEqual(results.map((_, index) => index !== 7));
    const requests = Array.from({ length: 20 }, () => claimOf());
    await Promise.all(requests.map((request) => store.claim(request)));
    const completed = await Promise.allSettled(
      requests.map(({ id, fence }, index) => store.complete(id, fence, answerOf("done", index === 3 ? 99_999 : 200))),
    );
    expect(completed.map(({ status }) => status === "fulfilled")).toEqual(requests.map((_, index) => index !== 3));
  });

  it("4.2 members whose fence is lost are told so, and the others of the round trip are not", async () => {
    const { pool, store } = await node();
    const requests = Array.from({ length: 30 }, () => claimOf());
    await Promise.all(requests.map((request) => store.claim(request)));
    const isLost = (request: ClaimRequest) => requests.indexOf(request) % 3 === 0;
    const fenceOf = (request: ClaimRequest) => (isLost(request) ? "0".repeat(32) : request.fence);
    const held = await together(30, (index) => {
      const request = requests[index] ?? claimOf();
      return store.renew(request.id, fenceOf(request), 1_000);
    });
    expect(held).toEqual(requests.map((request) => !isLost(request)));
    const released = await together(30, (index) => {
      const request = requests[index] ?? claimOf();
      return store.release(request.id, fenceOf(request));
    });
    expect(released).toEqual(requests.map((request) => !isLost(request)));
    expect(about(pool).length).toBe(5);
  });

  it("a round trip that takes long does not hold up those behind it", async () => {
    const { pool, store } = await node({ gathering: { longestWaitMs: 50 } });
    pool.delayNextMs = 1_000;
    let slow = true;
    const first = store.claim(claimOf()).then(() => {
      slow = false;
    });
    await sleep(5);
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
    expect(slow).toBe(true);
    await first;
  });

  it("answers that are large travel in several round trips", async () => {
    const { pool, store } = await node();
    const requests = Array.from({ length: 12 }, () => claimOf());
    await Promise.all(requests.map((request) => store.claim(request)));
    const payload = new Uint8Array(1024 * 1024).fill(7);
    // Two digits a byte, and no statement of more than 8 MiB.
    expect(await trips(pool, requests, ({ id, fence }) => store.complete(id, fence, { status: 200, payload }))).toBe(4);
    for (const sql of about(pool)) expect(sql.length).toBeLessThan(8.1 * 1024 * 1024);
  });

  it("P1 under any isolation of the sessions nothing is different", async () => {
    for (const level of ["READ COMMITTED", "SERIALIZABLE"]) {
      const initSql = `SET SESSION TRANSACTION ISOLATION LEVEL ${level}`;
      const stores = await Promise.all([1, 2].map(() => bench.node({ pool: bench.pool("mysql2", { initSql }) })));
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
    }
  });

  it("4.13 200 duplicates that wait at another node cost a bounded number of round trips, and get the answer", async () => {
    const owner = createLayer({ store: (await node()).store });
    const { pool, store } = await node();
    const other = createLayer({ store, maxWaitersPerKey: 500 });
    const policy = { whileRunning: { wait: "20s" } } as const;
    const begun = await owner.begin(requestOf({ key: "waited", policy }));
    if (begun.kind !== "run") throw new Error("the first one runs");
    const waiting = together(200, () => other.begin(requestOf({ key: "waited", policy })));
    await sleep(2_000);
    await begun.claim.finish(response("the answer", 201));
    for (const each of await waiting) {
      expect(each.kind === "answer" && new TextDecoder().decode(each.response.body)).toBe("the answer");
    }
    // One round of claims, and one look each half second at most after the first ones.
    expect(about(pool).length).toBeLessThan(25);
  });
});
