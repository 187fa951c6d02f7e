// The store in Redis or Valkey: one server, a cluster, or behind Sentinels.

import { Cluster, Redis } from "ioredis";
import { type Durability, IdempotencyError } from "onceward";
import { redisStore } from "onceward/stores/redis";
import type { RemoteAddress } from "../config/remote-address.js";
import { type ConnectedStore, loginOf, type RemoteStoreOptions, tlsOf } from "./connected-store.js";

/** Servers of one address share login, TLS and patience. */
function sharedOptions(address: RemoteAddress, options: RemoteStoreOptions) {
  const { user, password } = loginOf(address, options.env);
  const tls = tlsOf(address);
  return {
    ...(user === null ? {} : { username: user }),
    ...(password === null ? {} : { password }),
    ...(tls === null ? {} : { tls }),
    connectTimeout: options.timeoutMs,
    // What waits for a connection is not to wait for ever: the store's own deadline says when a request is refused.
    commandTimeout: options.timeoutMs,
    maxRetriesPerRequest: 1,
  };
}

type SharedOptions = ReturnType<typeof sharedOptions>;

export async function connectRedis(address: RemoteAddress, options: RemoteStoreOptions): Promise<ConnectedStore> {
  const client = clientOf(address, sharedOptions(address, options));
  // ioredis connects again by itself; without a listener it prints each failure.
  client.on("error", () => {});
  const { durability } = address.more;
  const store = redisStore({
    client,
    ...(address.prefix === null ? {} : { prefix: address.prefix }),
    ...(options.maxRuns === undefined ? {} : { maxRuns: options.maxRuns }),
    ...(durability === undefined ? {} : { durability: durability as Durability }),
    maxWaitMs: options.timeoutMs,
    limits: options.limits,
    onWarning: options.onWarning,
  });
  return { store, disconnect: async () => client.disconnect() };
}

function clientOf(address: RemoteAddress, shared: SharedOptions): Redis | Cluster {
  const hosts = [...address.hosts];
  if (address.topology === "cluster") return new Cluster(hosts, { redisOptions: shared });
  if (address.topology === "sentinel") {
    const secured = shared.tls === undefined ? {} : { sentinelTLS: shared.tls, enableTLSForSentinelMode: true };
    return new Redis({ ...shared, ...secured, sentinels: hosts, name: address.name ?? "" });
  }
  const database = Number(address.name ?? 0);
  if (!Number.isInteger(database)) {
    const message = `the store's redis database is ${JSON.stringify(address.name)}; write a number, such as redis://host/0`;
    throw new IdempotencyError("store_url_invalid", message);
  }
  return new Redis({ ...shared, ...hosts[0], db: database });
}
