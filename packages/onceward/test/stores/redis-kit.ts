// Nodes with a Redis store each, for tests of faults: on private servers, ended behind each test.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster, createSentinel } from "redis";
import { afterEach } from "vitest";
import type { Store } from "../../src/core/store.js";
import { type RedisClientLike, type RedisStoreOptions, redisStore } from "../../src/stores/redis.js";

export type NodeKind = "ioredis" | "node-redis";

/** What a client of a test connects to. */
export type Target =
  | { readonly url: string }
  | { readonly cluster: readonly string[] }
  | { readonly sentinelPort: number };

export interface NodesBench {
  /** Of the test that runs; another for each. */
  readonly prefix: string;
  client(kind: NodeKind, target: Target): Promise<RedisClientLike>;
  /** A node of its own: a client and an open store on it. */
  node(kind: NodeKind, target: Target, options?: Partial<RedisStoreOptions>): Promise<Store>;
  after(end: () => unknown): void;
}

/** A layer's clients come again quickly, and so are these to connect again. */
const QUICK_MS = 50;

export function nodesBench(): NodesBench {
  let prefix = newPrefix();
  let ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.reverse()) await end();
    ends = [];
    prefix = newPrefix();
  });
  const bench: NodesBench = {
    get prefix() {
      return prefix;
    },
    async client(kind, target) {
      const { client, end } = kind === "ioredis" ? ofIoRedis(target) : await ofNodeRedis(target);
      ends.push(end);
      return client;
    },
    async node(kind, target, options = {}) {
      const client = options.client ?? (await bench.client(kind, target));
      const store = redisStore({ prefix, onWarning: () => {}, ...options, client });
      ends.push(() => store.close());
      await store.open();
      return store;
    },
    after: (end) => void ends.push(end),
  };
  return bench;
}

function newPrefix(): string {
  return `t-${randomBytes(6).toString("hex")}:`;
}

interface Made {
  readonly client: RedisClientLike;
  readonly end: () => unknown;
}

function ofIoRedis(target: Target): Made {
  const retryStrategy = () => QUICK_MS;
  const client =
    "url" in target
      ? new Redis(target.url, { retryStrategy })
      : "cluster" in target
        ? new Cluster([...target.cluster])
        : new Redis({ sentinels: [{ host: "127.0.0.1", port: target.sentinelPort }], name: "main", retryStrategy });
  client.on("error", () => {});
  return { client, end: () => client.disconnect() };
}

async function ofNodeRedis(target: Target): Promise<Made> {
  const socket = { reconnectStrategy: () => QUICK_MS };
  const client =
    "url" in target
      ? createClient({ url: target.url, socket })
      : "cluster" in target
        ? createCluster({ rootNodes: target.cluster.map((url) => ({ url })), defaults: { socket } })
        : createSentinel({
            name: "main",
            sentinelRootNodes: [{ host: "127.0.0.1", port: target.sentinelPort }],
            scanInterval: 500,
          });
  client.on("error", () => {});
  await client.connect();
  return { client, end: () => client.destroy() };
}

/** Waits until something holds, looking often. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 30_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`In ${withinMs} ms it did not come about that ${what}.`);
    await sleep(20);
  }
}
