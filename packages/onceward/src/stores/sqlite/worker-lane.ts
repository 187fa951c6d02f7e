// The thread that owns the database, as the store sees it: started, watched, and started anew where it dies.

import { Worker } from "node:worker_threads";
import { IdempotencyError } from "../../core/errors.js";
import { errorOf } from "./batch.js";
import { guardExit } from "./exit-gate.js";
import type { Lane } from "./gathered-lane.js";
import type { Batch, BatchReply } from "./protocol.js";
import type { FromWorker, ToWorker, WorkerOptions, WorkerStart } from "./worker-messages.js";

/** Shortest time between two tries to start the thread. */
const RESTART_MS = 250;

/** One question is under way at a time, so that an answer belongs to it. */
export class WorkerLane implements Lane {
  readonly #options: WorkerOptions;
  #thread: Thread | undefined;
  #startedAt = Number.NEGATIVE_INFINITY;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.#thread = await this.#start(this.#options.create);
  }

  async run(batch: Batch): Promise<BatchReply> {
    if (this.#thread === undefined || this.#thread.dead) this.#thread = await this.#restart();
    const message = await this.#thread.ask({ kind: "batch", batch });
    if (message.kind !== "reply") throw new Error(`The store's thread answered "${message.kind}" to a batch.`);
    return message.reply;
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    if (thread === undefined || thread.dead) return;
    if (thread.asked) {
      // It hangs, such as in a disk that does not answer; to stop it inside SQLite could abort the process (exit-gate.ts).
      thread.leave();
      return;
    }
    try {
      await thread.ask({ kind: "close" });
    } catch (error) {
      // A thread that dies instead has closed as well: what it acknowledged is in the log, and all else was rejected.
      if (!thread.dead) throw error;
    }
    await thread.end();
  }

  async #restart(): Promise<Thread> {
    if (performance.now() - this.#startedAt < RESTART_MS) {
      throw new IdempotencyError("store_unavailable", "The SQLite store's thread has ended; it is started again soon.");
    }
    try {
      // Never makes the file: one that has gone took its records with it, and to begin anew would hide that.
      return await this.#start(false);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new IdempotencyError("store_unavailable", `The SQLite store cannot be opened again: ${reason}`, { cause });
    }
  }

  async #start(create: boolean): Promise<Thread> {
    this.#startedAt = performance.now();
    const thread = new Thread({ ...this.#options, create });
    const message = await thread.ask(null);
    if (message.kind === "refused") {
      await thread.end();
      throw errorOf(message.fault);
    }
    return thread;
  }
}

class Thread {
  dead = false;
  readonly #worker: Worker;
  #waiting: { readonly resolve: (message: FromWorker) => void; readonly reject: (error: unknown) => void } | undefined;

  constructor(options: WorkerOptions) {
    const exit = guardExit();
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      name: "onceward sqlite",
      workerData: { ...options, exitGate: exit.memory } satisfies WorkerStart,
    });
    let cause: unknown;
    this.#worker.on("message", (message: FromWorker) => this.#waiting?.resolve(message));
    this.#worker.on("error", (error) => {
      cause = error;
    });
    this.#worker.on("exit", () => {
      this.dead = true;
      exit.forget();
      const reason = cause instanceof Error ? ` (${cause.message})` : "";
      const message = `The SQLite store's thread ended unasked${reason}.`;
      this.#waiting?.reject(new IdempotencyError("store_unavailable", message, { cause }));
    });
  }

  /** Whether it owes an answer. */
  get asked(): boolean {
    return this.#waiting !== undefined;
  }

  /** Says something, or nothing (null), and waits for what the thread says next. */
  async ask(question: ToWorker | null): Promise<FromWorker> {
    // A store keeps its process alive while it is asked something, and no longer.
    this.#worker.ref();
    try {
      return await new Promise<FromWorker>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        if (question !== null) this.#worker.postMessage(question);
      });
    } finally {
      this.#waiting = undefined;
      this.#worker.unref();
    }
  }

  /** Lets it close by itself as soon as it can, and keeps no process alive for that. */
  leave(): void {
    this.#worker.postMessage({ kind: "close" } satisfies ToWorker);
    this.#worker.unref();
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
