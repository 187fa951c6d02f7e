// The PostgreSQL store where an answer is lost, a row is locked, a connection hangs, or the server lets nothing be written.

import { describe, expect, it } from "vitest";
import { answerOf, claimOf } from "../../src/testing/store-suite/suite-case.js";
import { faultBench, missing } from "./postgres-kit.js";

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  const bench = faultBench();

  describe("an operation whose answer was lost took effect once", () => {
    it.each(["claim", "complete", "renew", "release"] as const)("4.12 %s", async (operation) => {
      const store = await bench.node({ client: bench.pool({ max: 1 }) });
      const request = claimOf();
      const { id, fence } = request;
      if (operation !== "claim") await store.claim(request);
      // The first claim has records counted in the background; this waits for the one connection after that.
      await store.getShared("name");
      bench.relay.cutAtNextAnswer();
      const operations = {
        claim: async () => (await store.claim(request)).outcome === "claimed",
        complete: () => store.complete(id, fence, answerOf("done")),
        renew: () => store.renew(id, fence, 90_000),
        release: () => store.release(id, fence),
      };
      // Asked again by itself: whoever asks learns that it holds, but for a key that was given back already.
      expect(await operations[operation]()).toBe(operation !== "release");
      const state = (await store.find(id))?.record.state;
      expect(state).toBe({ claim: "running", complete: "done", renew: "running", release: undefined }[operation]);
    });
  });

  describe("rows that another transaction holds", () => {
    it("4.1 neighbours of a completion, a claim and a renewal whose row is locked are not held up", async () => {
      const store = await bench.node();
      const held = claimOf();
      const expired = claimOf({ retention: { forMs: 1 }, leaseMs: 1 });
      const others = Array.from({ length: 20 }, () => claimOf());
      for (const request of [held, expired, ...others]) await store.claim(request);
      const holder = await bench.admin.connect();
      await holder.query("BEGIN");
      const ids = [held.id, expired.id].map((id) => Buffer.from(id, "hex"));
      await holder.query(`SELECT FROM ${bench.schema}.onceward_records WHERE id = ANY($1) FOR UPDATE`, [ids]);
      let free = false;
      const waiting = [
        store.complete(held.id, held.fence, answerOf("held")),
        store.claim({ ...expired, fence: "a".repeat(32) }).then(({ outcome }) => outcome === "claimed"),
      ].map((asked) => asked.then((value) => ({ value, free })));
      const done = others.map(({ id, fence }) => store.complete(id, fence, answerOf("other")));
      expect(await Promise.all(done)).toEqual(others.map(() => true));
      // A duplicate of a running key whose row is locked is told so at once.
      expect((await store.claim(claimOf({ id: held.id }))).outcome).toBe("found");
      expect((await store.claim(claimOf())).outcome).toBe("claimed");
      free = true;
      await holder.query("COMMIT");
      holder.release();
      expect(await Promise.all(waiting)).toEqual([
        { value: true, free: true },
        { value: true, free: true },
      ]);
    });

    it("4.11 one that stays locked is store_unavailable in the end, and says why", async () => {
      const store = await bench.node({ maxWaitMs: 400 });
      const request = claimOf();
      await store.claim(request);
      const holder = await bench.admin.connect();
      await holder.query(`BEGIN; SELECT FROM ${bench.schema}.onceward_records FOR UPDATE`);
      const completing = store.complete(request.id, request.fence, answerOf("late"));
      await expect(completing).rejects.toMatchObject({
        code: "store_unavailable",
        message: expect.stringMatching(/Another transaction has held the record's row for 400 ms/),
      });
      await holder.query("COMMIT");
      holder.release();
      expect(await store.complete(request.id, request.fence, answerOf("late"))).toBe(true);
    });
  });

  it("4.11 connections that hang keep no lane: others are made in their place, and answer", async () => {
    const store = await bench.node({ client: bench.pool({ application_name: "hanging" }), maxWaitMs: 500 });
    await Promise.all([store.claim(claimOf()), store.find(claimOf().id)]);
    const { rows } = await bench.admin.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'hanging'");
    const backends: readonly number[] = rows.map(({ pid }) => pid);
    expect(backends.length).toBeGreaterThan(0);
    for (const pid of backends) process.kill(pid, "SIGSTOP");
    bench.after(() => {
      for (const pid of backends) process.kill(pid, "SIGCONT");
    });
    const outcomes: (string | undefined)[] = [];
    while (outcomes.at(-1) !== "claimed" && outcomes.length < 20) {
      outcomes.push(
        await store.claim(claimOf()).then(
          ({ outcome }) => outcome,
          (error) => error.code,
        ),
      );
    }
    expect(outcomes.at(-1)).toBe("claimed");
    expect(outcomes.slice(0, -1).every((code) => code === "store_unavailable")).toBe(true);
    expect(outcomes.length).toBeLessThanOrEqual(backends.length + 2);
  });

  it("4.11 a table that is gone is store_unavailable, and says so", async () => {
    const store = await bench.node();
    await bench.admin.query(`DROP TABLE ${bench.schema}.onceward_records`);
    await expect(store.claim(claimOf())).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(/its tables are gone/),
    });
  });

  it("4.11 a primary that can only be read from now on is store_unavailable, and says so", async () => {
    await bench.admin.query("CREATE ROLE failing LOGIN SUPERUSER");
    const store = await bench.node({ client: bench.pool({ url: bench.server.url.replace("postgres@", "failing@") }) });
    await bench.admin.query("ALTER ROLE failing SET default_transaction_read_only = on");
    await bench.terminate();
    await expect(store.claim(claimOf())).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(/it can only be read.*must reach the primary/),
    });
    await bench.admin.query("ALTER ROLE failing RESET default_transaction_read_only");
    await bench.terminate();
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
  });
});
