// WebSocket connections: passed through both ways, never keyed (SPEC §5.7); every other upgrade is taken out.

import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { finished } from "node:stream";
import type { HeaderList } from "onceward/http";
import { answerHeaders, requestHeaders } from "./forwarding.js";
import { PassedAnswer } from "./pass-through.js";
import { hasBody } from "./request-head.js";
import type { Exchange, Runtime } from "./runtime.js";

/** Neither side said anything for so long: they are taken for gone. Peers that are gone are found by TCP sooner. */
const IDLE_MS = 3_600_000;
/** One side has closed; so long may the other go on. */
const HALF_OPEN_MS = 10_000;
/** A request for a tunnel was answered otherwise; so long the client may take to close its side. */
const REFUSED_MS = 2_000;
const PROBE_MS = 60_000;

/** Whether a request asks for a WebSocket, the only upgrade that is passed on. */
export function isWebSocket(request: IncomingMessage): boolean {
  return request.method === "GET" && request.headers.upgrade?.trim().toLowerCase() === "websocket" && !hasBody(request);
}

/**
 * The bytes of a request whose upgrade was taken out, for its connection to be served anew as HTTP/1.1. Node has taken
 * the connection out of HTTP by now, whoever asked for what; `rest` is what followed the head.
 */
export function withoutUpgrade(request: IncomingMessage, rest: Buffer): Buffer {
  const raw = request.rawHeaders;
  let head = `${request.method} ${request.url} HTTP/${request.httpVersion}\r\n`;
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? "";
    const lower = name.toLowerCase();
    if (lower === "upgrade" || lower === "http2-settings") continue;
    if (lower !== "connection") {
      head += `${name}: ${raw[at + 1]}\r\n`;
      continue;
    }
    const options = (raw[at + 1] ?? "")
      .split(",")
      .filter((option) => !/^\s*(?:upgrade|http2-settings)\s*$/i.test(option));
    if (options.length > 0) head += `${name}:${options.join(",")}\r\n`;
  }
  return Buffer.concat([Buffer.from(`${head}\r\n`, "latin1"), rest]);
}

/** A response on a connection that Node has handed over. */
export function responseOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once("finish", () => {
    response.detachSocket(socket);
    response.emit("close");
    socket.end();
    // A client that never closes its side would keep the connection for ever: Node no longer looks after it.
    setTimeout(() => socket.destroy(), REFUSED_MS).unref();
  });
  return response;
}

/** Forwards the request for a WebSocket; what the upstream answers instead of one is passed on. */
export function openTunnel(exchange: Exchange, socket: Socket, head: Buffer, tunnels: Set<Tunnel>): void {
  const { request, route, target, generation } = exchange;
  const { forwarding } = generation;
  const answer = new TunnelAnswer(exchange, socket, head, tunnels);
  const call = route.upstream.plain.dispatch(
    {
      method: "GET",
      path: route.upstream.basePath + target.path + target.query,
      headers: requestHeaders(request, { forwarding, route, authority: target.authority, contentLength: null }),
      upgrade: "websocket",
    },
    answer,
  );
  const gone = (): void => call.abort(new Error("the client is gone"));
  socket.once("close", gone);
  answer.onOpen = () => void socket.off("close", gone);
}

class TunnelAnswer extends PassedAnswer {
  onOpen: () => void = () => undefined;
  readonly #exchange: Exchange;
  readonly #socket: Socket;
  readonly #head: Buffer;
  readonly #tunnels: Set<Tunnel>;

  constructor(exchange: Exchange, socket: Socket, head: Buffer, tunnels: Set<Tunnel>) {
    super(exchange, { headers: [], observation: null, body: null }, null);
    this.#exchange = exchange;
    this.#socket = socket;
    this.#head = head;
    this.#tunnels = tunnels;
  }

  onUpgrade(status: number, received: HeaderList, upstream: Duplex): void {
    this.onOpen();
    const { runtime, response } = this.#exchange;
    const socket = this.#socket;
    if (status !== 101 || socket.destroyed) {
      upstream.destroy();
      socket.destroy();
      return;
    }
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    for (const [name, value] of answerHeaders(received, false)) head += `${name}: ${value}\r\n`;
    response.detachSocket(socket);
    socket.write(`${head}\r\n`, "latin1");
    if (this.#head.length > 0) upstream.write(this.#head);
    new Tunnel(socket, upstream, this.#tunnels, runtime);
    // The exchange is over; the tunnel is counted by itself.
    response.emit("close");
  }
}

/** Two connections that are one. */
export class Tunnel {
  readonly #ends: readonly [Duplex, Duplex];

  constructor(client: Socket, upstream: Duplex, tunnels: Set<Tunnel>, runtime: Runtime) {
    this.#ends = [client, upstream];
    tunnels.add(this);
    for (const end of this.#ends) {
      const socket = end as Socket;
      socket.setTimeout(IDLE_MS, () => this.destroy());
      socket.setKeepAlive(true, PROBE_MS);
      socket.setNoDelay(true);
      end.on("error", (error) => {
        runtime.log.debug({ err: error }, "a tunnel broke");
        this.destroy();
      });
    }
    client.pipe(upstream);
    upstream.pipe(client);
    let open = 2;
    for (const end of this.#ends) {
      finished(end, { writable: false }, () => {
        open -= 1;
        if (open === 0) this.destroy();
        else setTimeout(() => this.destroy(), HALF_OPEN_MS).unref();
      });
      end.once("close", () => {
        tunnels.delete(this);
        this.destroy();
      });
    }
  }

  /** Closes both ways, with what is already on its way. */
  end(): void {
    for (const end of this.#ends) end.end();
    setTimeout(() => this.destroy(), HALF_OPEN_MS).unref();
  }

  destroy(): void {
    for (const end of this.#ends) end.destroy();
  }
}
