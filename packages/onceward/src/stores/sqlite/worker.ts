// The thread that owns the database: runs batches as they come, one after the other.

import { statSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { IdempotencyError } from "../../core/errors.js";
import { BatchRunner, failed, faultOf } from "./batch.js";
import { loadDriver, type OwnedDatabase } from "./driver.js";
import { ExitGate } from "./exit-gate.js";
import { openFile } from "./open-file.js";
import type { Batch, BatchReply } from "./protocol.js";
import type { FromWorker, ToWorker, WorkerStart } from "./worker-messages.js";

/** How often the file's identity is looked at, in milliseconds. */
const MOVED_CHECK_MS = 1_000;

const port = parentPort;
if (port === null) throw new Error("This file runs as a worker thread.");
const options = workerData as WorkerStart;
const gate = new ExitGate(options.exitGate);
const say = (message: FromWorker) => port.postMessage(message);

/** Writes to a file that was deleted or replaced would be acknowledged and lost. */
function watchFile(path: string): () => void {
  const opened = statSync(path);
  let checkedAt = 0;
  return () => {
    if (performance.now() - checkedAt < MOVED_CHECK_MS) return;
    const current = statSync(path, { throwIfNoEntry: false });
    if (current === undefined || current.ino !== opened.ino || current.dev !== opened.dev) {
      throw new IdempotencyError(
        "store_unavailable",
        `The file ${path} was removed or replaced while the store was open. Put it back, or start again.`,
      );
    }
    checkedAt = performance.now();
  };
}

async function opened(): Promise<OwnedDatabase | null> {
  try {
    return await inside(async () => openFile(await loadDriver(), options));
  } catch (error) {
    say({ kind: "refused", fault: faultOf(error) });
    return null;
  }
}

/** Everything that calls SQLite goes through here. */
async function inside<T>(work: () => Promise<T>): Promise<T> {
  // Where the process is exiting, this thread stands still until it is over.
  if (!gate.enter()) return new Promise<never>(() => {});
  try {
    return await work();
  } finally {
    gate.leave();
  }
}

/**
 * Brings the file up to date with its log, so that a copy of the file alone is whole, and closes it. SQLite does so when
 * the last connection closes, but a driver may keep one half-open until its statements are collected.
 */
function close(database: OwnedDatabase): void {
  try {
    database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch {
    // Another process is at work on the file, and whoever closes last writes the log back.
  }
  database.close();
}

async function serve(database: OwnedDatabase): Promise<void> {
  const runner = new BatchRunner(database, options);
  const assertThere = watchFile(options.path);
  const run = async (batch: Batch): Promise<BatchReply> => {
    try {
      assertThere();
    } catch (error) {
      return failed(batch, faultOf(error));
    }
    return runner.run(batch);
  };
  const handle = async (message: ToWorker): Promise<void> => {
    if (message.kind === "batch") {
      say({ kind: "reply", reply: await inside(() => run(message.batch)) });
      return;
    }
    await inside(async () => close(database));
    say({ kind: "closed" });
    port?.close();
  };

  // Messages wait for each other, since a batch that waits for the write lock lets the next message in. An error that
  // nobody foresaw ends the thread, which the store sees and starts another.
  let last: Promise<void> = Promise.resolve();
  port?.on("message", (message: ToWorker) => {
    // Of a store that closes nobody waits for what still tries for the lock.
    if (message.kind === "close") runner.stop();
    last = last.then(() => handle(message));
  });
  say({ kind: "opened" });
}

const database = await opened();
if (database !== null) await serve(database);
