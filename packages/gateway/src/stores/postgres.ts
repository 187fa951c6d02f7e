// The store in PostgreSQL, on a pool of connections of its own.

import { postgresStore } from "onceward/stores/postgres";
import pg from "pg";
import type { RemoteAddress } from "../config/remote-address.js";
import { type ConnectedStore, loginOf, type RemoteStoreOptions, tlsOf } from "./connected-store.js";

/** Two lanes, the rest, and room for round trips that go out beside a slow one. */
const CONNECTIONS = 10;

export async function connectPostgres(address: RemoteAddress, options: RemoteStoreOptions): Promise<ConnectedStore> {
  const { user, password } = loginOf(address, options.env);
  const [server] = address.hosts;
  const pool = new pg.Pool({
    host: server?.host,
    port: server?.port,
    ...(user === null ? {} : { user }),
    ...(password === null ? {} : { password }),
    ...(address.name === null ? {} : { database: address.name }),
    ssl: tlsOf(address) ?? false,
    max: address.connections ?? CONNECTIONS,
    connectionTimeoutMillis: options.timeoutMs,
    keepAlive: true,
    application_name: "onceward",
  });
  // An idle connection that breaks is replaced; without a listener it would end the process.
  pool.on("error", () => {});
  const { schema } = address.more;
  const store = postgresStore({
    client: pool,
    ...(schema === undefined ? {} : { schema }),
    ...(address.prefix === null ? {} : { prefix: address.prefix }),
    maxWaitMs: options.timeoutMs,
    limits: options.limits,
    onWarning: options.onWarning,
  });
  return { store, disconnect: () => pool.end() };
}
