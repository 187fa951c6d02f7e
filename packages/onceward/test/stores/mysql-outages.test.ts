// The MySQL store where an answer is lost, a row is locked, a connection hangs or is not clean, or nothing can be written.

import { setTimeout as sleep } from "node:timers/promises";
import type { ClaimRequest } from "onceward";
import type { MysqlPromisePoolLike } from "onceward/stores/mysql";
import { describe, expect, it } from "vitest";
import { answerOf, claimOf, newFence } from "../../src/testing/store-suite/suite-case.js";
import { type ClientKind, faultBench, missing, poolOf } from "./mysql-kit.js";

const KINDS: readonly ClientKind[] = ["mysql2", "mariadb"];

function fail(): never {
  throw new Error("the store has no transactions");
}

describe.skipIf(missing !== null)(missing ?? "MySQL", () => {
  const bench = faultBench({ "max-allowed-packet": "4M" });

  describe.each(KINDS)("%s: an operation whose answer was lost took effect once", (kind) => {
    it.each(["claim", "complete", "renew", "takeOver", "release"] as const)("4.12 %s", async (operation) => {
      const store = await bench.node({ pool: bench.pool(kind, { connectionLimit: 1 }) });
      const request = claimOf({ leaseMs: operation === "takeOver" ? -1 : 60_000 });
      const { id, fence } = request;
      if (operation !== "claim") await store.claim(request);
      const next = { fence: newFence(), leaseMs: 60_000 };
      // The first claim has records counted in the background; this waits for the one connection after that.
      await store.getShared("name");
      bench.relay.cutAtNextAnswer();
      const operations = {
        claim: async () => (await store.claim(request)).outcome === "claimed",
        complete: () => store.complete(id, fence, answerOf("done")),
        renew: () => store.renew(id, fence, 90_000),
        takeOver: () => store.takeOver(id, fence, next),
        release: () => store.release(id, fence).catch(() => false),
      };
      // Asked again by itself: whoever asks learns that it holds, but for a key that was given back already.
      expect(await operations[operation]()).toBe(operation !== "release");
      const found = (await store.find(id))?.record;
      const state = { claim: "running", complete: "done", renew: "running", takeOver: "running", release: undefined };
      expect(found?.state).toBe(state[operation]);
      if (operation === "takeOver") expect(found?.fence).toBe(next.fence);
    });
  });

  describe("rows that another transaction holds", () => {
    it("4.1 neighbours of a completion, a claim and a renewal whose row is locked are held up for a moment only", async () => {
      const [store, stranger] = await Promise.all([1, 2].map(() => bench.node({ maxWaitMs: 10_000 })));
      if (store === undefined || stranger === undefined) throw new Error("two stores are wanted");
      const held = claimOf();
      const others = Array.from({ length: 20 }, () => claimOf());
      for (const request of [held, ...others]) await store.claim(request);
      const holder = await bench.connection();
      await holder.query("SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
      await holder.query("BEGIN");
      await holder.query(`SELECT id FROM ${bench.records} WHERE id = ? FOR UPDATE`, [Buffer.from(held.id, "hex")]);
      const completing = store.complete(held.id, held.fence, answerOf("held")).catch(({ code }) => code);
      const done = others.map(({ id, fence }) => store.complete(id, fence, answerOf("other")));
      // One who meets the key for the first time inserts, and is blocked; the others of its batch are not.
      const duplicate = stranger.claim(claimOf({ id: held.id }));
      const fresh = Array.from({ length: 20 }, () => stranger.claim(claimOf()));
      expect(await Promise.all(done)).toEqual(others.map(() => true));
      for (const { outcome } of await Promise.all(fresh)) expect(outcome).toBe("claimed");
      // A duplicate is told what was committed last, while the row is locked.
      expect((await duplicate).outcome).toBe("found");
      expect((await stranger.claim(claimOf({ id: held.id }))).outcome).toBe("found");
      expect((await store.claim(claimOf({ id: held.id }))).outcome).toBe("found");
      expect(await completing).toBe("store_unavailable");
      await holder.query("COMMIT");
      expect(await store.complete(held.id, held.fence, answerOf("held"))).toBe(true);
    });

    it("7.1 a transaction that recorded its answer and hangs before its COMMIT keeps nobody else waiting", async () => {
      const [store, stranger] = await Promise.all([1, 2].map(() => bench.node({ maxWaitMs: 10_000 })));
      if (store === undefined || stranger === undefined) throw new Error("two stores are wanted");
      // Few records, between which the ids of many others lie.
      const [held, other] = [claimOf(), claimOf()];
      for (const request of [held, other]) await store.claim(request);
      const hanging = await bench.connection();
      await hanging.query("BEGIN");
      const { text, values } = store.transactions?.completion(held.id, held.fence, answerOf("hanging")) ?? fail();
      const [result] = await hanging.query(text, [...values]);
      expect(result).toMatchObject({ affectedRows: 1 });
      for (const each of [store, stranger]) {
        const claims = Array.from({ length: 100 }, () => each.claim(claimOf()));
        const duplicate = each.claim(claimOf({ id: held.id }));
        for (const { outcome } of await Promise.all(claims)) expect(outcome).toBe("claimed");
        expect(await duplicate).toMatchObject({ outcome: "found", record: { state: "running" } });
      }
      expect(await store.complete(other.id, other.fence, answerOf("other"))).toBe(true);
      expect(await bench.query("SELECT COUNT(*) AS waits FROM information_schema.innodb_lock_waits")).toEqual([
        { waits: 0 },
      ]);
      await hanging.query("COMMIT");
      expect((await stranger.find(held.id))?.record.payload).toEqual(answerOf("hanging").payload);
    });

    it("4.11 one that waits alone gets through when the row is free", async () => {
      const store = await bench.node();
      const request = claimOf();
      await store.claim(request);
      const holder = await bench.connection();
      await holder.query("BEGIN");
      await holder.query(`SELECT id FROM ${bench.records} FOR UPDATE`);
      const completing = store.complete(request.id, request.fence, answerOf("late"));
      await sleep(300);
      await holder.query("COMMIT");
      expect(await completing).toBe(true);
    });

    it("the sessions that the pool gets back wait for locks as they did before", async () => {
      const pool = bench.pool("mysql2", { connectionLimit: 1, initSql: "SET innodb_lock_wait_timeout = 37" });
      const store = await bench.node({ pool });
      await Promise.all(Array.from({ length: 20 }, () => store.claim(claimOf())));
      const connection = await (pool as MysqlPromisePoolLike).getConnection();
      const [rows] = (await connection.query({ sql: "SELECT @@innodb_lock_wait_timeout AS seconds" })) as [unknown];
      connection.release();
      expect(rows).toEqual([{ seconds: 37 }]);
    });

    it("4.1 deadlocks with others are resolved by trying again", async () => {
      const [one, two] = await Promise.all([bench.node(), bench.node()]);
      const requests = Array.from({ length: 60 }, () => claimOf());
      for (const request of requests) await one.claim(request);
      let over = false;
      const meddle = async (): Promise<void> => {
        const connection = await bench.connection();
        while (!over) {
          // Two of the rows in any order, as nobody of ours takes them.
          const [first, second] = [...requests].sort(() => Math.random() - 0.5);
          await connection.query("BEGIN");
          for (const request of [first, second]) {
            const touch = `UPDATE ${bench.records} SET ended_at = NULL WHERE id = ? AND state = 0`;
            await connection.query(touch, [Buffer.from(request?.id ?? "", "hex")]).catch(() => {});
          }
          await connection.query("COMMIT");
        }
      };
      const meddling = [meddle(), meddle(), meddle()];
      for (let round = 0; round < 15; round++) {
        const store = round % 2 === 0 ? one : two;
        const held = await Promise.all(requests.map(({ id, fence }) => store.renew(id, fence, 60_000)));
        expect(held.every(Boolean)).toBe(true);
      }
      over = true;
      await Promise.all(meddling);
    });
  });

  describe.each(KINDS)("%s: connections", (kind) => {
    it("4.11 that hang keep no lane: others are made in their place, and answer", async () => {
      const store = await bench.node({ pool: bench.pool(kind), maxWaitMs: 500 });
      await store.claim(claimOf());
      bench.relay.freezeAnswers();
      await expect(store.claim(claimOf())).rejects.toMatchObject({ code: "store_unavailable" });
      bench.relay.heal();
      await expect.poll(async () => (await store.claim(claimOf())).outcome, { timeout: 10_000 }).toBe("claimed");
    });

    it("4.4 that come with a transaction that somebody left open are not written on, and nothing is acknowledged on them", async () => {
      const pool = bench.pool(kind, { connectionLimit: 2 }) as MysqlPromisePoolLike;
      const store = await bench.node({ pool });
      const careless = await Promise.all([pool.getConnection(), pool.getConnection()]);
      for (const connection of careless) {
        await connection.query({ sql: "SET @mark = 1" });
        await connection.query({ sql: "START TRANSACTION" });
      }
      for (const connection of careless) await connection.release();
      const request = claimOf();
      expect((await store.claim(request)).outcome).toBe("claimed");
      expect(await store.complete(request.id, request.fence, answerOf("kept"))).toBe(true);
      // What another connection sees is what was committed.
      const rows = await bench.query(`SELECT state FROM ${bench.records} WHERE id = ?`, [
        Buffer.from(request.id, "hex"),
      ]);
      expect(rows).toEqual([{ state: 1 }]);
    });

    it("4.11 none of which the pool has to give is store_unavailable, and says so", async () => {
      const pool = bench.pool(kind, { connectionLimit: 1, acquireTimeout: 600 }) as MysqlPromisePoolLike;
      const store = await bench.node({ pool, maxWaitMs: 500 });
      const taken = await pool.getConnection();
      await expect(store.claim(claimOf())).rejects.toMatchObject({ code: "store_unavailable" });
      await taken.release();
      await expect.poll(async () => (await store.claim(claimOf())).outcome).toBe("claimed");
    });
  });

  it.each(KINDS)(
    "%s: P1 what was acknowledged is there after the server was killed between claim and completion",
    async (kind) => {
      const store = await bench.node({ pool: bench.pool(kind) });
      const requests = Array.from({ length: 30 }, () => claimOf());
      await Promise.all(requests.map((request) => store.claim(request)));
      const done = requests.slice(0, 10);
      await Promise.all(done.map(({ id, fence }) => store.complete(id, fence, answerOf("before"))));
      await bench.server.kill();
      await bench.server.start();
      const afterwards = async ({ id, fence }: ClaimRequest) =>
        store.complete(id, fence, answerOf("after")).catch(() => store.complete(id, fence, answerOf("after")));
      expect(await Promise.all(requests.map(afterwards))).toEqual(requests.map(() => true));
      for (const request of requests) {
        const expected = done.includes(request) ? "before" : "after";
        expect((await store.find(request.id))?.record.payload).toEqual(answerOf(expected).payload);
      }
    },
  );

  describe("a server that will not", () => {
    it("4.11 whose tables are gone is store_unavailable, and says so", async () => {
      const store = await bench.node();
      await bench.query(`DROP TABLE ${bench.records}`);
      await expect(store.claim(claimOf())).rejects.toMatchObject({
        code: "store_unavailable",
        message: expect.stringMatching(/the store's tables are gone/),
      });
    });

    it("4.11 that can only be read from now on is store_unavailable, and says so", async () => {
      const { port } = bench.relay;
      const url = `mysql://onceward:onceward@${bench.relay.host}:${port}/test`;
      const { pool, end } = poolOf("mysql2", url);
      bench.after(() => end());
      const store = await bench.node({ pool });
      const request = claimOf();
      await store.claim(request);
      await bench.query("SET GLOBAL read_only = ON");
      bench.after(() => bench.query("SET GLOBAL read_only = OFF"));
      for (const write of [store.claim(claimOf()), store.complete(request.id, request.fence, answerOf("no"))]) {
        await expect(write).rejects.toMatchObject({
          code: "store_unavailable",
          message: expect.stringMatching(/read-only.*must reach the primary/),
        });
      }
      await bench.query("SET GLOBAL read_only = OFF");
      expect(await store.complete(request.id, request.fence, answerOf("yes"))).toBe(true);
    });

    it.each(KINDS)(
      "%s: 9.3 an answer larger than max_allowed_packet is refused, and its neighbours are not",
      async (kind) => {
        const store = await bench.node({ pool: bench.pool(kind) });
        const requests = Array.from({ length: 12 }, () => claimOf());
        for (const request of requests) await store.claim(request);
        const answers = requests.map(({ id, fence }, index) => {
          const payload = new Uint8Array(index === 5 ? 2_200_000 : 1_000_000).fill(index);
          return store.complete(id, fence, { status: 200, payload });
        });
        const settled = await Promise.allSettled(answers);
        for (const [index, result] of settled.entries()) {
          if (index !== 5) expect(result).toEqual({ status: "fulfilled", value: true });
        }
        expect(settled[5]).toMatchObject({
          reason: {
            code: "store_unavailable",
            message: expect.stringMatching(/max_allowed_packet is 4194304 bytes.*Raise it/),
          },
        });
        const kept = (await store.find(requests[7]?.id ?? ""))?.record.payload;
        expect([kept?.byteLength, kept?.[0], kept?.at(-1)]).toEqual([1_000_000, 7, 7]);
      },
    );

    it("7.2 a step log longer than a row can be sent with is refused, and what was logged before is kept", async () => {
      const store = await bench.node();
      const { id, fence } = claimOf();
      await store.claim(claimOf({ id, fence }));
      const entry = new Uint8Array(900_000).fill(1);
      expect(await store.appendStep(id, fence, entry)).toBe(true);
      expect(await store.appendStep(id, fence, entry)).toBe(true);
      await expect(store.appendStep(id, fence, entry)).rejects.toMatchObject({
        message: expect.stringMatching(/step log.*max_allowed_packet/),
      });
      expect((await store.readSteps(id, fence))?.length).toBe(2);
      expect(await store.complete(id, fence, answerOf("done"))).toBe(true);
    });
  });

  it("9.2 errors hold neither statements nor answers", async () => {
    const store = await bench.node({ pool: bench.pool("mariadb") });
    const request = claimOf();
    await store.claim(request);
    await bench.query(`DROP TABLE ${bench.records}`);
    const payload = new TextEncoder().encode("secret".repeat(10));
    const error = await store.complete(request.id, request.fence, { status: 200, payload }).catch((reason) => reason);
    const told = [error, error.cause].map((each) => `${each.message} ${each.stack} ${JSON.stringify(each)}`).join();
    expect(told).toContain("gone");
    expect(told.toLowerCase()).not.toContain(Buffer.from("secretsecret").toString("hex"));
    expect(told).not.toContain("UPDATE");
  });

  it.each(KINDS)("%s: a pool's own way to give rows changes nothing", async (kind) => {
    const values = { typeCast: () => "cast", nestTables: true, dateStrings: true, bigNumberStrings: true };
    const rows = { rowsAsArray: false, supportBigNumbers: true, namedPlaceholders: true };
    const meta = kind === "mariadb" ? { metaAsArray: true, checkNumberRange: true } : {};
    const store = await bench.node({ pool: bench.pool(kind, { more: { ...values, ...rows, ...meta } }) });
    const request = claimOf();
    expect((await store.claim(request)).outcome).toBe("claimed");
    expect((await store.claim(claimOf({ id: request.id }))).outcome).toBe("found");
    expect((await store.find(request.id))?.record.fence).toBe(request.fence);
  });
});
