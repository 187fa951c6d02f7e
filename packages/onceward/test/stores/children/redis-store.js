// What a process of its own makes a Redis store with, in races of the store suite.

import { Cluster, Redis } from "ioredis";
import { redisStore } from "onceward/stores/redis";
import { sealedStore } from "onceward/stores/sealed";
import { createClient, createCluster } from "redis";

/**
 * `argument` is JSON: which client; the URLs of the server or the nodes; the prefix; the instant at which the suite's
 * clock stands; and `key` (hexadecimal), where the store is to be sealed.
 */
export function createStore(argument) {
  const { kind, urls, prefix, now, key } = JSON.parse(argument);
  const client = connect(kind, urls);
  const store = redisStore({ client, prefix, now: () => now, onWarning: () => {} });
  const open = store.open.bind(store);
  store.open = async () => {
    if (kind.startsWith("node-redis")) await client.connect();
    await open();
  };
  // The process ends when nothing is connected any more.
  const close = store.close.bind(store);
  store.close = () => close().finally(() => (client.destroy ?? client.disconnect).call(client));
  return key === undefined ? store : sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
}

function connect(kind, urls) {
  if (kind === "ioredis") return new Redis(urls[0]);
  if (kind === "ioredis cluster") return new Cluster(urls);
  const client =
    kind === "node-redis" ? createClient({ url: urls[0] }) : createCluster({ rootNodes: urls.map((url) => ({ url })) });
  return client.on("error", () => {});
}
