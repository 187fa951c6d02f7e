// Opens the store that an address names, with its limits and its seal; the command line and the server use it alike.

import type { Store } from "onceward";
import { memoryStore } from "onceward/stores/memory";
import { sealedStore } from "onceward/stores/sealed";
import { sqliteStore } from "onceward/stores/sqlite";
import type { EncryptionKey, Limits, Timeouts } from "../config/config.js";
import { parseStoreUrl } from "../config/store-url.js";
import { connectStore } from "./connect.js";
import type { ConnectedStore } from "./connected-store.js";

/** The parts of a `GatewayConfig` that a store depends on; every field may be left out for its default. */
export interface OpenStoreOptions {
  /** First one seals, all open; empty: not sealed. */
  readonly encryption?: readonly EncryptionKey[];
  readonly acceptUnsealed?: boolean;
  readonly limits?: Partial<Pick<Limits, "maxRecordsPerAccount" | "maxRecords" | "maxRuns">>;
  readonly timeouts?: Pick<Timeouts, "storeMs">;
  /** Where credentials are that the address leaves out. Default the process's own. */
  readonly env?: NodeJS.ProcessEnv;
  /** Told in one line what an operator should know of the server. Default: nobody. */
  readonly onWarning?: (message: string) => void;
}

/** An open store and what ends it. */
export interface OpenedStore {
  readonly store: Store;
  /** Closes the store, and then the connections that were made for it. */
  close(): Promise<void>;
}

/**
 * The open store of `url`; opening creates, migrates or refuses what it finds. Nothing is left open where it fails.
 *
 * @param url Such as `sqlite:/var/lib/onceward.db`; a relative path is relative to the process's folder.
 * @throws IdempotencyError `store_url_invalid` or what the store says of its place, in one line.
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const { store: bare, disconnect } = await makeStore(url, options);
  const keys = options.encryption ?? [];
  const store =
    keys.length === 0
      ? bare
      : sealedStore(bare, { keys, unsealed: options.acceptUnsealed === true ? "accept" : "refuse" });
  const close = async (): Promise<void> => {
    try {
      await store.close();
    } finally {
      await disconnect();
    }
  };
  try {
    await store.open();
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
  return { store, close };
}

async function makeStore(url: string, options: OpenStoreOptions): Promise<ConnectedStore> {
  const address = parseStoreUrl(url, process.cwd());
  const { maxRecords, maxRecordsPerAccount, maxRuns } = options.limits ?? {};
  const limits = {
    ...(maxRecords === undefined ? {} : { maxRecords }),
    ...(maxRecordsPerAccount === undefined ? {} : { maxRecordsPerAccount }),
  };
  const disconnect = async (): Promise<void> => {};
  if (address.kind === "memory") {
    return { store: memoryStore({ limits, ...(maxRuns === undefined ? {} : { maxRuns }) }), disconnect };
  }
  if (address.kind === "sqlite") return { store: sqliteStore({ path: address.path, limits }), disconnect };
  return connectStore(address, {
    limits,
    maxRuns,
    timeoutMs: options.timeouts?.storeMs ?? 5_000,
    env: options.env ?? process.env,
    onWarning: options.onWarning ?? (() => {}),
  });
}
