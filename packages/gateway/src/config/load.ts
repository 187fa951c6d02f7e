// Loads the configuration: file, environment and flags become one validated whole, or one error with all faults.

import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { IdempotencyError } from "onceward";
import { buildAccount } from "./account.js";
import { checkTree } from "./check.js";
import type { GatewayConfig } from "./config.js";
import { buildListenerTls, buildUpstreamTls, checkListeners, checkUpstreams } from "./contradictions.js";
import { type ConfigDocument, readDocument } from "./document.js";
import { buildEncryption } from "./encryption.js";
import type { ConfigFile } from "./file-schema.js";
import { type ConfigIssue, configError } from "./issue.js";
import { buildRoutes } from "./routes.js";
import { readFault, Sources } from "./sources.js";
import { absoluteStoreUrl } from "./store-url.js";
import type { Environment } from "./substitution.js";
import { type ConfigFlags, ConfigTree, otherWays } from "./tree.js";

export interface LoadOptions {
  /** Path of a YAML or JSON file; left out: `ONCEWARD_CONFIG`, and without that no file. */
  readonly file?: string | undefined;
  /** What a file would hold, where there is none: YAML. */
  readonly text?: string;
  readonly flags?: ConfigFlags;
  /** Default: none, so that a test sees only what it gives. The command line gives `process.env`. */
  readonly env?: Environment;
  /** What paths in flags and variables are relative to; those in the file are relative to the file. */
  readonly cwd?: string;
  /** Whether the log goes to a terminal, where it is pretty unless the file says otherwise. */
  readonly terminal?: boolean;
}

/** What a command needs that works on the store and starts nothing. */
export type StoreConfig = Pick<
  GatewayConfig,
  "store" | "encryption" | "acceptUnsealed" | "limits" | "hashKeys" | "timeouts"
>;

/** The files that are looked for where none is named. */
const FILE_NAMES: readonly string[] = ["onceward.yaml", "onceward.yml", "onceward.json"];

/**
 * The file to load: the one named, else `ONCEWARD_CONFIG`, else the one of {@link FILE_NAMES} in `cwd`, else none.
 *
 * @throws IdempotencyError `config_invalid` where `cwd` holds several.
 */
export function findConfigFile(named: string | undefined, env: Environment, cwd: string): string | undefined {
  if (named !== undefined) return named;
  const variable = env["ONCEWARD_CONFIG"];
  if (variable !== undefined && variable !== "") return variable;
  const present = FILE_NAMES.filter((name) => existsSync(resolve(cwd, name)));
  if (present.length > 1) {
    throw new IdempotencyError(
      "config_invalid",
      `${cwd} holds ${present.join(" and ")}; remove all but one, or name one with --config`,
    );
  }
  return present[0];
}

/**
 * The gateway's configuration, complete and validated.
 *
 * @throws IdempotencyError `config_invalid`: its message has a line for each fault, with place and fix.
 */
export function loadConfig(options: LoadOptions): GatewayConfig {
  const { file, sources, place } = read(options, ["upstream"]);
  const store = buildStore(file, sources, place);
  const upstream = file.upstream ?? "";
  const adminToken = file.adminToken === undefined ? null : sources.secret(file.adminToken, ["adminToken"]);
  checkListeners(file, adminToken, sources);
  checkUpstreams(file, sources);
  const account = buildAccount(file.account, sources);
  const tls = buildListenerTls(file, sources);
  const upstreamTls = buildUpstreamTls(file, sources);
  const routes = buildRoutes(file, upstream, sources);
  if (sources.issues.length > 0 || account === null) throw configError(sources.issues);
  return {
    ...store,
    listen: file.listen,
    tls,
    admin: file.admin,
    adminToken,
    upstream,
    upstreamTls,
    preserveHost: file.preserveHost,
    account,
    routes,
    namespace: file.namespace,
    environment: file.environment,
    trustedProxies: file.trustedProxies,
    redactPaths: file.redactPaths,
    log: { level: file.log.level, format: file.log.format ?? (options.terminal === true ? "pretty" : "json") },
  };
}

/**
 * The part of the configuration that says where the store is and how it is opened. The whole file is validated, but an
 * upstream need not be there.
 *
 * @throws IdempotencyError `config_invalid`, as {@link loadConfig}.
 */
export function loadStoreConfig(options: LoadOptions): StoreConfig {
  const { file, sources, place } = read(options, []);
  const store = buildStore(file, sources, place);
  if (sources.issues.length > 0) throw configError(sources.issues);
  return store;
}

interface Place {
  readonly folder: string;
  readonly cwd: string;
}

/** @param needed Settings that have no default and must be given. */
function read(
  options: LoadOptions,
  needed: readonly "upstream"[],
): { readonly file: ConfigFile; readonly sources: Sources; readonly place: Place } {
  const env = options.env ?? {};
  const cwd = resolve(options.cwd ?? process.cwd());
  const variable = env["ONCEWARD_CONFIG"];
  const name = options.file ?? (variable === "" ? undefined : variable);
  const folder = name === undefined ? cwd : dirname(resolve(cwd, name));
  const document = readSource(options, cwd, name, env);
  const tree = new ConfigTree(document, options.flags ?? {}, env);
  if (tree.issues.length > 0) throw configError(tree.issues);
  const checked = checkTree(tree);
  const missing = needed
    .filter((name) => tree.get([name]) === undefined)
    .map((name) => missingIssue(tree, name, document !== null));
  const { file } = checked;
  if (file === null || missing.length > 0) throw configError([...checked.issues, ...missing]);
  return { file, sources: new Sources(tree, folder, env), place: { folder, cwd } };
}

function missingIssue(tree: ConfigTree, name: "upstream", hasFile: boolean): ConfigIssue {
  const message = hasFile
    ? `${name} is missing: it is the service to protect, such as http://127.0.0.1:3000; ${otherWays(name)}`
    : `there is no ${FILE_NAMES[0]} here, and no ${name} is given: \`onceward init\` writes one; or name the service to protect with --${name}, such as --${name} http://127.0.0.1:3000`;
  return { place: tree.placeOf([name]), message };
}

function readSource(
  options: LoadOptions,
  cwd: string,
  name: string | undefined,
  env: Environment,
): ConfigDocument | null {
  if (options.text !== undefined) return readDocument(options.text, name ?? "configuration", env);
  return name === undefined ? null : readDocument(readText(resolve(cwd, name), name), name, env);
}

function readText(path: string, name: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new IdempotencyError(
      "config_invalid",
      `cannot read the configuration ${name}: ${readFault(error)}; \`onceward init\` writes one, --config names another`,
      { cause: error },
    );
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new IdempotencyError("config_invalid", `cannot read the configuration ${name}: it is not UTF-8 text`, {
      cause: error,
    });
  }
}

/** A relative path in the file means the same database wherever the gateway is started from. */
function buildStore(file: ConfigFile, sources: Sources, place: Place): StoreConfig {
  const { acceptUnsealed, limits, hashKeys, timeouts } = file;
  const encryption = buildEncryption(file, sources);
  const store = absoluteStoreUrl(file.store, sources.tree.isOverride(["store"]) ? place.cwd : place.folder);
  return { store, encryption, acceptUnsealed, limits, hashKeys, timeouts };
}
