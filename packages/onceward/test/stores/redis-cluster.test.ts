// The Redis store in a cluster of three primaries and three replicas, through ioredis and through node-redis: the shared suite.

import { storeSuite } from "onceward/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { type ClientKind, noRedis, type RedisPlaceServers, redisPlace, serversFor } from "./redis-place.js";

const KINDS: readonly ClientKind[] = ["ioredis cluster", "node-redis cluster"];

describe.skipIf(noRedis !== null)("redis, cluster", () => {
  let servers: RedisPlaceServers;
  beforeAll(async () => {
    servers = await serversFor("ioredis cluster");
  }, 120_000);
  afterAll(() => servers?.remove());

  for (const kind of KINDS) {
    storeSuite({
      name: kind,
      runner: { describe, it },
      capabilities: { shared: true, history: true, clock: "fake" },
      setUp: () => redisPlace({ kind, urls: servers.urls }),
    });
  }
});
