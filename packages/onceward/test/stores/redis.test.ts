// The Redis store on one server, through ioredis and through node-redis: the shared suite.

import { storeSuite } from "onceward/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { type ClientKind, noRedis, type RedisPlaceServers, redisPlace, serversFor } from "./redis-place.js";

const KINDS: readonly ClientKind[] = ["ioredis", "node-redis"];

describe.skipIf(noRedis !== null)("redis, one server", () => {
  let servers: RedisPlaceServers;
  beforeAll(async () => {
    servers = await serversFor("ioredis");
  });
  afterAll(() => servers?.remove());

  for (const kind of KINDS) {
    storeSuite({
      name: kind,
      runner: { describe, it },
      capabilities: { shared: true, history: true, clock: "fake" },
      setUp: () => redisPlace({ kind, urls: servers.urls }),
    });
  }
  storeSuite({
    name: "ioredis, sealed",
    runner: { describe, it },
    capabilities: { shared: true, history: true, clock: "fake" },
    setUp: () => redisPlace({ kind: "ioredis", urls: servers.urls, key: "5e".repeat(32) }),
  });
});
