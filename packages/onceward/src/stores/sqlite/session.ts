// One transaction's view of the database: its instant, its statements, and how many records each account has.

import type { StoreLimits } from "../../core/store.js";
import type { SqliteDatabaseLike, SqliteStatementLike, SqlRow, SqlValue } from "./driver.js";
import { bindText, readNumber } from "./text.js";

interface AccountCount {
  readonly id: number;
  readonly records: number;
  added: number;
}

/** Statements are prepared once for each database and kept. */
export class Statements {
  readonly database: SqliteDatabaseLike;
  readonly #prepared = new Map<string, SqliteStatementLike>();

  constructor(database: SqliteDatabaseLike) {
    this.database = database;
  }

  /** Runs a statement and answers how many rows it changed. */
  run(sql: string, ...parameters: SqlValue[]): number {
    return Number(this.#prepare(sql).run(...parameters).changes);
  }

  get(sql: string, ...parameters: SqlValue[]): SqlRow | undefined {
    return (this.#prepare(sql).get(...parameters) ?? undefined) as SqlRow | undefined;
  }

  all(sql: string, ...parameters: SqlValue[]): readonly SqlRow[] {
    return this.#prepare(sql).all(...parameters) as readonly SqlRow[];
  }

  #prepare(sql: string): SqliteStatementLike {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.database.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement;
  }
}

const ALL_ACCOUNTS = 0;

/**
 * What the operations of one transaction share. Counts are read once and written once for all of them, so that a limit
 * on records costs nearly nothing; a transaction that is rolled back throws its session away.
 */
export class Session {
  readonly sql: Statements;
  /** The instant that all operations of the transaction are judged by; epoch milliseconds. */
  readonly now: number;
  readonly limits: StoreLimits;
  /** Whether this transaction has purged already in order to make room. */
  madeRoom = false;
  readonly #accounts = new Map<string, AccountCount>();
  readonly #countsById = new Map<number, AccountCount>();

  constructor(sql: Statements, now: number, limits: StoreLimits) {
    this.sql = sql;
    this.now = now;
    this.limits = limits;
  }

  /** The limit that a further record of this account would be over, or null. */
  reachedLimit(account: string): "account" | "store" | null {
    const known = this.#account(account);
    if (known !== undefined && known.records + known.added >= this.limits.maxRecordsPerAccount) return "account";
    if (known === undefined && this.limits.maxRecordsPerAccount < 1) return "account";
    const all = this.#count(ALL_ACCOUNTS);
    return all.records + all.added >= this.limits.maxRecords ? "store" : null;
  }

  /** The id of an account that is about to have a record, made where it is new. */
  accountId(name: string): number {
    const known = this.#account(name);
    if (known !== undefined) return known.id;
    const row = this.sql.get(
      "INSERT INTO onceward_accounts (name, records) VALUES (?, 0) RETURNING id",
      bindText(name),
    );
    return this.#remember({ id: readNumber(row?.["id"]), records: 0, added: 0 }, name).id;
  }

  /** Counts `added` more records of an account, or fewer. */
  count(accountId: number, added: number): void {
    this.#count(accountId).added += added;
    this.#count(ALL_ACCOUNTS).added += added;
  }

  /** Writes the counts; the last thing before the commit. Accounts without a record are forgotten. */
  finish(): void {
    for (const { id, records, added } of this.#countsById.values()) {
      if (added !== 0) this.sql.run("UPDATE onceward_accounts SET records = records + ? WHERE id = ?", added, id);
      if (id !== ALL_ACCOUNTS && records + added <= 0) this.sql.run("DELETE FROM onceward_accounts WHERE id = ?", id);
    }
  }

  #account(name: string): AccountCount | undefined {
    const known = this.#accounts.get(name);
    if (known !== undefined) return known;
    const row = this.sql.get("SELECT id, records FROM onceward_accounts WHERE name = ?", bindText(name));
    if (row === undefined) return undefined;
    const id = readNumber(row["id"]);
    const counted = this.#countsById.get(id) ?? { id, records: readNumber(row["records"]), added: 0 };
    return this.#remember(counted, name);
  }

  #count(id: number): AccountCount {
    const known = this.#countsById.get(id);
    if (known !== undefined) return known;
    const row = this.sql.get("SELECT records FROM onceward_accounts WHERE id = ?", id);
    return this.#remember({ id, records: readNumber(row?.["records"]), added: 0 }, null);
  }

  #remember(count: AccountCount, name: string | null): AccountCount {
    this.#countsById.set(count.id, count);
    if (name !== null) this.#accounts.set(name, count);
    return count;
  }
}
