// Places for suites of NATS stores: a bucket each, on a server that the cases of one file share.

import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection, type NodeConnectionOptions } from "@nats-io/transport-node";
import { lookUp, NATS, type PrivateServer, type ServiceSource, startNats } from "@onceward/services";
import { type NatsStoreOptions, natsStore } from "onceward/stores/nats";
import { sealedStore } from "onceward/stores/sealed";
import { fakeClock, type StorePlace } from "onceward/testing";

/** Where a server comes from; a line on stderr says how to get one where there is none. */
export const natsSource: ServiceSource = lookUp(NATS);
export const natsMissing: string | null = natsSource.kind === "missing" ? natsSource.reason : null;
if (natsMissing !== null) console.error(natsMissing);

export function newBucket(): string {
  return `onceward-${randomBytes(6).toString("hex")}`;
}

/** The client's side of a store's options. */
export interface Client {
  readonly connection: NatsConnection;
  readonly options: Pick<NatsStoreOptions, "connection" | "jetstream" | "headers">;
}

export async function client(url: string, change: Partial<NodeConnectionOptions> = {}): Promise<Client> {
  const connection = await connect({ servers: url, reconnectTimeWait: 50, maxReconnectAttempts: -1, ...change });
  return { connection, options: { connection, jetstream: jetstream(connection), headers } };
}

/** Under a fake clock, which is the same for all: no clocks are apart. `key` (hexadecimal): each store is sealed. */
export async function natsPlace(url: string, key?: string): Promise<StorePlace> {
  const clock = fakeClock(Date.now());
  const bucket = newBucket();
  // Stores take turns with them, as nodes would have one each.
  const clients = [await client(url), await client(url)] as const;
  let made = 0;
  return {
    create(change = {}) {
      const { options } = clients[made++ % 2 === 0 ? 0 : 1];
      const store = natsStore({ ...options, ...change, bucket, maxClockSkewMs: 0, now: () => clock.now() });
      return key === undefined ? store : sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
    },
    advance: (ms) => clock.advance(ms),
    process: {
      module: fileURLToPath(new URL("./children/nats-store.js", import.meta.url)),
      get argument() {
        return JSON.stringify({ url, bucket, now: clock.now(), key });
      },
    },
    async remove() {
      const [{ connection }] = clients;
      await (await jetstreamManager(connection, { checkAPI: false })).streams.delete(`KV_${bucket}`);
      for (const one of clients) await one.connection.close();
    },
  };
}

/** The server that the environment names, else a private one. */
export async function natsServer(): Promise<{ readonly url: string; readonly remove: () => Promise<void> }> {
  if (natsSource.kind === "url") return { url: natsSource.url, remove: async () => {} };
  const server: PrivateServer = await startNats();
  return { url: server.url, remove: () => server.remove() };
}
