// Connects to the server that a store is on; each kind's driver is loaded only where it is used.

import type { RemoteAddress } from "../config/remote-address.js";
import type { ConnectedStore, RemoteStoreOptions } from "./connected-store.js";

/**
 * Makes the clients of a store and the store, not opened yet.
 *
 * @throws IdempotencyError `store_inaccessible` for a certificate that cannot be read.
 */
export async function connectStore(address: RemoteAddress, options: RemoteStoreOptions): Promise<ConnectedStore> {
  switch (address.kind) {
    case "postgres":
      return (await import("./postgres.js")).connectPostgres(address, options);
    case "mysql":
      return (await import("./mysql.js")).connectMysql(address, options);
    case "redis":
      return (await import("./redis.js")).connectRedis(address, options);
    case "nats":
      return (await import("./nats.js")).connectNats(address, options);
    case "dynamodb":
      return (await import("./dynamodb.js")).connectDynamodb(address, options);
  }
}
