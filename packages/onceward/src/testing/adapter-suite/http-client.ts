// A client that shows an answer as it came over the wire: raw fields, pieces of the body as they arrive.

import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { type HeaderList, headerValue, headerValues } from "../../http/message.js";

export interface WireRequest {
  readonly method: string;
  readonly path: string;
  /** Sent as they are, in this order; `Host` and the framing are added. */
  readonly headers: HeaderList;
  readonly body: Uint8Array | null;
  /** Whether the body comes in chunks, and its length is not said. */
  readonly chunked?: boolean;
}

/** An answer that is complete. */
export interface WireAnswer {
  readonly status: number;
  /** As received, in order. */
  readonly headers: HeaderList;
  readonly body: Uint8Array;
  readonly text: string;
}

/** An exchange that is under way. */
export interface WireExchange {
  /** Resolves with the head of the answer; rejects where the connection ends before. */
  readonly head: Promise<{ readonly status: number; readonly headers: HeaderList }>;
  /** Resolves with the whole answer; rejects where it is cut off. */
  readonly whole: Promise<WireAnswer>;
  /** What of the body has come so far. */
  received(): string;
  /** Whether the answer's head has come. */
  readonly hasHead: boolean;
  /** Closes the connection. */
  leave(): void;
  /** Sends a piece of the body; for {@link openExchange} with `partial`. */
  write(chunk: Uint8Array): void;
}

const ANSWER_MS = 20_000;

/** Sends a request on a connection of its own. Under `partial` the body is left open, announced as `announcedBytes`. */
export function openExchange(
  url: string,
  { method, path, headers, body, chunked = false }: WireRequest,
  partial?: { readonly announcedBytes: number },
): WireExchange {
  const { hostname, port } = new URL(url);
  const framing: HeaderList =
    partial !== undefined
      ? [["Content-Length", String(partial.announcedBytes)]]
      : body === null
        ? []
        : chunked
          ? [["Transfer-Encoding", "chunked"]]
          : [["Content-Length", String(body.length)]];
  const fields = [["Host", `${hostname}:${port}`], ...headers, ...framing];
  const request = httpRequest({
    hostname,
    port,
    method,
    path,
    agent: false,
    // As a flat list, which Node sends as it is: repeated fields stay apart.
    headers: fields.flat() as unknown as Record<string, string>,
  });
  const exchange = watch(request);
  if (body !== null) request.write(body);
  if (partial === undefined) request.end();
  else request.flushHeaders();
  return exchange;
}

function watch(request: ClientRequest): WireExchange {
  const chunks: Uint8Array[] = [];
  let hasHead = false;
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.once("response", (message) => {
      hasHead = true;
      resolve(message);
    });
    request.once("error", reject);
    request.setTimeout(ANSWER_MS, () => request.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
  });
  const head = response.then((message) => ({ status: message.statusCode ?? 0, headers: fieldsOf(message) }));
  const whole = response.then(
    (message) =>
      new Promise<WireAnswer>((resolve, reject) => {
        message.on("data", (chunk: Uint8Array) => chunks.push(chunk));
        message.once("error", reject);
        message.once("close", () => {
          if (!message.complete) {
            reject(new Error("the answer was cut off"));
            return;
          }
          const body = joined(chunks);
          const answer = { status: message.statusCode ?? 0, headers: fieldsOf(message), body };
          resolve({ ...answer, text: new TextDecoder().decode(body) });
        });
      }),
  );
  // Whoever does not wait for one of them does not mind its failure.
  head.catch(() => {});
  whole.catch(() => {});
  return {
    head,
    whole,
    received: () => new TextDecoder().decode(joined(chunks)),
    get hasHead() {
      return hasHead;
    },
    leave: () => void request.destroy(),
    write: (chunk) => void request.write(chunk),
  };
}

function fieldsOf({ rawHeaders }: IncomingMessage): HeaderList {
  const fields: (readonly [string, string])[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) fields.push([rawHeaders[at] ?? "", rawHeaders[at + 1] ?? ""]);
  return fields;
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const body = new Uint8Array(chunks.reduce((bytes, chunk) => bytes + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

/** The first value of a field of an answer. */
export function fieldOf(answer: { readonly headers: HeaderList }, name: string): string | undefined {
  return headerValue(answer.headers, name.toLowerCase());
}

/** All values of a field of an answer, in order. */
export function fieldsNamed(answer: { readonly headers: HeaderList }, name: string): readonly string[] {
  return headerValues(answer.headers, name.toLowerCase());
}
