// The socket as it is seen while an answer is held: alive until that is over, whatever became of the client.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

const CLOSING: ReadonlySet<string | symbol> = new Set(["end", "destroy", "destroySoon", "resetAndDestroy"]);

/**
 * Koa, Fastify and others do not answer where they see that the socket is closed; but the answer is to be recorded all
 * the same (SPEC §4.7). So it looks writable. All else is the socket's own.
 */
export class SocketStandIn implements ProxyHandler<Socket> {
  readonly #socket: Socket;
  readonly #onTakenOver: () => boolean;
  #released = false;
  #closes = false;

  /**
   * `onTakenOver` is called when somebody writes to the socket, or closes it. Where it answers false there is an answer on
   * its way, and the socket is closed behind that.
   */
  constructor(socket: Socket, onTakenOver: () => boolean) {
    this.#socket = socket;
    this.#onTakenOver = onTakenOver;
  }

  /** Is seen through the request and the response, until the function that it returns is called. */
  show(request: IncomingMessage, response: ServerResponse): () => void {
    const proxy = new Proxy(this.#socket, this);
    const unmask = [mask(request, proxy), mask(response, proxy)];
    return () => {
      this.#released = true;
      for (const back of unmask) back();
    };
  }

  /** Closes the socket when all of the answer is written, where somebody wanted it closed. */
  closeBehind(): void {
    if (this.#closes) this.#socket.destroySoon();
  }

  get(socket: Socket, name: string | symbol, proxy: Socket): unknown {
    if (!this.#released) {
      if (name === "writable") return true;
      if (name === "destroyed") return false;
    }
    const value: unknown = Reflect.get(socket, name, socket);
    if (typeof value !== "function") return value;
    return (...values: unknown[]) => {
      const takesOver = !this.#released && (name === "write" || CLOSING.has(name));
      if (!takesOver || this.#onTakenOver()) return Reflect.apply(value, socket, values);
      if (name !== "write") this.#closes = true;
      return proxy;
    };
  }

  set(socket: Socket, name: string | symbol, value: unknown): boolean {
    return Reflect.set(socket, name, value, socket);
  }
}

/** HTTP/1.1 keeps the socket in a field, HTTP/2 behind a getter. */
function mask(message: { socket: Socket | null }, proxy: Socket): () => void {
  const own = Object.getOwnPropertyDescriptor(message, "socket");
  const natural = message.socket;
  // Of a response that is pipelined: it has none until the answers before it are sent.
  if (own !== undefined && natural === null) return () => {};
  if (own !== undefined) message.socket = proxy;
  else Object.defineProperty(message, "socket", { configurable: true, writable: true, value: proxy });
  return () => {
    if (own === undefined) Reflect.deleteProperty(message, "socket");
    else if (message.socket === proxy) message.socket = natural;
  };
}
