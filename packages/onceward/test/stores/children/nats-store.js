// What a process of its own makes a NATS store with, in races of the store suite.

import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import { natsStore } from "onceward/stores/nats";
import { sealedStore } from "onceward/stores/sealed";

/** `argument` is JSON: the server; the bucket; the instant at which the suite's clock stands; `key`, where it is sealed. */
export function createStore(argument) {
  const { url, bucket, now, key } = JSON.parse(argument);
  let connection;
  let store;
  const own = {
    // A store is made at once, and a connection is not.
    async open() {
      connection = await connect({ servers: url });
      const clock = { maxClockSkewMs: 0, now: () => now };
      const plain = natsStore({ connection, jetstream: jetstream(connection), headers, bucket, ...clock });
      store = key === undefined ? plain : sealedStore(plain, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
      await store.open();
    },
    async close() {
      await store.close();
      await connection.close();
    },
  };
  return new Proxy(own, { get: (_, name) => own[name] ?? ((...args) => store[name](...args)) });
}
