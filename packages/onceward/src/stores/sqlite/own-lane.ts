// A database that the user opened: batches run in the calling thread.

import { IdempotencyError } from "../../core/errors.js";
import type { Durability } from "../../core/store.js";
import { type BatchOptions, BatchRunner, errorOf, faultOf } from "./batch.js";
import type { SqliteDatabaseLike } from "./driver.js";
import type { Lane } from "./gathered-lane.js";
import { assertReadable, migrate, readValue } from "./migrate.js";
import type { Batch, BatchReply } from "./protocol.js";

export class OwnLane implements Lane {
  readonly #database: SqliteDatabaseLike;
  readonly #runner: BatchRunner;
  readonly #onOpen: (durability: Durability) => void;

  constructor(database: SqliteDatabaseLike, options: BatchOptions, onOpen: (durability: Durability) => void) {
    this.#database = database;
    this.#runner = new BatchRunner(database, options);
    this.#onOpen = onOpen;
  }

  async open(): Promise<void> {
    try {
      migrate(this.#database, "tables", "The database that was given");
      assertReadable(this.#database);
    } catch (error) {
      const { code, message } = errorOf(faultOf(error));
      throw new IdempotencyError(code === "store_unavailable" ? "store_inaccessible" : code, message, { cause: error });
    }
    this.#onOpen(durabilityOf(this.#database));
  }

  run(batch: Batch): Promise<BatchReply> {
    return this.#runner.run(batch);
  }

  /** The database is the user's, who closes it. */
  async close(): Promise<void> {}
}

/** What a connection promises, by how it was set up (https://sqlite.org/pragma.html#pragma_synchronous). */
function durabilityOf(database: SqliteDatabaseLike): Durability {
  const file = (
    database.prepare("PRAGMA database_list").all() as ReadonlyArray<{ name?: unknown; file?: unknown }>
  ).find(({ name }) => name === "main")?.file;
  const mode = String(readValue(database, "PRAGMA journal_mode")).toLowerCase();
  if (typeof file !== "string" || file === "" || mode === "off" || mode === "memory") return "process";
  return Number(readValue(database, "PRAGMA synchronous")) >= 2 ? "power-loss" : "crash";
}
