// The public listener: node:http or node:https, strict and bounded, with what its events mean to the gateway.

import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createSecureContext } from "node:tls";
import { IdempotencyError } from "onceward";
import { DOCUMENT_PATH, problem, problemResponse } from "onceward/http";
import type { Address, GatewayConfig, ListenerTls } from "../config/config.js";
import type { Runtime } from "./runtime.js";
import { refuseTunnel, serve, serveTunnel } from "./serve.js";
import { isWebSocket, responseOn, type Tunnel, withoutUpgrade } from "./tunnel.js";

/** How often Node looks for connections whose head is overdue. */
const CHECK_MS = 1_000;

/** Requests that a client may send on one connection without waiting for an answer; hardly any sends even two. */
const MAX_PIPELINED = 100;

/** What is under way on one connection. */
interface Connection {
  /** Answers under way; several where the client does not wait for one before it sends the next request. */
  readonly running: Set<ServerResponse>;
  last: IncomingMessage | null;
  /** Whether a head was refused: nothing that follows is served. */
  refused: boolean;
  /** How many requests have followed a refused head. */
  ignored: number;
  /** Whether it is out of HTTP. */
  isTunnel: boolean;
}

export class Listener {
  readonly #runtime: Runtime;
  readonly #server: Server | TlsServer;
  readonly #secure: boolean;
  readonly #connections = new WeakMap<Duplex, Connection>();
  readonly #tunnels = new Set<Tunnel>();
  readonly #sockets = new Set<Socket>();
  /** When a dropped connection was last logged, on the monotonic clock. */
  #droppedAt = Number.NEGATIVE_INFINITY;

  /** @throws IdempotencyError `config_invalid` where the certificate or its key cannot be read or used. */
  constructor(runtime: Runtime, config: GatewayConfig) {
    this.#runtime = runtime;
    this.#secure = config.tls !== null;
    const options = {
      maxHeaderSize: config.limits.maxHeaderBytes,
      insecureHTTPParser: false,
      // Ours is refused with a problem, and with all that follows it.
      requireHostHeader: false,
      noDelay: true,
      // Bodies have bounds of their own, and one of them is for a body that comes slowly but steadily.
      requestTimeout: 0,
      connectionsCheckingInterval: CHECK_MS,
    };
    const server =
      config.tls === null
        ? createServer(options)
        : createTlsServer({ ...options, ...readTls(config.tls), handshakeTimeout: config.timeouts.headersMs });
    // Node would leave out what is beyond its own bound without a word, the key perhaps; ours refuses instead.
    server.maxHeadersCount = 0;
    server.timeout = 0;
    this.#server = server;
    this.configure(config);
    this.#listenTo(server);
  }

