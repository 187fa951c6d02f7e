// As much of ioredis and of node-redis as the store calls, so that the library needs neither.

/** `Redis` of ioredis, also through Sentinel. */
export interface IoRedisLike {
  readonly options: { readonly keyPrefix?: unknown };
  callBuffer(command: string, args: (string | Buffer)[]): Promise<unknown>;
  duplicate(override?: object): IoRedisSubscriberLike;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "error", listener: (error: Error) => void): unknown;
}

/** A connection of ioredis that listens to channels. */
export interface IoRedisSubscriberLike {
  readonly status: string;
  subscribe(channel: string): Promise<unknown>;
  on(event: "message" | "error", listener: (...args: string[]) => void): unknown;
  disconnect(): void;
}

/** `Cluster` of ioredis. */
export interface IoRedisClusterLike {
  readonly isCluster: boolean;
  readonly options: { readonly keyPrefix?: unknown };
  /** By slot, the nodes (`host:port`) that have it, the primary first. */
  readonly slots: readonly (readonly string[] | undefined)[];
  nodes(role?: "master"): IoRedisNodeLike[];
  callBuffer(command: string, args: (string | Buffer)[]): Promise<unknown>;
  duplicate(nodes?: undefined, override?: object): IoRedisSubscriberLike;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "error", listener: (error: Error) => void): unknown;
}

/** A node of an ioredis cluster. */
export interface IoRedisNodeLike {
  readonly options: { readonly host?: string | undefined; readonly port?: number | undefined };
  callBuffer(command: string, args: (string | Buffer)[]): Promise<unknown>;
}

/** What all three kinds of node-redis clients have. */
interface NodeRedisLike {
  readonly isOpen: boolean;
  duplicate(): NodeRedisSubscriberLike;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "error", listener: (error: Error) => void): unknown;
}

/** A client of node-redis that listens to channels. */
export interface NodeRedisSubscriberLike {
  readonly isOpen: boolean;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>;
  on(event: "error", listener: (error: Error) => void): unknown;
  destroy(): unknown;
}

/** `createClient()` of node-redis. */
export interface NodeRedisClientLike extends NodeRedisLike {
  sendCommand(args: (string | Buffer)[], options?: object): Promise<unknown>;
}

/** `createSentinel()` of node-redis. */
export interface NodeRedisSentinelLike extends NodeRedisLike {
  getSentinelNode(): unknown;
  sendCommand(isReadonly: boolean, args: (string | Buffer)[], options?: object): Promise<unknown>;
}

/** `createCluster()` of node-redis. */
export interface NodeRedisClusterLike extends NodeRedisLike {
  readonly isReady: boolean;
  readonly slots: readonly ({ readonly master: NodeRedisMasterLike } | undefined)[];
  readonly masters: readonly NodeRedisMasterLike[];
  nodeClient(node: NodeRedisMasterLike): NodeRedisClientLike | Promise<NodeRedisClientLike>;
  sendCommand(
    firstKey: string | Buffer | undefined,
    isReadonly: boolean,
    args: (string | Buffer)[],
    options?: object,
  ): Promise<unknown>;
}

/** A primary, as node-redis describes it. */
export interface NodeRedisMasterLike {
  readonly address: string;
}

/** Any client that the store works with. */
export type RedisClientLike =
  | IoRedisLike
  | IoRedisClusterLike
  | NodeRedisClientLike
  | NodeRedisSentinelLike
  | NodeRedisClusterLike;
