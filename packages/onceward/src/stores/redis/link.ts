// One way to talk to Redis, whichever client is behind it.

/** What is sent: text as UTF-8, or bytes. */
export type RedisArgument = string | Buffer;

/** A reply: bytes (short ones of some clients as text), integers, lists; null where there is nothing. */
export type RedisReply = Buffer | string | number | null | readonly RedisReply[];

/** One server that takes writes. */
export interface RedisNode {
  /** The same for all slots that it has; such as `127.0.0.1:7000`, or nothing where it is the only one. */
  readonly name: string;
  /** Sends a command to it and nowhere else; rejects with what it or the client says. */
  send(...command: RedisArgument[]): Promise<RedisReply>;
}

/** A connection of its own that listens to a channel, and does so again after it was lost. */
export interface RedisListener {
  /** Whether it is to be replaced, since its client gave up. */
  readonly dead: boolean;
  close(): void;
}

export interface RedisLink {
  /** Whether keys are spread over the nodes of a cluster. */
  readonly clustered: boolean;
  /** Why nothing can be sent as it is, in words for people; null where all is well. */
  readonly unready: string | null;
  /** Sends a command to the node that has `key`; in a cluster the client follows redirections. */
  send(key: string | Buffer, ...command: RedisArgument[]): Promise<RedisReply>;
  /** The name of the node that has a slot, as far as the client knows; nothing where it does not. */
  nameOf(slot: number): string;
  /** The node of a name, as long as it is connected to; there is one named nothing where there is one only. */
  node(name: string): RedisNode | null;
  /** All that have slots. */
  nodes(): readonly RedisNode[];
  /** Tells of the errors of connections; the returned function ends it. */
  onError(listener: (error: Error) => void): () => void;
  listen(channel: string, onMessage: (message: string) => void): Promise<RedisListener>;
}

/** A reply that is text; nothing where it is none. */
export function textOf(reply: RedisReply | undefined): string {
  return typeof reply === "string" || Buffer.isBuffer(reply) ? reply.toString() : "";
}

/** A reply that is a list of texts, such as names and values in turn. */
export function textsOf(reply: RedisReply): readonly string[] {
  return Array.isArray(reply) ? reply.map(textOf) : [];
}

/** The code that errors of Redis begin with, such as `NOSCRIPT`; nothing where it is another error. */
export function codeOf(error: unknown): string {
  return /^[A-Z]+(?= )/.exec(error instanceof Error ? error.message : "")?.[0] ?? "";
}
