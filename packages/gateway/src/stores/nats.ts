// The store in a bucket of NATS JetStream.

import { jetstream } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { IdempotencyError } from "onceward";
import { natsStore } from "onceward/stores/nats";
import type { RemoteAddress } from "../config/remote-address.js";
import { type ConnectedStore, loginOf, type RemoteStoreOptions, tlsOf } from "./connected-store.js";

export async function connectNats(address: RemoteAddress, options: RemoteStoreOptions): Promise<ConnectedStore> {
  const connection = await connected(address, options);
  const { replicas, durability } = address.more;
  const store = natsStore({
    connection,
    jetstream: jetstream(connection, { timeout: options.timeoutMs }),
    headers,
    ...(address.name === null ? {} : { bucket: address.name }),
    ...(replicas === undefined ? {} : { replicas: Number(replicas) }),
    ...(address.skewMs === null ? {} : { maxClockSkewMs: address.skewMs }),
    ...(durability === "power-loss" ? { durability } : {}),
    limits: options.limits,
    onWarning: options.onWarning,
  });
  return { store, disconnect: () => connection.close() };
}

async function connected(address: RemoteAddress, options: RemoteStoreOptions): Promise<NatsConnection> {
  const { user, password } = loginOf(address, options.env);
  const tls = tlsOf(address);
  const servers = address.hosts.map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`);
  try {
    return await connect({
      servers,
      // A user without a password is a token, as in the addresses of NATS' own tools.
      ...(user !== null && password === null ? { token: user } : {}),
      ...(user !== null && password !== null ? { user, pass: password } : {}),
      ...(tls === null ? {} : { tls }),
      name: "onceward",
      timeout: options.timeoutMs,
      maxReconnectAttempts: -1,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const message = `cannot connect to NATS at ${servers.join(", ")}: ${reason}; start it, or mend the store's address or credentials`;
    throw new IdempotencyError("store_inaccessible", message, { cause: error });
  }
}
