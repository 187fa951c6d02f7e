// Places in Redis for suites of its stores, for each client and topology.

import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import {
  lookUp,
  type PrivateServer,
  type PrivateServers,
  REDIS,
  startRedis,
  startRedisCluster,
} from "@onceward/services";
import { Cluster, Redis } from "ioredis";
import { type RedisClientLike, redisStore } from "onceward/stores/redis";
import { sealedStore } from "onceward/stores/sealed";
import { fakeClock, type StorePlace } from "onceward/testing";
import { createClient, createCluster } from "redis";

/** Which client, of which topology. */
export type ClientKind = "ioredis" | "node-redis" | "ioredis cluster" | "node-redis cluster";

/** Where Redis is: the ports of a server, or of the first nodes of a cluster. */
export interface RedisPlaceServers {
  readonly urls: readonly string[];
  remove(): Promise<void>;
}

const source = lookUp(REDIS);
/** Why there is no Redis to test with, or null. */
export const noRedis: string | null = source.kind === "missing" ? source.reason : null;
if (noRedis !== null) process.stderr.write(`${noRedis}\n`);

/** The server that the variable names, where a single one is asked for, or private ones. */
export async function serversFor(kind: ClientKind): Promise<RedisPlaceServers> {
  if (kind.endsWith("cluster")) {
    const cluster: PrivateServers = await startRedisCluster({ settings: { appendonly: "no" } });
    const urls = cluster.servers.slice(0, 3).map(({ url }) => url);
    return { urls, remove: () => cluster.remove() };
  }
  if (source.kind === "url") return { urls: [source.url], remove: async () => {} };
  const server: PrivateServer = await startRedis({ settings: { appendonly: "no" } });
  return { urls: [server.url], remove: () => server.remove() };
}

/** A client, and how to end it. */
export interface ConnectedClient {
  readonly client: RedisClientLike;
  end(): Promise<void>;
}

async function connectTo(kind: ClientKind, urls: readonly string[]): Promise<ConnectedClient> {
  const [url = ""] = urls;
  switch (kind) {
    case "ioredis": {
      const client = new Redis(url);
      return { client, end: async () => client.disconnect() };
    }
    case "ioredis cluster": {
      const client = new Cluster(urls.map((node) => node));
      return { client, end: async () => client.disconnect() };
    }
    case "node-redis": {
      const client = createClient({ url }).on("error", () => {});
      await client.connect();
      return { client, end: async () => client.destroy() };
    }
    case "node-redis cluster": {
      const client = createCluster({ rootNodes: urls.map((node) => ({ url: node })) }).on("error", () => {});
      await client.connect();
      return { client, end: async () => client.destroy() };
    }
  }
}

export interface RedisPlaceOptions {
  readonly kind: ClientKind;
  readonly urls: readonly string[];
  /** Seals each store with this key, in hexadecimal. */
  readonly key?: string;
}

/** A prefix of its own for stores under a clock of the test's own. */
export async function redisPlace({ kind, urls, key }: RedisPlaceOptions): Promise<StorePlace> {
  const prefix = `onceward-test-${randomBytes(6).toString("hex")}:`;
  // The other processes of a race have clocks of their own, which stand where this one stood when they were started.
  const clock = fakeClock(Date.now());
  const { client, end } = await connectTo(kind, urls);
  return {
    create(change = {}) {
      const store = redisStore({ ...change, client, prefix, now: () => clock.now(), onWarning: () => {} });
      return key === undefined ? store : sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
    },
    advance: (ms) => clock.advance(ms),
    process: {
      module: fileURLToPath(new URL("./children/redis-store.js", import.meta.url)),
      get argument() {
        return JSON.stringify({ kind, urls, prefix, now: clock.now(), key });
      },
    },
    async remove() {
      await end();
      await removeKeys(urls, prefix);
    },
  };
}

/** Deletes all keys that begin so. */
async function removeKeys(urls: readonly string[], prefix: string): Promise<void> {
  for (const url of urls) {
    const redis = new Redis(url);
    for await (const keys of redis.scanBufferStream({ match: `${prefix}*`, count: 5_000 })) {
      // One by one, since those of a cluster are in many slots.
      const pipeline = redis.pipeline();
      for (const key of keys as Buffer[]) pipeline.unlink(key);
      await pipeline.exec();
    }
    redis.disconnect();
  }
}
