// Links over ioredis: a server or a primary behind Sentinel, and a cluster.

import type { IoRedisClusterLike, IoRedisLike, IoRedisNodeLike, IoRedisSubscriberLike } from "./client.js";
import type { RedisArgument, RedisLink, RedisListener, RedisNode, RedisReply } from "./link.js";

/** Any object of ioredis that takes commands. */
type Sender = Pick<IoRedisLike, "callBuffer">;

async function call(sender: Sender, [name, ...args]: readonly RedisArgument[]): Promise<RedisReply> {
  return (await sender.callBuffer(String(name), args)) as RedisReply;
}

export function ioRedisLink(client: IoRedisLike): RedisLink {
  const node: RedisNode = { name: "", send: (...command) => call(client, command) };
  const nodes = [node];
  return {
    clustered: false,
    unready: null,
    send: (_key, ...command) => call(client, command),
    nameOf: () => "",
    node: () => node,
    nodes: () => nodes,
    onError: (listener) => hear(client, listener),
    // Its own settings would stop it from listening on after a lost connection.
    listen: (channel, onMessage) =>
      listen(client.duplicate({ autoResubscribe: true, lazyConnect: true }), channel, onMessage),
  };
}

export function ioRedisClusterLink(cluster: IoRedisClusterLike): RedisLink {
  const nodes = () => cluster.nodes("master").map(nodeFor);
  return {
    clustered: true,
    unready: null,
    send: (_key, ...command) => call(cluster, command),
    nameOf: (slot) => cluster.slots[slot]?.[0] ?? "",
    node: (name) => nodes().find((node) => node.name === name) ?? null,
    nodes,
    onError: (listener) => hear(cluster, listener),
    listen: (channel, onMessage) => listen(cluster.duplicate(undefined, { lazyConnect: true }), channel, onMessage),
  };
}

function nodeFor(node: IoRedisNodeLike): RedisNode {
  return { name: `${node.options.host}:${node.options.port}`, send: (...command) => call(node, command) };
}

function hear(client: Pick<IoRedisLike, "on" | "off">, listener: (error: Error) => void): () => void {
  client.on("error", listener);
  return () => void client.off("error", listener);
}

async function listen(
  subscriber: IoRedisSubscriberLike,
  channel: string,
  onMessage: (message: string) => void,
): Promise<RedisListener> {
  // Without a listener ioredis writes each error to the console.
  subscriber.on("error", () => {});
  subscriber.on("message", (of, message) => {
    if (of === channel && message !== undefined) onMessage(message);
  });
  try {
    await subscriber.subscribe(channel);
  } catch (error) {
    subscriber.disconnect();
    throw error;
  }
  return {
    get dead() {
      return subscriber.status === "end";
    },
    close: () => subscriber.disconnect(),
  };
}