  get address(): Address {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  /** Open client connections, tunnels included. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Takes over what can change while it listens. Where the certificate cannot be read the old one stays. */
  configure({ limits, timeouts }: GatewayConfig): void {
    this.#server.maxConnections = limits.maxConnections;
    this.#server.headersTimeout = timeouts.headersMs;
    this.#server.keepAliveTimeout = timeouts.keepAliveMs;
  }

  /** Reads the certificate again; new connections get it. Throws where it cannot be read, and the old one stays. */
  renewCertificate(tls: ListenerTls): void {
    if (this.#secure) (this.#server as TlsServer).setSecureContext(readTls(tls));
  }

  /** Rejects with the system's error, such as EADDRINUSE. */
  async listen({ host, port }: Address): Promise<void> {
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port, backlog: 4_096 }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    server.on("error", (error) => this.#runtime.log.error({ err: error }, "the listener failed"));
  }

  /** Takes no new connections and closes idle ones; resolves when the last one is closed. */
  close(): Promise<void> {
    for (const tunnel of this.#tunnels) tunnel.end();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      // Node's own idea of an idle connection leaves out those that have not sent a request yet.
      for (const socket of this.#sockets) this.#closeIfIdle(socket);
    });
  }

  destroy(): void {
    for (const tunnel of this.#tunnels) tunnel.destroy();
    this.#server.closeAllConnections();
    // Those that are out of HTTP are not among them.
    for (const socket of this.#sockets) socket.destroy();
  }

  #listenTo(server: Server | TlsServer): void {
    server.on(this.#secure ? "secureConnection" : "connection", (socket: Socket) => this.#count(socket));
    server.on("request", (request, response) => this.#serve(request, response, false));
    server.on("checkContinue", (request, response) => this.#serve(request, response, true));
    // Node would answer it itself, and nobody here would know that an answer is under way.
    server.on("checkExpectation", (request, response) => this.#serve(request, response, false));
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket as Socket, head));
    server.on("connect", (request, socket) => this.#refuseConnect(request, socket as Socket));
    server.on("clientError", (error, socket) => this.#refuseBytes(error, socket as Socket));
    server.on("drop", () => this.#dropped());
  }

  #count(socket: Socket): void {
    // A connection whose upgrade was taken out comes by twice.
    if (this.#connections.has(socket)) return;
    const { running } = this.#connection(socket);
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      // Node does not tell the answers that were waiting for one before them.
      for (const response of running) response.emit("close");
    });
  }

  #dropped(): void {
    const now = performance.now();
    if (now - this.#droppedAt < CHECK_MS) return;
    this.#droppedAt = now;
    this.#runtime.log.warn("connections are dropped: limits.maxConnections is reached");
  }

  #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connection(request.socket);
    const { running } = connection;
    // The connection closes when the refusal is sent, which may have to wait for an answer before it.
    if (connection.refused) {
      connection.ignored += 1;
      if (connection.ignored > MAX_PIPELINED) request.socket.destroy();
      return;
    }
    if (running.size >= MAX_PIPELINED) {
      request.socket.destroy();
      return;
    }
    running.add(response);
    connection.last = request;
    const { socket } = request;
    response.once("close", () => {
      running.delete(response);
      if (this.#runtime.stopping) this.#closeIfIdle(socket);
    });
    try {
      connection.refused = !serve(this.#runtime, request, response, expectsContinue);
    } catch (error) {
      this.#failed(error, socket);
    }
  }

  /** A fault of our own ends one connection, not the process. */
  #failed(error: unknown, socket: Socket): void {
    this.#runtime.log.error({ err: error }, "a request failed inside the gateway");
    socket.destroy();
  }

  #closeIfIdle(socket: Socket): void {
    const connection = this.#connection(socket);
    if (connection.running.size === 0 && !connection.isTunnel) socket.destroySoon();
  }

  #connection(socket: Duplex): Connection {
    const known = this.#connections.get(socket);
    if (known !== undefined) return known;
    const connection: Connection = {
      running: new Set(),
      last: null,
      refused: false,
      ignored: 0,
      isTunnel: false,
    };
    this.#connections.set(socket, connection);
    return connection;
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    if (this.#isTaken(socket)) {
      socket.destroy();
    } else if (isWebSocket(request)) {
      this.#connection(socket).isTunnel = true;
      socket.on("error", () => socket.destroy());
      try {
        serveTunnel(this.#runtime, request, responseOn(request, socket), { socket, head, tunnels: this.#tunnels });
      } catch (error) {
        this.#failed(error, socket);
      }
    } else {
      socket.unshift(withoutUpgrade(request, head));
      this.#server.emit(this.#secure ? "secureConnection" : "connection", socket);
    }
  }

  /** Whether an answer would overtake that of a request before it, or follows a head that was refused. */
  #isTaken(socket: Socket): boolean {
    const { running, refused } = this.#connection(socket);
    return running.size > 0 || refused;
  }

  #refuseConnect(request: IncomingMessage, socket: Socket): void {
    socket.on("error", () => socket.destroy());
    if (this.#isTaken(socket)) {
      socket.destroy();
      return;
    }
    try {
      refuseTunnel(this.#runtime, request, responseOn(request, socket));
    } catch (error) {
      this.#failed(error, socket);
    }
  }

  /** Bytes that are no request, or came too slowly. */
  #refuseBytes(error: Error & { code?: string }, socket: Socket): void {
    const { running, last } = this.#connection(socket);
    // Where an answer is under way, bytes of ours would be taken for it: only a body that is cut short may be answered.
    const [first] = running;
    const answerable = first === undefined || (running.size === 1 && last?.complete === false && !first.headersSent);
    if (!socket.writable || error.code === "ECONNRESET" || !answerable) {
      socket.destroy(error);
      return;
    }
    socket.end(rawRefusal(error.code ?? ""));
    // It is closed for good when the client has taken it, or soon after.
    setTimeout(() => socket.destroy(), CHECK_MS).unref();
  }
}

function rawRefusal(code: string): Buffer {
  const status = code === "HPE_HEADER_OVERFLOW" ? 431 : code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const detail =
    status === 431
      ? "The request's header fields are larger than is accepted. Nothing was run."
      : status === 408
        ? "The request did not arrive in time. Nothing was run."
        : "The request is not well-formed HTTP/1.1, or its framing can be read in two ways. Nothing was run.";
  const { headers, body } = problemResponse(problem("request_invalid", { status, detail }), "problem", DOCUMENT_PATH);
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nDate: ${new Date().toUTCString()}\r\n`;
  for (const [name, value] of headers) head += `${name}: ${value}\r\n`;
  head += `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

function readTls({ certFile, keyFile }: ListenerTls): { cert: Buffer; key: Buffer; minVersion: "TLSv1.2" } {
  try {
    const credentials = { cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: "TLSv1.2" } as const;
    createSecureContext(credentials);
    return credentials;
  } catch (error) {
    const fix = "they must be PEM, and the key that of the certificate";
    const message = `tls: ${certFile} and ${keyFile} cannot be used: ${fix} (${error instanceof Error ? error.message : error})`;
    throw new IdempotencyError("config_invalid", message, { cause: error });
  }
}
