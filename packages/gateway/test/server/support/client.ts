// Clients for tests: node:http with raw header lists, and a bare socket whose bytes are the test's own.

import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { connect, type Socket } from "node:net";

export interface Received {
  readonly status: number;
  /** Name and value pairs, in order. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  readonly message: IncomingMessage;
  header(name: string): string | undefined;
  json(): { readonly code?: string; readonly [name: string]: unknown };
}

export interface Sent extends Pick<RequestOptions, "method" | "agent"> {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string | Buffer;
}

/** Sends a request on a connection of its own and reads the answer whole. */
export function send(port: number, sent: Sent = {}): Promise<Received> {
  const { path = "/", headers = {}, body, method = "GET" } = sent;
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, path, method, headers, agent: sent.agent ?? false };
    const outgoing = request(options, (message) => {
      const chunks: Buffer[] = [];
      message.on("data", (chunk: Buffer) => chunks.push(chunk));
      message.on("error", reject);
      message.on("end", () => resolve(received(message, Buffer.concat(chunks))));
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** POSTs with a key. */
export function post(port: number, key: string, sent: Sent = {}): Promise<Received> {
  return send(port, {
    method: "POST",
    path: "/pay",
    body: "amount=1",
    ...sent,
    headers: { "Idempotency-Key": key, ...sent.headers },
  });
}

function received(message: IncomingMessage, body: Buffer): Received {
  const raw = message.rawHeaders;
  const headers = raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1] ?? ""] as const] : []));
  return {
    status: message.statusCode ?? 0,
    headers,
    body,
    message,
    header: (name) => headers.find(([field]) => field.toLowerCase() === name.toLowerCase())?.[1],
    json: () => JSON.parse(body.toString("utf8")),
  };
}

/** A connection whose bytes are latin1 text. */
export interface RawClient {
  readonly socket: Socket;
  write(text: string): void;
  /** Waits until what was received matches; rejects where the connection closes first. */
  until(pattern: RegExp | ((text: string) => boolean)): Promise<string>;
  /** Waits until the other side closes; answers all that was received. */
  closed(): Promise<string>;
  text(): string;
}

export function raw(port: number): RawClient {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  let isClosed = false;
  let onChange: () => void = () => undefined;
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    onChange();
  });
  socket.on("close", () => {
    isClosed = true;
    onChange();
  });
  const wait = (done: () => boolean, failed: () => boolean): Promise<string> =>
    new Promise((resolve, reject) => {
      onChange = () => {
        if (done()) resolve(text);
        else if (failed()) reject(new Error(`the connection closed after ${JSON.stringify(text)}`));
      };
      onChange();
    });
  return {
    socket,
    write: (bytes) => void socket.write(Buffer.from(bytes, "latin1")),
    until: (pattern) =>
      wait(
        () => (pattern instanceof RegExp ? pattern.test(text) : pattern(text)),
        () => isClosed,
      ),
    closed: () =>
      wait(
        () => isClosed,
        () => false,
      ),
    text: () => text,
  };
}

/** Sends bytes on a connection of its own and answers all that came until it was closed. */
export function exchange(port: number, bytes: string): Promise<string> {
  const client = raw(port);
  client.write(bytes);
  return client.closed();
}

/** Waits until a condition holds; fails by the test's own timeout. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}
