// What is found out of the servers at start: whether they will do, what they promise, and what their owner should know.

import { IdempotencyError } from "../../core/errors.js";
import type { Durability } from "../../core/store.js";
import { inTime } from "./lanes.js";
import { codeOf, type RedisLink, type RedisNode, textOf, textsOf } from "./link.js";
import { PROBE } from "./lua/probe.js";
import type { Places } from "./places.js";
import { Script } from "./script.js";

/** The number of the layout of keys and values; a store refuses a higher one. */
const LAYOUT = 1;

const OLDEST = [6, 2] as const;
/** From which version on a script can say what it may do. */
const FLAGS_FROM = [7, 0] as const;

const probe = new Script(PROBE);

export interface InspectionOptions {
  readonly link: RedisLink;
  readonly places: Places;
  readonly prefix: string;
  /** What its user says of it, where the servers do not say it themselves. */
  readonly durability: Durability | undefined;
  readonly timeoutMs: number;
}

export interface Findings {
  readonly durability: Durability;
  readonly flags: boolean;
  readonly warnings: readonly string[];
}

/**
 * Rejects with `store_inaccessible` (out of reach, credentials, permissions), `store_unsuitable` (a replica, too old, or
 * the wrong kind of client), `store_foreign` or `store_schema_newer`.
 */
export async function inspect(options: InspectionOptions): Promise<Findings> {
  const { link, places, prefix, durability, timeoutMs } = options;
  if (link.unready !== null) throw new IdempotencyError("store_inaccessible", link.unready);
  let lastError: Error | undefined;
  const unhear = link.onError((error) => (lastError = error));
  try {
    return await inTime(examine(link, places, prefix, durability), timeoutMs);
  } catch (error) {
    throw refusal(error, lastError, prefix);
  } finally {
    unhear();
  }
}

async function examine(
  link: RedisLink,
  places: Places,
  prefix: string,
  declared: Durability | undefined,
): Promise<Findings> {
  // First of all through the client, which connects and learns of the nodes by it.
  await link.send(`${prefix}layout`, "get", `${prefix}layout`);
  const nodes = await Promise.all(link.nodes().map((node) => factsOf(node, link.clustered)));
  for (const { node, places: some } of await places.byNode()) {
    const reply = await probe.run(node.send, [], [prefix, some[0]?.name ?? ""]);
    assertPermitted(textsOf(reply), prefix);
  }
  await assertLayout(link, prefix);
  const warnings = new Set(nodes.flatMap((facts) => warningsOf(facts, declared)));
  return {
    durability: declared ?? weakest(nodes.map(({ durability }) => durability)),
    flags: nodes.every(({ version }) => version !== null && isAtLeast(version, FLAGS_FROM)),
    warnings: [...warnings],
  };
}

interface Facts {
  readonly name: string;
  /** Null where it does not say. */
  readonly version: readonly number[] | null;
  readonly eviction: string | null;
  readonly durability: Durability;
  /** Null where it may not be asked; otherwise `always`, `everysec`, `no`, or `off` where there is no append-only file. */
  readonly appendFsync: string | null;
}

async function factsOf(node: RedisNode, clustered: boolean): Promise<Facts> {
  const info = parseInfo(textOf(await node.send("info").catch(permitted)));
  const version = info.get("redis_version")?.split(".").map(Number) ?? null;
  if (version !== null && !isAtLeast(version, OLDEST)) {
    throw unsuitable(
      `This Redis is ${info.get("redis_version")}; the store needs ${OLDEST.join(".")} or later, or Valkey.`,
    );
  }
  if (info.get("role") === "slave") {
    throw unsuitable(
      "This Redis is a replica, which answers with what it has heard of so far. Give the store a client of the primary, or one that finds it (Sentinel, cluster).",
    );
  }
  if (!clustered && info.get("redis_mode") === "cluster") throw inCluster();
  const settings = new Map<string, string>();
  const config = textsOf(await node.send("config", "get", "append*").catch(permitted));
  for (let index = 0; index + 1 < config.length; index += 2) settings.set(config[index] ?? "", config[index + 1] ?? "");
  const keepsFile = settings.get("appendonly") ?? { "0": "no", "1": "yes" }[info.get("aof_enabled") ?? ""];
  const appendFsync = keepsFile === "no" ? "off" : (settings.get("appendfsync") ?? null);
  return {
    name: node.name,
    version,
    eviction: info.get("maxmemory_policy") ?? null,
    appendFsync,
    durability: appendFsync === "always" ? "power-loss" : keepsFile === "yes" ? "crash" : "process",
  };
}

/** A command that one may not run answers nothing here. */
function permitted(error: unknown): null {
  if (codeOf(error) === "NOPERM" || /unknown command/i.test(String(error))) return null;
  throw error;
}

function parseInfo(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split("\r\n").flatMap((line): [string, string][] => {
      const colon = line.indexOf(":");
      return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1)]];
    }),
  );
}

