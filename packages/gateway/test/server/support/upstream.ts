// Upstreams for tests: an HTTP one that tells what it saw, and one whose bytes the test writes itself.

import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A request as the upstream got it. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** Which connection it came on, counted from 0. */
  readonly connection: number;
}

export interface HttpUpstream {
  readonly url: string;
  readonly port: number;
  readonly seen: Seen[];
  readonly server: Server;
}

export type Answer = (seen: Seen, response: ServerResponse, request: IncomingMessage) => void | Promise<void>;

/** Reads every request whole, remembers it, and answers as told; by default 200 with a body. */
export async function upstream(
  answer: Answer = (_, response) => void response.end("fine"),
  options: { readonly early?: Answer } = {},
): Promise<HttpUpstream> {
  const seen: Seen[] = [];
  const connections = new Map<Socket, number>();
  const server = createServer((request, response) => {
    const connection = connections.get(request.socket) ?? connections.size;
    connections.set(request.socket, connection);
    const { method = "", url = "", headers, rawHeaders } = request;
    const facts = { method, url, headers, rawHeaders, connection };
    if (options.early !== undefined) {
      void options.early({ ...facts, body: Buffer.alloc(0) }, response, request);
      return;
    }
    const chunks: Buffer[] = [];
    request.on("error", () => undefined);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const all = { ...facts, body: Buffer.concat(chunks) };
      seen.push(all);
      void answer(all, response, request);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, seen, server };
}

export interface RawUpstream {
  readonly url: string;
  readonly port: number;
  /** Connections so far. */
  readonly sockets: Socket[];
  /** Everything received on all connections. */
  received(): string;
}

/** Calls back with every connection, and again with every piece that comes. */
export async function rawUpstream(
  onData: (socket: Socket, soFar: string, connection: number) => void,
  onConnect: (socket: Socket, connection: number) => void = () => undefined,
): Promise<RawUpstream> {
  const sockets: Socket[] = [];
  const texts: string[] = [];
  const server = createTcpServer((socket) => {
    const index = sockets.push(socket) - 1;
    texts.push("");
    socket.on("error", () => undefined);
    onConnect(socket, index);
    socket.on("data", (chunk) => {
      texts[index] += chunk.toString("latin1");
      onData(socket, texts[index] ?? "", index);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, sockets, received: () => texts.join("") };
}

/**
 * A port that nobody listens on: below those that the system hands out, since one that was handed out and closed may be
 * given to the gateway itself next.
 */
export const CLOSED_PORT = 1;
