// Makes the store that an address names, with its limits and its seal; the command line and the server use it alike.

import type { Store } from "onceward";
import { memoryStore } from "onceward/stores/memory";
import { sealedStore } from "onceward/stores/sealed";
import { sqliteStore } from "onceward/stores/sqlite";
import type { EncryptionKey, Limits, Timeouts } from "./config.js";
import { parseStoreUrl } from "./store-url.js";

/** The parts of a `GatewayConfig` that a store depends on; every field may be left out for its default. */
export interface OpenStoreOptions {
  /** First one seals, all open; empty: not sealed. */
  readonly encryption?: readonly EncryptionKey[];
  readonly acceptUnsealed?: boolean;
  readonly limits?: Pick<Limits, "maxRecordsPerAccount" | "maxRecords" | "maxRuns">;
  readonly timeouts?: Pick<Timeouts, "storeMs">;
}

/**
 * The store of `url`. As every store it is opened by whoever got it: call its `open()` first, which creates, migrates
 * or refuses what it finds, and its `close()` last.
 *
 * @param url Such as `sqlite:/var/lib/onceward.db`; a relative path is relative to the process's folder.
 * @throws IdempotencyError `store_url_invalid`, in one line.
 */
export function openStore(url: string, options: OpenStoreOptions = {}): Store {
  const address = parseStoreUrl(url, process.cwd());
  const { maxRecords, maxRecordsPerAccount, maxRuns } = options.limits ?? {};
  const limits = {
    ...(maxRecords === undefined ? {} : { maxRecords }),
    ...(maxRecordsPerAccount === undefined ? {} : { maxRecordsPerAccount }),
  };
  const store =
    address.kind === "memory"
      ? memoryStore({ limits, ...(maxRuns === undefined ? {} : { maxRuns }) })
      : sqliteStore({ path: address.path, limits });
  const keys = options.encryption ?? [];
  return keys.length === 0
    ? store
    : sealedStore(store, { keys, unsealed: options.acceptUnsealed === true ? "accept" : "refuse" });
}