function warningsOf(facts: Facts, declared: Durability | undefined): readonly string[] {
  const redis = facts.name === "" ? "Redis" : `Redis ${facts.name}`;
  const warnings: string[] = [];
  if (facts.version === null) {
    warnings.push(`${redis} does not let this user run INFO: neither its version nor its eviction policy is known.`);
  }
  if (facts.eviction !== null && facts.eviction !== "noeviction") {
    warnings.push(
      `${redis} has maxmemory-policy ${facts.eviction}: when its memory is full it drops records, and what they protect runs again. Set maxmemory-policy noeviction.`,
    );
  }
  if (declared !== undefined) return warnings;
  if (facts.appendFsync === "off") {
    warnings.push(
      `${redis} keeps no append-only file: what it acknowledged is gone when it ends. Set appendonly yes and appendfsync always.`,
    );
  } else if (facts.appendFsync === null) {
    warnings.push(
      `${redis} does not let this user run CONFIG GET: how often it syncs its append-only file is not known. Say what it promises with the option \`durability\`.`,
    );
  } else if (facts.appendFsync !== "always") {
    warnings.push(
      `${redis} has appendfsync ${facts.appendFsync}: a loss of power takes what it acknowledged last. Set appendfsync always.`,
    );
  }
  return warnings;
}

function weakest(durabilities: readonly Durability[]): Durability {
  const order: readonly Durability[] = ["process", "crash", "power-loss"];
  return order.find((durability) => durabilities.includes(durability)) ?? "process";
}

function isAtLeast(version: readonly number[], least: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version;
  return major > least[0] || (major === least[0] && minor >= least[1]);
}

function assertPermitted(refused: readonly string[], prefix: string): void {
  const [first = ""] = refused;
  if (first === "") return;
  const foreign = refused.find((line) => line.startsWith("FOREIGN "))?.slice("FOREIGN ".length);
  if (foreign !== undefined) throw foreignKey(foreign);
  if (first.includes("READONLY"))
    throw unsuitable("This Redis is a replica and takes no writes. Give the store a client of the primary.");
  const commands = [...new Set(refused.map((line) => line.split(" ")[0]))].join(", ");
  throw notPermitted(`${commands} (${first.slice(first.indexOf(" ") + 1)})`, prefix);
}

async function assertLayout(link: RedisLink, prefix: string): Promise<void> {
  const key = `${prefix}layout`;
  await link.send(key, "set", key, String(LAYOUT), "NX");
  const found = textOf(await link.send(key, "get", key));
  if (found === String(LAYOUT)) return;
  if (!/^\d{1,9}$/.test(found)) throw foreignKey(key);
  throw new IdempotencyError(
    "store_schema_newer",
    `The keys ${prefix}… were made by a newer version of Onceward (layout ${found}; this one knows up to ${LAYOUT}) and were left as they are. Use that version or a later one.`,
    { details: { found: Number(found), known: LAYOUT } },
  );
}

function refusal(error: unknown, lastError: Error | undefined, prefix: string): IdempotencyError {
  if (error instanceof IdempotencyError && error.code !== "store_unavailable") return error;
  const message = error instanceof Error ? error.message : String(error);
  const refuse = (text: string) => new IdempotencyError("store_inaccessible", text, { cause: error });
  const code = codeOf(error);
  const heard = wordsOf(lastError);
  if (code === "NOAUTH" || code === "WRONGPASS" || codeOf(lastError) === "WRONGPASS") {
    return refuse(
      `Redis refuses the client's credentials (${message}). Give it the right \`username\` and \`password\`.`,
    );
  }
  if (code === "NOPERM") return notPermitted(message, prefix, error);
  if (code === "MOVED") return inCluster();
  if (/cluster support disabled/i.test(message + heard)) {
    return unsuitable("This Redis is no cluster. Give the store a client of one server.");
  }
  if (code === "WRONGTYPE") return foreignKey(`${prefix}layout`);
  const also = heard === "" || heard === message ? "" : `; ${heard}`;
  return refuse(`Redis is out of reach: ${message}${also}. Check its address, and that it is running.`);
}

/** What a connection's error says; that of a cluster, what its node said last. */
function wordsOf(error: (Error & { readonly lastNodeError?: Error }) | undefined): string {
  return error?.lastNodeError?.message ?? error?.message ?? "";
}

function notPermitted(what: string, prefix: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "store_inaccessible",
    `Redis does not let this user do what the store needs: ${what}. An administrator allows it with ACL SETUSER <user> ~${prefix}* &${prefix}* +@read +@write +@scripting +@pubsub +@connection +time.`,
    { cause },
  );
}

function foreignKey(key: string): IdempotencyError {
  return new IdempotencyError(
    "store_foreign",
    `The key ${key} is not one of Onceward's and was left as it is. Give the store another \`prefix\`.`,
  );
}

function inCluster(): IdempotencyError {
  return unsuitable(
    "This Redis is a node of a cluster. Give the store a cluster client (ioredis: new Cluster, node-redis: createCluster).",
  );
}

function unsuitable(message: string): IdempotencyError {
  return new IdempotencyError("store_unsuitable", message);
}
