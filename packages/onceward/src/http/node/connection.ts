// The connection of a request while its operation runs: what becomes of it is told when that is over (SPEC §4.7).

import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

/** On hearing these, Node takes the body from a parser, and frameworks stop half way in answers, or do not begin any. */
const TOLD_LATER: ReadonlySet<unknown> = new Set(["close", "error", "aborted"]);
const HOLDS: unique symbol = Symbol("onceward.holds");

/** A connection may have several requests under way, where they are pipelined. */
interface Holds {
  readonly holders: Set<HeldConnection>;
  readonly kept: unknown[][];
}

type Emit = (this: unknown, ...values: unknown[]) => boolean;

/** The socket of HTTP/1.1, or the stream of HTTP/2. */
type Connection = Duplex & { [HOLDS]?: Holds; emit: Emit };

export class HeldConnection {
  readonly #connection: Connection;
  readonly #holds: Holds;
  #byClient = false;
  #onClosed: () => void = () => {};

  constructor(request: IncomingMessage) {
    this.#connection = connectionOf(request);
    this.#holds = holdsOf(this.#connection);
    this.#holds.holders.add(this);
  }

  get isClosed(): boolean {
    return this.#connection.destroyed;
  }

  /** Whether the client closed it, or else this side. */
  get isClosedByClient(): boolean {
    return this.#byClient;
  }

  /** Calls when it is closed, which must not be so yet. */
  set onClosed(call: () => void) {
    this.#onClosed = call;
  }

  closed(): void {
    this.#byClient = closedByClient(this.#connection);
    this.#onClosed();
  }

  /** Everybody is told now, and from now on at once. */
  release(): void {
    const { holders, kept } = this.#holds;
    if (!holders.delete(this) || holders.size > 0) return;
    for (const values of kept.splice(0)) this.#connection.emit(...values);
  }
}

/** Whether the connection of a request is closed. */
export function isCutOff(request: IncomingMessage): boolean {
  return connectionOf(request).destroyed;
}

function connectionOf(request: IncomingMessage): Connection {
  const { stream, socket } = request as unknown as { readonly stream?: Connection; readonly socket: Connection };
  return request.httpVersionMajor >= 2 && stream !== undefined ? stream : socket;
}

/** Once for a connection, however many requests come over it. */
function holdsOf(connection: Connection): Holds {
  const before = connection[HOLDS];
  if (before !== undefined) return before;
  const { emit } = connection;
  const holds: Holds = { holders: new Set(), kept: [] };
  connection[HOLDS] = holds;
  connection.emit = function (event: unknown, ...values: unknown[]): boolean {
    if (holds.holders.size === 0 || !TOLD_LATER.has(event)) return emit.call(this, event, ...values);
    holds.kept.push([event, ...values]);
    if (event === "close") for (const holder of holds.holders) holder.closed();
    return true;
  };
  return holds;
}

/** By its end of the connection, or by a failure of the network. HTTP/2 does not tell, but for what it resets. */
function closedByClient(connection: Connection & { readonly aborted?: boolean }): boolean {
  const { code } = (connection.errored ?? {}) as { readonly code?: unknown };
  if (connection.aborted === true || connection.readableEnded) return true;
  return typeof code === "string" && !code.startsWith("ERR_");
}
