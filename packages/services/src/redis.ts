// Redis servers of a test's own: one, a cluster of three primaries and three replicas, or a primary that Sentinel watches.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { lookUp, type ServiceNeeds } from "./look-up.js";
import { freePort, PrivateProcess, type PrivateServer, temporaryFolder } from "./private-process.js";
import { redisCommand } from "./resp.js";

export const REDIS: ServiceNeeds = {
  name: "Redis",
  variable: "ONCEWARD_TEST_REDIS_URL",
  programs: ["redis-server"],
  install: "apt-get install redis-server",
};

export interface StartRedisOptions {
  /**
   * Lines of its configuration beside the defaults here, such as `{ "maxmemory-policy": "allkeys-lru" }`. By default it
   * keeps an append-only file and syncs it before it answers.
   */
  readonly settings?: Readonly<Record<string, string | number>>;
}

/** Several servers that are one. */
export interface PrivateServers {
  /** Each of them; of a cluster, its primaries first. */
  readonly servers: readonly PrivateServer[];
  readonly ports: readonly number[];
  remove(): Promise<void>;
}

const DURABLE = { appendonly: "yes", appendfsync: "always", save: '""', "auto-aof-rewrite-percentage": 0 };
/** How long a node of a cluster, or a primary under Sentinel, is silent before it counts as down. */
const DOWN_AFTER_MS = 1_500;
const READY_WITHIN_MS = 60_000;

export async function startRedis({ settings = {} }: StartRedisOptions = {}): Promise<PrivateServer> {
  return startServer("redis", { ...DURABLE, ...settings });
}

/**
 * Starts six servers on ports of the loopback and makes them a cluster: three primaries with a third of the slots each,
 * and a replica of each. A primary that dies is replaced after about two seconds.
 */
export async function startRedisCluster({ settings = {} }: StartRedisOptions = {}): Promise<PrivateServers> {
  const servers = await Promise.all(
    Array.from({ length: 6 }, async () =>
      startServer("redis-cluster", {
        ...DURABLE,
        "cluster-enabled": "yes",
        "cluster-node-timeout": DOWN_AFTER_MS,
        "cluster-port": await freePort(),
        "cluster-replica-validity-factor": 0,
        ...REPLICATION,
        ...settings,
      }),
    ),
  );
  try {
    await joinNodes(servers);
  } catch (error) {
    await removeAll(servers);
    throw error;
  }
  return several(servers);
}

/** A primary, its replica and the Sentinel that watches them under the name `main`: `servers` in this order. */
export async function startRedisSentinel({ settings = {} }: StartRedisOptions = {}): Promise<PrivateServers> {
  const primary = await startServer("redis-primary", { ...DURABLE, ...REPLICATION, ...settings });
  const replica = await startServer("redis-replica", {
    ...DURABLE,
    ...REPLICATION,
    ...settings,
    replicaof: `127.0.0.1 ${primary.port}`,
  });
  const sentinel = await startServer(
    "redis-sentinel",
    {
      "sentinel monitor": `main 127.0.0.1 ${primary.port} 1`,
      "sentinel down-after-milliseconds": `main ${DOWN_AFTER_MS}`,
      "sentinel failover-timeout": "main 5000",
    },
    ["--sentinel"],
  );
  const servers = [primary, replica, sentinel];
  try {
    await until("Sentinel knows the replica", async () => {
      const replicas = await redisCommand(sentinel, "SENTINEL", "REPLICAS", "main");
      return Array.isArray(replicas) && replicas.length === 1 && (await isLinked(replica));
    });
  } catch (error) {
    await removeAll(servers);
    throw error;
  }
  return several(servers);
}

const REPLICATION = { "repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1 };

function several(servers: readonly PrivateServer[]): PrivateServers {
  return { servers, ports: servers.map(({ port }) => port), remove: () => removeAll(servers) };
}

async function removeAll(servers: readonly PrivateServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.remove()));
}

