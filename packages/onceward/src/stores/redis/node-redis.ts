// Links over node-redis: a server, a primary behind Sentinel, and a cluster.

import type {
  NodeRedisClientLike,
  NodeRedisClusterLike,
  NodeRedisMasterLike,
  NodeRedisSentinelLike,
  NodeRedisSubscriberLike,
} from "./client.js";
import type { RedisArgument, RedisLink, RedisListener, RedisNode, RedisReply } from "./link.js";

/** By the first byte of a reply (https://redis.io/docs/latest/develop/reference/protocol-spec/): strings as bytes, maps as lists. */
const OPTIONS = {
  typeMapping: { [code("$")]: Buffer, [code("=")]: Buffer, [code("%")]: Array },
};

function code(character: string): number {
  return character.charCodeAt(0);
}

const NOT_CONNECTED = "The client is not connected: `await client.connect()` before the store is opened.";

type Common = Pick<NodeRedisClientLike, "isOpen" | "duplicate" | "on" | "off">;

export function nodeRedisLink(client: NodeRedisClientLike): RedisLink {
  return oneServer(client, (command) => client.sendCommand(command, OPTIONS));
}

export function nodeRedisSentinelLink(sentinel: NodeRedisSentinelLike): RedisLink {
  return oneServer(sentinel, (command) => sentinel.sendCommand(false, command, OPTIONS));
}

function oneServer(client: Common, call: (command: RedisArgument[]) => Promise<unknown>): RedisLink {
  const send = async (...command: RedisArgument[]): Promise<RedisReply> => (await call(command)) as RedisReply;
  const node: RedisNode = { name: "", send };
  const nodes = [node];
  return {
    clustered: false,
    ...shared(client),
    get unready() {
      return client.isOpen ? null : NOT_CONNECTED;
    },
    send: (_key, ...command) => send(...command),
    nameOf: () => "",
    node: () => node,
    nodes: () => nodes,
  };
}

export function nodeRedisClusterLink(cluster: NodeRedisClusterLike): RedisLink {
  const nodeFor = (master: NodeRedisMasterLike): RedisNode => ({
    name: master.address,
    async send(...command) {
      const client = await cluster.nodeClient(master);
      return (await client.sendCommand(command, OPTIONS)) as RedisReply;
    },
  });
  return {
    clustered: true,
    ...shared(cluster),
    get unready() {
      return cluster.isReady ? null : NOT_CONNECTED;
    },
    send: async (key, ...command) => (await cluster.sendCommand(key, false, command, OPTIONS)) as RedisReply,
    nameOf: (slot) => cluster.slots[slot]?.master.address ?? "",
    node: (name) => {
      const master = cluster.masters.find(({ address }) => address === name);
      return master === undefined ? null : nodeFor(master);
    },
    nodes: () => cluster.masters.map(nodeFor),
  };
}

function shared(client: Common): Pick<RedisLink, "onError" | "listen"> {
  return {
    onError(listener) {
      client.on("error", listener);
      return () => void client.off("error", listener);
    },
    listen: (channel, onMessage) => listen(client.duplicate(), channel, onMessage),
  };
}

async function listen(
  subscriber: NodeRedisSubscriberLike,
  channel: string,
  onMessage: (message: string) => void,
): Promise<RedisListener> {
  // Without a listener an error would end the process.
  subscriber.on("error", () => {});
  try {
    await subscriber.connect();
    await subscriber.subscribe(channel, onMessage);
  } catch (error) {
    await destroy(subscriber);
    throw error;
  }
  return {
    get dead() {
      return !subscriber.isOpen;
    },
    close: () => void destroy(subscriber),
  };
}

/** Some versions throw, or reject, where it is closed already. */
async function destroy(subscriber: NodeRedisSubscriberLike): Promise<void> {
  try {
    await subscriber.destroy();
  } catch {
    // It is closed.
  }
}
