// An operation's transaction and its claim: what each end of the one means for the other.

import { describe, expect, test } from "vitest";
import type { OwnedClaim } from "../../src/core/claim.js";
import { type BeginRequest, Engine } from "../../src/core/engine.js";
import type { EngineEvent } from "../../src/core/events.js";
import { lacksTransactions, type SqlStatement, type Transactions } from "../../src/core/transactions.js";
import { memoryStore } from "../../src/stores/memory.js";
import { fakeClock } from "../../src/testing/fake-clock.js";
import { type Fault, type FaultOperation, faultStore } from "../../src/testing/fault-store.js";
import { answer, ID, LEASE_MS, owned, request, rules, told, within } from "./engine-kit.js";
import { LedgerDatabase, type LedgerTx, type TransactionFaults } from "./ledger.js";

const alive = { step: async () => {} };

/** An engine on a store in a database with a ledger, both with faults. */
function ledgerKit(transactionFaults: TransactionFaults = {}) {
  const clock = fakeClock();
  const ledger = new LedgerDatabase(memoryStore({ clock }), clock);
  const store = faultStore(ledger.store, () => undefined, { clock });
  const events: EngineEvent[] = [];
  const options = { clock, storeTimeoutMs: 500 };
  return {
    clock,
    ledger,
    store,
    database: ledger.transactions(alive, 1, transactionFaults),
    types: () => events.map((event) => (event.type === "transaction" ? `transaction ${event.outcome}` : event.type)),
    fault(fault?: Fault, ...operations: FaultOperation[]) {
      store.plan = ({ operation }) => (operations.includes(operation) ? fault : undefined);
    },
    engine: new Engine({ store, onEvent: (event) => events.push(event), ...options }),
    node: () => new Engine({ store: ledger.store, ...options }),
  };
}

type LedgerKit = ReturnType<typeof ledgerKit>;

async function begun(k: LedgerKit, over: Partial<BeginRequest> = { rules: rules("rerun") }): Promise<OwnedClaim> {
  return owned(await k.engine.begin(request(k.clock, over)));
}

const write = (text: string) => (tx: LedgerTx) => {
  tx.write("k", text);
  return text;
};

const pay = (claim: OwnedClaim, database: Transactions<LedgerTx>, text = "paid") =>
  claim.transaction(database, write(text), answer);

async function stateOf(k: LedgerKit) {
  const record = (await k.ledger.store.find(ID))?.record;
  return record === undefined ? null : { state: record.state, status: record.status };
}

