// What the tests of held responses share: servers with and without the middleware, and clients that see every byte.

import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { type IdempotentListener, idempotency, type NodeIdempotencyOptions } from "../../src/adapters/node.js";
import type { EngineEvent } from "../../src/core/events.js";
import type { Store } from "../../src/core/store.js";
import { memoryStore } from "../../src/stores/memory.js";

export interface TestServer {
  readonly port: number;
  readonly server: Server;
}

export async function listen(listener: RequestListener): Promise<TestServer> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port, server };
}

export interface Guarded extends TestServer {
  readonly store: Store;
  readonly events: EngineEvent["type"][];
  /** The state of the one record, or none. */
  state(): Promise<string>;
}

/** A server whose every request goes through the middleware of `node:http`. */
export async function guarded(
  listener: IdempotentListener,
  options: Partial<NodeIdempotencyOptions> = {},
): Promise<Guarded> {
  const store = options.store ?? memoryStore();
  const events: EngineEvent["type"][] = [];
  const middleware = idempotency({
    store,
    account: () => "alice",
    background: false,
    onEvent: (event) => events.push(event.type),
    onError: (_error, _request, response) => {
      if (!response.headersSent) response.writeHead(500).end("failed");
    },
    ...options,
  });
  const running = await listen((request, response) => {
    void middleware(listener)(request, response);
  });
  onTestFinished(() => middleware.close());
  const state = async (): Promise<string> => (await store.list({ limit: 2 })).items.map((item) => item.state).join();
  return { ...running, store, events, state };
}

export interface RawClient {
  readonly socket: Socket;
  /** What has come so far, one character a byte. */
  received(): string;
  /** Resolves with all that came, when the server has closed the connection. */
  readonly closed: Promise<string>;
  /** Resolves when what came matches. */
  until(pattern: RegExp): Promise<string>;
}

/** Opens a connection and writes to it. */
export function raw(port: number, ...writes: readonly (string | Uint8Array)[]): RawClient {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  for (const piece of writes) socket.write(piece);
  const closed = once(socket, "close").then(() => received);
  onTestFinished(() => void socket.destroy());
  return {
    socket,
    received: () => received,
    closed,
    until: (pattern) => until(() => pattern.test(received) && received),
  };
}

/** The head of a keyed request; it closes its connection unless it says otherwise. */
export function post(key: string | null, body = "", fields: readonly string[] = ["Connection: close"]): string {
  const keyed = key === null ? [] : [`Idempotency-Key: ${key}`];
  const head = [
    "POST /transfers HTTP/1.1",
    "Host: test",
    ...keyed,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...fields,
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

/** All the bytes that a request is answered with, but for its Date. */
export async function exchange(port: number, request: string | Uint8Array): Promise<string> {
  return undated(await raw(port, request).closed);
}

export function undated(answer: string): string {
  return answer.replace(/^Date: .*\r\n/m, "");
}

/** Without the field that marks a replay, which it must have. */
export function unmarked(answer: string): string {
  const without = answer.replace(/^Idempotent-Replayed: true\r\n/m, "");
  if (without === answer) throw new Error(`This is no replay:\n${answer}`);
  return without;
}

/** Waits until something holds, and answers it. */
export async function until<T>(holds: () => T | Promise<T>): Promise<Exclude<T, false | null | undefined>> {
  const giveUpAt = performance.now() + 15_000;
  for (;;) {
    const held = await holds();
    if (held !== false && held !== null && held !== undefined) return held as Exclude<T, false | null | undefined>;
    if (performance.now() > giveUpAt) throw new Error(`It never came to this: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
