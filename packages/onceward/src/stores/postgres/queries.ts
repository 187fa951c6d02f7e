// Statements on their way to the database: prepared or not, and once more where a connection was lost.

import { createHash } from "node:crypto";
import type { Database, Row, Statement, Value } from "./database.js";
import { isLostAnswer } from "./faults.js";

/** Plans are made anew when so many records have been made through this store, and then at four times as many, and so on. */
const FIRST_REPLAN = 64;

export class Queries {
  /** Whether each statement needs a transaction around it, since the database's default is not READ COMMITTED. */
  explicit = false;
  readonly database: Database;
  readonly #prepared: boolean;
  readonly #kept = new Map<string, Omit<Statement, "values">>();
  #generation = 0;
  #made = 0;

  constructor(database: Database, prepared: boolean) {
    this.database = database;
    this.#prepared = prepared;
  }

  /** A statement for one use. */
  once(text: string, values: readonly Value[] = []): Promise<readonly Row[]> {
    return this.#run({ text, values });
  }

  /** A statement that each connection prepares once and keeps. */
  kept(text: string, values: readonly Value[]): Promise<readonly Row[]> {
    let statement = this.#kept.get(text);
    if (statement === undefined) {
      statement = this.#prepared ? named(`${text}\n-- plan ${this.#generation}`) : { text };
      this.#kept.set(text, statement);
    }
    return this.#run({ ...statement, values });
  }

  /**
   * Tells of records that were made. A plan that PostgreSQL made for a nearly empty table reads all of it, and is kept
   * until the table is analyzed, a minute later or more; statements under new names are planned for what it has become.
   */
  grew(records: number): void {
    this.#made += records;
    if (this.#made < FIRST_REPLAN * 4 ** this.#generation) return;
    this.#generation++;
    this.#kept.clear();
  }

  async #run(statement: Statement): Promise<readonly Row[]> {
    try {
      return await this.#attempt(statement);
    } catch (error) {
      // A pool hands out connections that ended while they were idle. Every operation may be repeated (SPEC §4.12): by
      // its fence, or since it says itself what it expects to find.
      if (!isLostAnswer(error)) throw error;
      return this.#attempt(statement);
    }
  }

  #attempt(statement: Statement): Promise<readonly Row[]> {
    if (!this.explicit) return this.database.query(statement);
    return this.database.transaction((session) => session.query(statement));
  }
}

function named(text: string): Omit<Statement, "values"> {
  return { text, name: `onceward_${createHash("sha256").update(text).digest("hex").slice(0, 16)}` };
}