describe("SPEC §7.1 a transaction", () => {
  test("that commits records the answer and ends the claim without a further call of the store", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    expect(await pay(claim, k.database)).toEqual({ outcome: "recorded", value: "paid" });
    expect(k.ledger.entries.get("k")).toEqual(["paid"]);
    expect(k.store.calls.map(({ operation }) => operation)).toEqual(["claim"]);
    expect(k.types()).toEqual(["claimed", "transaction committed", "recorded"]);
    expect(k.clock.timers).toBe(0);
    expect(told(await k.node().begin(request(k.clock)))).toBe("replay paid");
    await expect(claim.complete(answer("another"))).rejects.toMatchObject({ code: "claim_misused" });
    await expect(pay(claim, k.database)).rejects.toMatchObject({ code: "claim_misused" });
  });

  test("whose work throws rolls back, passes the error on, and leaves the claim to be ended otherwise", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    const error = new Error("insufficient funds");
    const failing = claim.transaction(
      k.database,
      (tx: LedgerTx) => {
        tx.write("k", "paid");
        throw error;
      },
      answer,
    );
    await expect(failing).rejects.toBe(error);
    expect(k.ledger.entries.size).toBe(0);
    expect(await claim.complete(answer("insufficient funds", 402))).toBe("recorded");
    expect(told(await k.node().begin(request(k.clock)))).toBe("replay insufficient funds");
  });

  test("that failed may be tried again, such as after a conflict; two at a time may not be", async () => {
    const k = ledgerKit({ commitFails: 1 });
    const claim = await begun(k);
    await expect(pay(claim, k.database)).rejects.toThrow("could not serialize");
    const both = [pay(claim, k.ledger.transactions(alive, 1, {})), pay(claim, k.database, "twice")];
    await expect(both[1]).rejects.toMatchObject({ code: "claim_misused", message: expect.stringMatching(/under way/) });
    expect(await both[0]).toEqual({ outcome: "recorded", value: "paid" });
    expect(k.ledger.entries.get("k")).toEqual(["paid"]);
  });

  test("under way keeps the claim from ending in another way", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    let finish = (_text: string): void => {};
    const slow = claim.transaction(k.database, () => new Promise<string>((resolve) => (finish = resolve)), answer);
    await k.clock.run(0);
    await expect(claim.complete(answer("hasty"))).rejects.toMatchObject({ code: "claim_misused" });
    await expect(claim.release()).rejects.toMatchObject({ code: "claim_misused" });
    finish("paid");
    expect(await slow).toEqual({ outcome: "recorded", value: "paid" });
  });

  test("4.3 that takes long is renewed for meanwhile", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    const work = async (tx: LedgerTx): Promise<string> => {
      await new Promise<void>((resolve) => void k.clock.after(10 * LEASE_MS, resolve));
      return write("paid")(tx);
    };
    const slow = claim.transaction(k.database, work, answer);
    await k.clock.run(5 * LEASE_MS);
    expect(told(await k.node().begin(request(k.clock, { rules: rules("rerun") })))).toBe("refused in_progress");
    await k.clock.run(5 * LEASE_MS);
    expect(await slow).toEqual({ outcome: "recorded", value: "paid" });
  });

  test("4.2 whose claim was lost to somebody else rolls back, and aborts the signal", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    const { signal } = claim;
    k.fault({ kind: "fail" }, "renew");
    await k.clock.run(LEASE_MS);
    const second = owned(await k.node().begin(request(k.clock, { rules: rules("rerun") })));
    expect(await pay(claim, k.database)).toEqual({ outcome: "lost" });
    expect(signal.aborted).toBe(true);
    expect(k.ledger.entries.size).toBe(0);
    expect(k.types()).toEqual(expect.arrayContaining(["transaction lost", "claim-lost"]));
    expect(await pay(second, k.database, "paid by the second")).toMatchObject({ outcome: "recorded" });
    expect(k.ledger.entries.get("k")).toEqual(["paid by the second"]);
  });

  test("after the claim was lost is not begun", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    k.fault({ kind: "fail" }, "renew");
    await k.clock.run(LEASE_MS);
    const second = owned(await k.node().begin(request(k.clock, { rules: rules("rerun") })));
    k.fault();
    await k.clock.run(LEASE_MS / 2);
    await expect(pay(claim, k.database)).rejects.toMatchObject({ code: "claim_lost" });
    expect(await claim.complete(answer("stale"))).toBe("lost");
    await second.complete(answer("true"));
  });
});

