// What every client's transactions are tried with: a table, a statement that changes one row of it, and one that changes none.

import { expect, test } from "vitest";
import type { SqlDialect, SqlStatement, Transactions } from "../../src/core/transactions.js";

export interface TransactionPlace<Tx> {
  readonly transactions: Transactions<Tx>;
  /** Inserts a row into `ledger (k)` within the transaction. */
  insert(tx: Tx, key: string): unknown;
  /** The keys in the ledger, in order. */
  keys(): Promise<readonly string[]>;
}

/** The ledger, and the row whose change stands for the recording of an answer. */
export const TABLES = [
  "CREATE TABLE ledger (k VARCHAR(100) NOT NULL)",
  "CREATE TABLE claims (fence VARCHAR(100) NOT NULL, done INTEGER NOT NULL)",
  "INSERT INTO claims VALUES ('mine', 0), ('bytes', 0)",
];

/** Changes the row of a fence, as a completion does; none where there is no such fence. */
export function last(dialect: SqlDialect, fence: string): SqlStatement {
  const text =
    dialect === "postgres"
      ? "UPDATE claims SET done = done + $2::int WHERE fence = $1::text"
      : "UPDATE claims SET done = done + ? WHERE fence = ?";
  return { text, values: dialect === "postgres" ? [fence, 1] : [1, fence] };
}

/** Registers what holds for every client. */
export function transactionCases<Tx>(place: () => TransactionPlace<Tx>): void {
  const added = async (work: () => Promise<unknown>): Promise<readonly string[]> => {
    const before = await place().keys();
    await work();
    return (await place().keys()).slice(before.length);
  };

  test("7.1 the work's writes and the last statement commit together, and its value is told", async () => {
    const { transactions, insert } = place();
    const rows = await added(async () => {
      const result = await transactions.run(
        (tx) => settled(insert(tx, "one"), { id: 7 }),
        () => last(transactions.dialect, "mine"),
      );
      expect(result).toEqual({ outcome: "committed", value: { id: 7 } });
    });
    expect(rows).toEqual(["one"]);
  });

  test("7.1 where the last statement changes no row everything is rolled back, and the claim is told lost", async () => {
    const { transactions, insert } = place();
    const rows = await added(async () => {
      const result = await transactions.run(
        (tx) => settled(insert(tx, "two"), null),
        () => last(transactions.dialect, "another's"),
      );
      expect(result).toEqual({ outcome: "lost" });
    });
    expect(rows).toEqual([]);
  });

  test("7.1 a thrown error rolls back and is told, of the work, of the last statement, and of what makes it", async () => {
    const { transactions, insert } = place();
    const broken = new Error("no funds");
    const rows = await added(async () => {
      const thrown = await transactions.run(
        (tx) =>
          settled(insert(tx, "three"), () => {
            throw broken;
          }),
        () => last(transactions.dialect, "mine"),
      );
      expect(thrown).toEqual({ outcome: "failed", error: broken });
      const wrong = await transactions.run(
        (tx) => settled(insert(tx, "four"), null),
        () => ({ text: "UPDATE nowhere SET nothing = 1", values: [] }),
      );
      expect(wrong.outcome).toBe("failed");
      const unmade = await transactions.run(
        (tx) => settled(insert(tx, "five"), null),
        () => {
          throw broken;
        },
      );
      expect(unmade).toEqual({ outcome: "failed", error: broken });
    });
    expect(rows).toEqual([]);
  });

  test("without a key there is no last statement, and the transaction is a plain one", async () => {
    const { transactions, insert } = place();
    const rows = await added(async () => {
      const result = await transactions.run((tx) => settled(insert(tx, "six"), "done"), null);
      expect(result).toEqual({ outcome: "committed", value: "done" });
    });
    expect(rows).toEqual(["six"]);
  });

  test("many at once keep apart, and no connection is left behind", async () => {
    const { transactions, insert } = place();
    const rows = await added(async () => {
      const results = await Promise.all(
        Array.from({ length: 40 }, (_, index) =>
          transactions.run(
            (tx) => settled(insert(tx, `many-${index}`), index),
            () => last(transactions.dialect, index % 2 === 0 ? "mine" : "nobody's"),
          ),
        ),
      );
      expect(results.map(({ outcome }) => outcome)).toEqual(
        results.map((_, index) => (index % 2 === 0 ? "committed" : "lost")),
      );
    });
    expect([...rows].sort()).toEqual(Array.from({ length: 20 }, (_, index) => `many-${2 * index}`).sort());
  });
}

/** What follows on a write that may or may not be waited for: a value, or what a function gives. */
function settled<T>(written: unknown, value: T | (() => T)): T | Promise<T> {
  const give = (): T => (typeof value === "function" ? (value as () => T)() : value);
  return written instanceof Promise || typeof (written as { then?: unknown } | null)?.then === "function"
    ? Promise.resolve(written).then(give)
    : give();
}
