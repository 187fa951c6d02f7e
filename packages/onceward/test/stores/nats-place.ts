// Places for suites of NATS stores: a bucket each, on a server that the cases of one file share.

import { fileURLToPath } from "node:url";
import { startNats } from "@onceward/services";
import { natsStore } from "onceward/stores/nats";
import { sealedStore } from "onceward/stores/sealed";
import { fakeClock, type StorePlace } from "onceward/testing";
import { client, manager, natsUrl, newBucket } from "./nats-client.js";

/** Under a fake clock, which is the same for all: no clocks are apart. `key` (hexadecimal): each store is sealed. */
export async function natsPlace(url: string, key?: string): Promise<StorePlace> {
  const clock = fakeClock(Date.now());
  const bucket = newBucket();
  // Stores take turns with them, as nodes would have one each.
  const clients = [await client(url), await client(url)] as const;
  let made = 0;
  return {
    create(change = {}) {
      const options = clients[made++ % 2 === 0 ? 0 : 1];
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
      await (await manager(clients[0].connection)).streams.delete(`KV_${bucket}`);
      for (const { connection } of clients) await connection.close();
    },
  };
}

/** The server that the environment names, else a private one. */
export async function natsServer(): Promise<{ readonly url: string; readonly remove: () => Promise<void> }> {
  if (natsUrl !== null) return { url: natsUrl, remove: async () => {} };
  return startNats();
}