describe("SPEC §7.1 a renewal that meets the transaction's commit", () => {
  /** A database whose COMMIT waits until it is told to go on. */
  function held(k: LedgerKit) {
    let go = (): void => {};
    const waiting = new Promise<void>((resolve) => (go = resolve));
    const { dialect, synchronous, run } = k.database;
    const database: Transactions<LedgerTx> = {
      ...{ dialect, synchronous },
      async run<T>(work: (tx: LedgerTx) => T | Promise<T>, last: ((value: T) => SqlStatement) | null) {
        const result = await run(work, last);
        await waiting;
        return result;
      },
    };
    return { database, go };
  }

  test("is not taken for a lost claim", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    const { signal } = claim;
    // The renewal was on its way when the last statement ran.
    k.fault({ kind: "delay", ms: 100 }, "renew");
    await k.clock.run(LEASE_MS / 3);
    const { database, go } = held(k);
    const paying = pay(claim, database);
    await k.clock.run(200);
    expect(k.store.calls.map(({ operation }) => operation)).toContain("renew");
    expect(signal.aborted).toBe(false);
    go();
    expect(await paying).toEqual({ outcome: "recorded", value: "paid" });
    expect(signal.aborted).toBe(false);
    expect(k.types()).not.toContain("claim-lost");
  });

  test("is believed where the transaction then failed", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    k.fault({ kind: "delay", ms: 100 }, "renew");
    await k.clock.run(LEASE_MS / 3);
    let fail = (): void => {};
    const paying = claim.transaction(
      {
        ...k.database,
        async run<T>(work: (tx: LedgerTx) => T | Promise<T>, last: ((value: T) => SqlStatement) | null) {
          last?.(await work({ write() {} }));
          await new Promise<void>((resolve) => (fail = resolve));
          return { outcome: "failed", error: new Error("conflict") } as const;
        },
      },
      write("paid"),
      answer,
    );
    await k.clock.run(0);
    // Meanwhile an operator released the key by force.
    const { fence } = (await k.ledger.store.find(ID))?.record ?? { fence: "" };
    await k.ledger.store.release(ID, fence);
    await k.clock.run(200);
    expect(claim.signal.aborted).toBe(false);
    fail();
    await expect(paying).rejects.toThrow("conflict");
    await k.clock.run(500);
    expect(claim.signal.aborted).toBe(true);
    expect(await claim.complete(answer("stale"))).toBe("lost");
  });

  test("is not begun while the last statement is on its way, and goes on where that failed", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    let fail = (): void => {};
    const paying = claim.transaction(
      {
        ...k.database,
        async run<T>(work: (tx: LedgerTx) => T | Promise<T>, last: ((value: T) => SqlStatement) | null) {
          last?.(await work({ write() {} }));
          await new Promise<void>((resolve) => (fail = resolve));
          return { outcome: "failed", error: new Error("conflict") } as const;
        },
      },
      write("paid"),
      answer,
    );
    await k.clock.run(LEASE_MS / 2);
    expect(k.store.calls.map(({ operation }) => operation)).not.toContain("renew");
    fail();
    await expect(paying).rejects.toThrow("conflict");
    await k.clock.run(10 * LEASE_MS);
    expect(k.store.calls.filter(({ operation }) => operation === "renew").length).toBeGreaterThan(20);
    expect(await claim.complete(answer("conflict", 409))).toBe("recorded");
  });
});

describe("SPEC §7.1 a COMMIT whose word was lost", () => {
  test("is found to have taken effect: the answer is sent, and is the one that replays", async () => {
    const k = ledgerKit({ commitLost: 1 });
    expect(await within(k.clock, pay(await begun(k), k.database))).toEqual({ outcome: "recorded", value: "paid" });
    expect(k.ledger.entries.get("k")).toEqual(["paid"]);
    expect(k.types()).toEqual(["claimed", "transaction unknown", "recorded"]);
    expect(told(await k.node().begin(request(k.clock)))).toBe("replay paid");
  });

  test("and comes late is waited for: whoever interrupts the record waits for its row", async () => {
    const k = ledgerKit({ commitLate: 1 });
    expect(await within(k.clock, pay(await begun(k), k.database))).toEqual({ outcome: "recorded", value: "paid" });
    expect(await stateOf(k)).toEqual({ state: "done", status: 200 });
  });

  test("and never comes leaves the outcome unknown, and no effect; whoever takes over runs it again", async () => {
    const k = ledgerKit({ commitCut: 1 });
    expect(await within(k.clock, pay(await begun(k), k.database))).toEqual({ outcome: "unknown" });
    expect(await stateOf(k)).toEqual({ state: "unknown", status: 503 });
    expect(k.types()).toEqual(expect.arrayContaining(["transaction unknown", "interrupted"]));
    const second = owned(await k.node().begin(request(k.clock, { rules: rules("rerun") })));
    expect(await pay(second, k.ledger.transactions(alive, 1, {}), "again")).toMatchObject({ outcome: "recorded" });
    expect(k.ledger.entries.get("k")).toEqual(["again"]);
  });

  test("4.11 under `hold` is not sent either, since nobody knows", async () => {
    const k = ledgerKit({ commitCut: 1 });
    expect(await within(k.clock, pay(await begun(k, {}), k.database))).toEqual({ outcome: "unknown" });
    expect(told(await k.node().begin(request(k.clock)))).toBe("unknown 503");
  });

  test("while the store is out of reach is found out behind the scenes", async () => {
    const k = ledgerKit({ commitLost: 1 });
    const claim = await begun(k);
    k.fault({ kind: "fail" }, "find");
    expect(await within(k.clock, pay(claim, k.database))).toEqual({ outcome: "unknown" });
    expect(k.types().at(-1)).toBe("store-failed");
    expect(k.engine.unsettled).toBe(1);
    k.fault();
    await k.clock.run(10_000);
    expect(k.engine.unsettled).toBe(0);
    expect(k.types().at(-1)).toBe("recorded");
    expect(told(await k.node().begin(request(k.clock)))).toBe("replay paid");
  });

  test("after which somebody else owns the record is a lost claim", async () => {
    const k = ledgerKit({ commitCut: 1 });
    const claim = await begun(k);
    k.fault({ kind: "hang", effect: false }, "find", "interrupt", "renew");
    const paying = pay(claim, k.database);
    await k.clock.run(LEASE_MS);
    const second = owned(await within(k.clock, k.node().begin(request(k.clock, { rules: rules("rerun") }))));
    k.fault();
    const end = await within(k.clock, paying);
    expect(["lost", "unknown"]).toContain(end.outcome);
    await k.clock.run(10_000);
    expect(k.types()).toContain("claim-lost");
    expect(await second.complete(answer("true"))).toBe("recorded");
  });

  test("with a runner that rejects, against its word, is looked into alike; before its last statement nothing happened", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    const rejecting = (result: "before" | "after"): Transactions<LedgerTx> => ({
      ...k.database,
      async run<T>(work: (tx: LedgerTx) => T | Promise<T>, last: ((value: T) => SqlStatement) | null) {
        if (result === "after") await k.database.run(work, last);
        throw new Error(`broken ${result}`);
      },
    });
    await expect(pay(claim, rejecting("before"))).rejects.toThrow("broken before");
    expect(await within(k.clock, pay(claim, rejecting("after")))).toEqual({ outcome: "recorded", value: "paid" });
    expect(k.ledger.entries.get("k")).toEqual(["paid"]);
  });
});

