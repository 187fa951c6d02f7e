// Serves a fetch handler with node:http, as simply as it can be done: a bridge for tests.

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import type { SuiteAnswer } from "../../src/testing/adapter-suite.js";

export type FetchHandler = (request: Request) => Response | Promise<Response>;

/** The Response of an answer of the suite. */
export function webAnswer(answer: SuiteAnswer<Response>): Response {
  if (answer.kind === "sent") return answer.sent;
  const headers = new Headers();
  for (const [name, value] of answer.headers) headers.append(name, value);
  const { status } = answer;
  if (answer.kind === "whole")
    return new Response(answer.body as string | Uint8Array<ArrayBuffer> | null, { status, headers });
  return new Response(streamOf(answer.chunks), { status, headers });
}

function streamOf(chunks: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}

export async function serveFetch(handler: FetchHandler): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer((incoming, outgoing) => void serve(handler, incoming, outgoing));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function serve(handler: FetchHandler, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  try {
    await send(await handler(requestOf(incoming, outgoing)), outgoing, incoming.method === "HEAD");
  } catch {
    if (!outgoing.headersSent) outgoing.writeHead(500).end("the platform's own error");
    else outgoing.destroy();
  }
}

function requestOf(incoming: IncomingMessage, outgoing: ServerResponse): Request {
  const headers = new Headers();
  const raw = incoming.rawHeaders;
  for (let at = 0; at + 1 < raw.length; at += 2) headers.append(raw[at] ?? "", raw[at + 1] ?? "");
  const gone = new AbortController();
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  const method = incoming.method ?? "GET";
  const { "content-length": length, "transfer-encoding": coding } = incoming.headers;
  const bodied = method !== "GET" && method !== "HEAD" && (length !== undefined || coding !== undefined);
  const url = `http://${incoming.headers.host}${incoming.url}`;
  const body = bodied ? (Readable.toWeb(incoming) as ReadableStream<Uint8Array>) : null;
  return new Request(url, { method, headers, body, signal: gone.signal, ...(bodied ? { duplex: "half" } : {}) });
}

async function send(response: Response, outgoing: ServerResponse, bodiless: boolean): Promise<void> {
  // As a flat list, so that cookies stay apart.
  outgoing.writeHead(response.status, [...response.headers].flat() as unknown as Record<string, string>);
  const reader = bodiless ? undefined : (response.body as ReadableStream<Uint8Array> | null)?.getReader();
  if (reader === undefined) {
    outgoing.end();
    return;
  }
  outgoing.once("close", () => void reader.cancel().catch(() => {}));
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    outgoing.write(value);
  }
  outgoing.end();
}
