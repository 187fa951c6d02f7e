// The store in MySQL or MariaDB, on a pool of connections of its own.

import mysql from "mysql2/promise";
import { mysqlStore } from "onceward/stores/mysql";
import type { RemoteAddress } from "../config/remote-address.js";
import { type ConnectedStore, loginOf, type RemoteStoreOptions, tlsOf } from "./connected-store.js";

const CONNECTIONS = 10;

export async function connectMysql(address: RemoteAddress, options: RemoteStoreOptions): Promise<ConnectedStore> {
  const { user, password } = loginOf(address, options.env);
  const [server] = address.hosts;
  const tls = tlsOf(address);
  const pool = mysql.createPool({
    ...(server === undefined ? {} : { host: server.host, port: server.port }),
    ...(user === null ? {} : { user }),
    ...(password === null ? {} : { password }),
    ...(address.name === null ? {} : { database: address.name }),
    ...(tls === null ? {} : { ssl: { ...tls, verifyIdentity: tls.rejectUnauthorized } }),
    connectionLimit: address.connections ?? CONNECTIONS,
    connectTimeout: options.timeoutMs,
    enableKeepAlive: true,
  });
  const store = mysqlStore({
    pool,
    ...(address.prefix === null ? {} : { prefix: address.prefix }),
    maxWaitMs: options.timeoutMs,
    limits: options.limits,
    onWarning: options.onWarning,
  });
  return { store, disconnect: () => pool.end() };
}