async function startServer(
  name: string,
  settings: Readonly<Record<string, string | number>>,
  flags: readonly string[] = [],
): Promise<PrivateServer> {
  const source = lookUp({ ...REDIS, variable: "" });
  if (source.kind !== "programs") throw new Error(`redis-server not found. ${REDIS.install}.`);
  const folder = temporaryFolder(name);
  const port = await freePort();
  const data = join(folder, "data");
  mkdirSync(data);
  const all = { port, bind: "127.0.0.1", dir: data, "enable-debug-command": "local", ...settings };
  // Sentinel knows fewer settings, and rewrites this file.
  if (flags.includes("--sentinel")) delete (all as Record<string, unknown>)["enable-debug-command"];
  const file = join(folder, "redis.conf");
  writeFileSync(
    file,
    Object.entries(all)
      .map(([setting, value]) => `${setting} ${value}\n`)
      .join(""),
  );
  const server = new PrivateProcess({
    port,
    folder,
    url: `redis://127.0.0.1:${port}`,
    command: [source.paths["redis-server"] ?? "redis-server", file, ...flags],
    // While it loads its data it answers everything with an error.
    answers: async () => (await redisCommand({ port, timeoutMs: 1_000 }, "PING").catch(isProtected)) === "PONG",
  });
  await server.start();
  return server;
}

/** A server that asks for a password is there. */
function isProtected(error: Error): string {
  if (error.message.startsWith("NOAUTH")) return "PONG";
  throw error;
}

async function joinNodes(servers: readonly PrivateServer[]): Promise<void> {
  const busPorts = await Promise.all(
    servers.map(async (server) => {
      const [, busPort] = (await redisCommand(server, "CONFIG", "GET", "cluster-port")) as readonly string[];
      return Number(busPort);
    }),
  );
  const [first] = servers;
  if (first === undefined) throw new Error("a cluster without a server");
  const ids = await Promise.all(servers.map(async (server) => String(await redisCommand(server, "CLUSTER", "MYID"))));
  for (const [index, server] of servers.entries()) {
    await redisCommand(server, "CLUSTER", "SET-CONFIG-EPOCH", index + 1);
    if (index < 3) {
      const [from, to] = [Math.round((index * 16_384) / 3), Math.round(((index + 1) * 16_384) / 3) - 1];
      await redisCommand(server, "CLUSTER", "ADDSLOTSRANGE", from, to);
    }
    if (index > 0) await redisCommand(first, "CLUSTER", "MEET", "127.0.0.1", server.port, busPorts[index] ?? 0);
  }
  await until("all nodes know each other", async () => {
    const lists = await Promise.all(
      servers.map(async (server) => String(await redisCommand(server, "CLUSTER", "NODES"))),
    );
    return lists.every((list) => ids.every((id) => list.includes(id)) && !list.includes("handshake"));
  });
  const replicas = servers.slice(3);
  await Promise.all(replicas.map((replica, index) => redisCommand(replica, "CLUSTER", "REPLICATE", ids[index] ?? "")));
  await until("the cluster is whole", async () => {
    const infos = await Promise.all(servers.map((server) => redisCommand(server, "CLUSTER", "INFO")));
    const linked = await Promise.all(replicas.map(isLinked));
    // A primary that has not heard of its replica yet has nobody to fail over to.
    const lists = await Promise.all(servers.map((server) => redisCommand(server, "CLUSTER", "NODES")));
    return (
      infos.every((info) => String(info).includes("cluster_state:ok")) &&
      linked.every(Boolean) &&
      lists.every((list) => String(list).match(/ (myself,)?slave /g)?.length === 3)
    );
  });
}

async function isLinked(replica: PrivateServer): Promise<boolean> {
  return String(await redisCommand(replica, "INFO", "replication")).includes("master_link_status:up");
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + READY_WITHIN_MS;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > end) throw new Error(`In ${READY_WITHIN_MS / 1_000} s it did not come about that ${what}.`);
    await sleep(50);
  }
}
