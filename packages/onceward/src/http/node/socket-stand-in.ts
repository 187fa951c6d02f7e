// The socket as it is seen through a held response: alive until the answer is over, whatever became of the client.

import type { Socket } from "node:net";

type Listener = (...values: unknown[]) => void;
type Adding = "on" | "once" | "addListener" | "prependListener" | "prependOnceListener";

/** What ends or uses the connection behind the answer's back. */
const TAKING_OVER: ReadonlySet<string | symbol> = new Set([
  "write",
  "end",
  "destroy",
  "destroySoon",
  "resetAndDestroy",
]);

/**
 * `send`, Koa and others stop an answer half way when they see that the socket closed, and then nobody would ever end
 * it: the operation is to finish and be recorded all the same (SPEC §4.7). So `close` and `error` are kept for later,
 * and the socket looks writable. All else is the socket's own.
 */
export class SocketStandIn implements ProxyHandler<Socket> {
  readonly socket: Socket;
  readonly proxy: Socket;
  readonly #onTakenOver: () => void;
  #kept: [adding: Adding, event: string, listener: Listener][] = [];
  #released = false;

  /** `onTakenOver` is called when somebody writes to the socket, or ends it, through the response. */
  constructor(socket: Socket, onTakenOver: () => void) {
    this.socket = socket;
    this.#onTakenOver = onTakenOver;
    this.proxy = new Proxy(socket, this);
  }

  /** From here on it is the socket itself; who waited for its end and missed it is told. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const { socket } = this;
    for (const [adding, event, listener] of this.#kept) {
      if (!socket.destroyed) socket[adding](event, listener);
      else if (event === "close") listener.call(socket, socket.errored !== null);
    }
    this.#kept = [];
  }

  get(socket: Socket, name: string | symbol): unknown {
    const value: unknown = Reflect.get(socket, name, socket);
    if (typeof value === "function") return this.#method(name, value as CallableFunction);
    if (this.#released) return value;
    if (name === "writable") return true;
    if (name === "destroyed") return false;
    return value;
  }

  set(socket: Socket, name: string | symbol, value: unknown): boolean {
    return Reflect.set(socket, name, value, socket);
  }

  #method(name: string | symbol, method: CallableFunction): unknown {
    const { socket } = this;
    switch (name) {
      case "on":
      case "once":
      case "addListener":
      case "prependListener":
      case "prependOnceListener":
        return (event: string, listener: Listener) => {
          if (this.#released || (event !== "close" && event !== "error")) socket[name](event, listener);
          else this.#kept.push([name, event, listener]);
          return this.proxy;
        };
      case "off":
      case "removeListener":
        return (event: string, listener: Listener) => {
          this.#kept = this.#kept.filter(([, kept, of]) => kept !== event || of !== listener);
          socket.removeListener(event, listener);
          return this.proxy;
        };
      default:
        return (...values: unknown[]) => {
          if (TAKING_OVER.has(name) && !this.#released) this.#onTakenOver();
          return Reflect.apply(method, socket, values);
        };
    }
  }
}
