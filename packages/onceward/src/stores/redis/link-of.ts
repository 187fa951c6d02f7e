// Which client it is that the store was given.

import { IdempotencyError } from "../../core/errors.js";
import type { RedisClientLike } from "./client.js";
import { ioRedisClusterLink, ioRedisLink } from "./ioredis.js";
import type { RedisLink } from "./link.js";
import { nodeRedisClusterLink, nodeRedisLink, nodeRedisSentinelLink } from "./node-redis.js";

/** @throws IdempotencyError `config_invalid` where it is none, or one that writes other keys than it is told. */
export function linkOf(client: RedisClientLike): RedisLink {
  if (typeof client !== "object" || client === null) throw unknown();
  if ("callBuffer" in client) {
    const { keyPrefix } = client.options;
    if (keyPrefix !== undefined && keyPrefix !== null && String(keyPrefix) !== "") {
      throw new IdempotencyError(
        "config_invalid",
        `The ioredis client of redisStore has the keyPrefix "${keyPrefix}". Give the store a client without one, and the option \`prefix\`.`,
      );
    }
    return "nodes" in client ? ioRedisClusterLink(client) : ioRedisLink(client);
  }
  if ("nodeClient" in client) return nodeRedisClusterLink(client);
  if ("getSentinelNode" in client) return nodeRedisSentinelLink(client);
  if ("sendCommand" in client) return nodeRedisLink(client);
  throw unknown();
}

function unknown(): IdempotencyError {
  return new IdempotencyError(
    "config_invalid",
    "redisStore needs a `client`: of ioredis (`Redis`, `Cluster`), or of node-redis (`createClient`, `createSentinel`, `createCluster`).",
  );
}