describe("SPEC §7.1 transactions that cannot be", () => {
  test("on a store whose records are in no database are refused, with the fix", async () => {
    const clock = fakeClock();
    const store = memoryStore({ clock });
    const claim = owned(await new Engine({ store, clock }).begin(request(clock)));
    const { database } = ledgerKit();
    await expect(pay(claim, database)).rejects.toMatchObject({
      code: "store_unsuitable",
      message: expect.stringMatching(/the memory store's records are in no database .*: keep the records in/),
    });
    expect(await claim.complete(answer("an error", 500))).toBe("recorded");
    expect(lacksTransactions(store)).toMatch(/in no database/);
    expect(lacksTransactions({ info: { ...store.info, name: "sqlite" } })).toMatch(/give sqliteStore the `database`/);
    expect(lacksTransactions(ledgerKit().store)).toBeNull();
  });

  test("of another dialect, or of nothing, are refused before they begin", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    await expect(pay(claim, { ...k.database, dialect: "mysql" })).rejects.toMatchObject({
      code: "claim_misused",
      message: expect.stringMatching(/of mysql .* in postgres/),
    });
    const none = undefined as unknown as Transactions<LedgerTx>;
    await expect(pay(claim, none)).rejects.toMatchObject({
      code: "claim_misused",
      message: expect.stringMatching(/runner/),
    });
  });

  test("in another database of the same kind are told apart from a lost claim", async () => {
    const k = ledgerKit();
    const other = ledgerKit();
    const claim = await begun(k);
    await expect(pay(claim, other.database)).rejects.toMatchObject({
      code: "claim_misused",
      message: expect.stringMatching(/different databases/),
    });
    expect(other.ledger.entries.size).toBe(0);
    expect(await claim.complete(answer("an error", 500))).toBe("recorded");
  });

  test("whose answer cannot be recorded roll back", async () => {
    const k = ledgerKit();
    const claim = await begun(k);
    const unrecordable = claim.transaction(k.database, write("paid"), () => {
      throw new TypeError("no status");
    });
    await expect(unrecordable).rejects.toThrow("no status");
    expect(k.ledger.entries.size).toBe(0);
  });
});
