// The messages between a store and the thread that owns its database.

import type { BatchOptions } from "./batch.js";
import type { ExitGateMemory } from "./exit-gate.js";
import type { OpenOptions } from "./open-file.js";
import type { Batch, BatchReply, Fault } from "./protocol.js";

export type WorkerOptions = OpenOptions & BatchOptions;

/** What a thread is given when it starts. */
export interface WorkerStart extends WorkerOptions {
  readonly exitGate: ExitGateMemory;
}

export type ToWorker = { readonly kind: "batch"; readonly batch: Batch } | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "opened" }
  /** The database cannot be opened; the thread ends. */
  | { readonly kind: "refused"; readonly fault: Fault }
  | { readonly kind: "reply"; readonly reply: BatchReply }
  | { readonly kind: "closed" };
