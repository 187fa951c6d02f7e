// The caller's side: sends one request on a connection of its own and keeps every byte of the answer.

import { request as httpRequest } from "node:http";

export type Header = readonly [name: string, value: string];

export interface Sent {
  readonly method?: string;
  readonly path?: string;
  /** As it stands in the header, quotes and all; left out: no key. */
  readonly key?: string;
  /** Who calls, as a Basic credential; null: nobody says so. */
  readonly account?: string | null;
  readonly headers?: readonly Header[];
  readonly body?: string | Buffer;
  /** Sends the head at once and the body so much later, in milliseconds. */
  readonly bodyAfterMs?: number;
  /** Goes away without waiting for the answer, once this resolves. */
  readonly leaveAfter?: Promise<unknown>;
}

export interface Received {
  readonly status: number;
  /** In order, in their own spelling. */
  readonly headers: readonly Header[];
  readonly body: Buffer;
  /** Everything the server sent, status line and framing included. */
  readonly wire: Buffer;
  header(name: string): string | undefined;
  /** Every value of a repeated field, in order. */
  all(name: string): string[];
  json(): Record<string, unknown>;
}

/** What {@link Sent} leaves out. */
export interface Defaults {
  readonly method?: string;
  readonly path?: string;
  readonly account?: string | null;
  readonly headers?: readonly Header[];
  readonly body?: string | Buffer;
}

export type Client = (sent?: Sent) => Promise<Received>;

/** A client of one server. Its defaults are the request that a test varies. */
export function clientOf(origin: string, defaults: Defaults = {}): Client {
  return (sent = {}) =>
    send(origin, { ...defaults, ...sent, headers: [...(defaults.headers ?? []), ...(sent.headers ?? [])] });
}

export function basic(account: string): string {
  return `Basic ${Buffer.from(`${account}:a password`).toString("base64")}`;
}

function send(origin: string, sent: Sent): Promise<Received> {
  const url = new URL(origin);
  const { method = "POST", path = "/", key, account = "alice", body, leaveAfter } = sent;
  const headers: string[] = ["Host", url.host, "Connection", "close"];
  if (account !== null) headers.push("Authorization", basic(account));
  if (key !== undefined) headers.push("Idempotency-Key", key);
  for (const [name, value] of sent.headers ?? []) headers.push(name, value);
  const content = body === undefined ? null : Buffer.from(body);
  if (content !== null) {
    if (!headers.some((name, at) => at % 2 === 0 && name.toLowerCase() === "content-type"))
      headers.push("Content-Type", "application/json");
    headers.push("Content-Length", String(content.length));
  }
  return new Promise((resolve, reject) => {
    const wire: Buffer[] = [];
    const request = httpRequest({ host: url.hostname, port: url.port, method, path, headers, agent: false });
    request.once("error", reject);
    request.once("socket", (socket) => socket.on("data", (chunk: Buffer) => wire.push(chunk)));
    request.once("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () =>
        resolve(
          received(response.statusCode ?? 0, pairs(response.rawHeaders), Buffer.concat(chunks), Buffer.concat(wire)),
        ),
      );
    });
    leaveAfter?.then(() => request.destroy(), reject);
    if (sent.bodyAfterMs === undefined) {
      request.end(content ?? undefined);
    } else {
      request.flushHeaders();
      setTimeout(() => request.end(content ?? undefined), sent.bodyAfterMs);
    }
  });
}

function received(status: number, headers: readonly Header[], body: Buffer, wire: Buffer): Received {
  const all = (name: string): string[] =>
    headers.filter(([field]) => field.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  return {
    status,
    headers,
    body,
    wire,
    all,
    header: (name) => all(name)[0],
    json: () => JSON.parse(body.toString("utf8")) as Record<string, unknown>,
  };
}

/** Node's `rawHeaders` as pairs. */
export function pairs(raw: readonly string[]): Header[] {
  const headers: Header[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) headers.push([raw[at] ?? "", raw[at + 1] ?? ""]);
  return headers;
}
