// Starts the bank and the gateway in front of it, in one process, on data that stays.

import { mkdirSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import type { Address, GatewayConfig } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { createBank } from "./bank.js";
import { Ledger, type Transfer } from "./ledger.js";

export interface DemoBank {
  readonly ledger: Ledger;
  readonly address: Address;
  close(): Promise<void>;
}

/**
 * The bank, listening.
 *
 * @throws Error of the file system where `folder` cannot be used, and of the listener.
 */
export async function startBank(
  folder: string,
  listen: Address,
  onTransfer: (transfer: Transfer) => void,
): Promise<DemoBank> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const ledger = new Ledger(join(folder, "ledger.jsonl"));
  const server = createBank(ledger, onTransfer);
  try {
    await listening(server, listen);
  } catch (error) {
    ledger.close();
    throw error;
  }
  const { port } = server.address() as AddressInfo;
  return {
    ledger,
    address: { host: listen.host, port },
    async close() {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
      ledger.close();
    },
  };
}

/** The demo needs no credential: all callers are one account. */
export function demoConfig(folder: string, upstream: string, listen: string, admin: string): GatewayConfig {
  return loadConfig({
    text: "account: single\nlog: { level: warn, format: pretty }\n",
    flags: { upstream, listen, admin, store: `sqlite:${join(resolve(folder), "onceward.db")}`, profile: "ietf" },
  });
}

/**
 * Whether an address can be listened on, as far as can be known before it is.
 *
 * @throws Error of the listener.
 */
export async function tryListening(address: Address): Promise<void> {
  const server = createServer();
  await listening(server, address);
  await new Promise<void>((done) => server.close(() => done()));
}

function listening(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolveListening, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolveListening);
  });
}
