// Transactions on a connection of SQLite, which wait for nothing (SPEC §7.1).

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sqliteTransactions } from "../../src/transactions/index.js";
import { DatabaseSync } from "../stores/database.js";
import { temporaryDirectory } from "../stores/places.js";
import { last, TABLES, transactionCases } from "./kit.js";

describe("transactions on SQLite", () => {
  const directory = temporaryDirectory();
  let db: InstanceType<typeof DatabaseSync>;

  beforeAll(() => {
    db = new DatabaseSync(join(directory.path, "x.db"));
    for (const statement of TABLES) db.exec(statement);
  });

  afterAll(() => {
    db.close();
    directory.remove();
  });

  const keys = async (): Promise<string[]> =>
    db
      .prepare("SELECT k FROM ledger ORDER BY rowid")
      .all()
      .map((row) => String((row as { readonly k: unknown }).k));

  transactionCases(() => ({
    transactions: sqliteTransactions(db),
    insert: (tx, key) => tx.prepare("INSERT INTO ledger VALUES (?)").run(key),
    keys,
  }));

  test("7.1 a function that waits is refused and rolled back, since other requests share the connection", async () => {
    const before = await keys();
    const result = await sqliteTransactions(db).run(
      async (database) => void database.prepare("INSERT INTO ledger VALUES ('waits')").run(),
      () => last("sqlite", "mine"),
    );
    expect(result).toMatchObject({ outcome: "failed", error: { message: expect.stringContaining("must not wait") } });
    expect(await keys()).toEqual(before);
  });

  test("one within another is refused, and the outer one goes on", async () => {
    const transactions = sqliteTransactions(db);
    const inner: Promise<unknown>[] = [];
    const result = await transactions.run((database) => {
      inner.push(transactions.run(() => 1, null));
      database.prepare("INSERT INTO ledger VALUES ('outer')").run();
      return 2;
    }, null);
    expect(result).toEqual({ outcome: "committed", value: 2 });
    expect(await inner[0]).toMatchObject({ outcome: "failed" });
    expect((await keys()).at(-1)).toBe("outer");
  });
});
