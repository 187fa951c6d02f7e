// The service behind the gateway: a real server that counts what it was made to do and answers as it is told.

import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { type Header, pairs } from "./client.js";

/** A request as it reached the service: each one is an effect that cannot be taken back. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly Header[];
  readonly body: string;
  /** The Idempotency-Key as it was forwarded. */
  readonly key: string | undefined;
}

export interface Reply {
  readonly status: number;
  readonly headers?: readonly Header[];
  readonly body?: string | Buffer;
  /** false: without the Date that a server adds of itself. */
  readonly dated?: boolean;
}

/** `hang up`: the connection breaks after the operation took effect and before a byte of its answer. */
type Said = Reply | "hang up";

export type Respond = (seen: Seen, nth: number) => Said | Promise<Said>;

export interface Upstream {
  readonly url: string;
  readonly seen: readonly Seen[];
  /** How the requests with this key are answered; without it each gets an answer unlike every other. */
  answer(key: string, respond: Respond | Said): void;
  /** How often the operation of this key ran. */
  runs(key: string): number;
  close(): Promise<void>;
}

/**
 * @param otherwise How requests are answered whose key {@link Upstream.answer} says nothing of.
 * @param onPort 0: a free one.
 */
export async function startUpstream(otherwise: Respond = unlikeAnyOther, onPort = 0): Promise<Upstream> {
  const seen: Seen[] = [];
  const answers = new Map<string, Respond>();
  const server = createServer(async (request, response) => {
    const headers = pairs(request.rawHeaders);
    const key = headers.find(([name]) => name.toLowerCase() === "idempotency-key")?.[1];
    const body = await read(request);
    const one: Seen = { method: request.method ?? "", url: request.url ?? "", headers, body, key };
    seen.push(one);
    const nth = seen.length;
    const respond = (key === undefined ? undefined : answers.get(key)) ?? otherwise;
    const reply = await respond(one, nth);
    if (reply === "hang up") {
      request.socket.destroy();
      return;
    }
    const out = (reply.headers ?? []).flat();
    response.sendDate = reply.dated ?? true;
    response.writeHead(reply.status, out);
    response.end(reply.body);
  });
  await new Promise<void>((resolve) => server.listen(onPort, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    answer: (key, respond) => void answers.set(key, typeof respond === "function" ? respond : () => respond),
    runs: (key) => seen.filter((one) => one.key === key).length,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Where a replay is expected, a second run shows in the answer too. */
function unlikeAnyOther({ method, url }: Seen, nth: number): Reply {
  return {
    status: 201,
    headers: [
      ["Content-Type", "application/json"],
      ["Location", `/things/${nth}`],
      ["X-Request-Id", `run ${nth}`],
    ],
    body: JSON.stringify({ id: nth, did: `${method} ${url}` }),
  };
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** Holds an operation under way until the test lets it finish. */
export interface Gate {
  /** Resolves when the operation has begun. */
  readonly entered: Promise<void>;
  open(): void;
  /** To be awaited by the operation. */
  pass(): Promise<void>;
}

export function gate(): Gate {
  let enter: () => void = () => undefined;
  let open: () => void = () => undefined;
  const entered = new Promise<void>((resolve) => {
    enter = resolve;
  });
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return {
    entered,
    open,
    pass() {
      enter();
      return opened;
    },
  };
}
