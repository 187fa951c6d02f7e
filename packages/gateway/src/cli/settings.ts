// The flags that several commands share, and the store that they work on.

import { existsSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import type { Store } from "onceward";
import { findConfigFile, loadStoreConfig, type StoreConfig } from "../config/load.js";
import { parseStoreUrl } from "../config/store-url.js";
import type { ConfigFlags } from "../config/tree.js";
import { openStore } from "../stores/open-store.js";
import { CommandFailure } from "./faults.js";
import { note } from "./output.js";

export interface FileFlag {
  readonly config?: string;
}

export interface StoreFlags extends FileFlag {
  readonly store?: string;
}

export interface ServeFlags extends FileFlag, ConfigFlags {}

function addFileFlag(command: Command): Command {
  return command.option("-c, --config <file>", "configuration (default: onceward.yaml here, if there is one)");
}

export function addStoreFlags(command: Command): Command {
  return addFileFlag(command).option("--store <url>", "the store, such as sqlite:./onceward.db");
}

/** The flags of SPEC §14.1; what they say beats environment and file. */
export function addServeFlags(command: Command): Command {
  return addFileFlag(command)
    .option("-u, --upstream <url>", "the service to protect, such as http://127.0.0.1:3000")
    .option("-l, --listen <host:port>", "where clients connect (default: 127.0.0.1:8080)")
    .option("--admin <host:port>", "run history, admin API and metrics (default: 127.0.0.1:8081)")
    .option("--store <url>", "where records are kept (default: sqlite:./onceward.db)")
    .option("-p, --profile <name>", "ietf, stripe, glyue, fyno, apiture or gains (default: ietf)");
}

/** A whole number of a flag. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** Opens the store that flags, environment or file name, calls `work` with it, and closes it. */
export async function withStore<T>(
  flags: StoreFlags,
  work: (store: Store, config: StoreConfig) => Promise<T>,
): Promise<T> {
  const { env } = process;
  const file = findConfigFile(flags.config, env, process.cwd());
  const config = loadStoreConfig({ file, env, flags: { store: flags.store } });
  const address = parseStoreUrl(config.store, process.cwd());
  if (address.kind === "memory") {
    throw new CommandFailure(
      "a memory store lives inside its gateway's process and cannot be reached from here; use the admin address, or a store that outlives its gateway",
    );
  }
  if (address.kind === "sqlite" && !existsSync(address.path)) {
    throw new CommandFailure(`there is no database at ${address.path}; name the gateway's with --store or --config`);
  }
  const { store, close } = await openStore(config.store, {
    ...config,
    onWarning: (warning) => note(`warning: ${warning}`),
  });
  try {
    return await work(store, config);
  } finally {
    await close();
  }
}
