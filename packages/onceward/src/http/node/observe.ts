// `mode: observe` on Node: the body is shown to whoever watches as it comes, and nothing of the request changes.

import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Observation } from "../layer.js";
import { responseHead } from "./head.js";

/** `maxBytes`: as far as the body would have been taken. `parsed`: what a framework has made of it, where it did. */
export function observe(
  request: IncomingMessage,
  response: ServerResponse,
  observation: Observation,
  { maxBytes, parsed }: { readonly maxBytes: number; readonly parsed: unknown },
): void {
  observeRequest(request, observation, maxBytes, parsed);
  response.once("finish", () => observation.responseEnd(responseHead(response)));
  response.once("close", () => observation.responseEnd(null));
}

function observeRequest(request: IncomingMessage, observation: Observation, maxBytes: number, parsed: unknown): void {
  if (request.readableDidRead || request.readableEnded) {
    const json = parsed === undefined ? undefined : JSON.stringify(parsed);
    if (json !== undefined) observation.requestChunk(Buffer.from(json));
    observation.requestEnd();
    return;
  }
  let bytes = 0;
  const show = (piece: unknown): void => {
    const chunk = typeof piece === "string" ? Buffer.from(piece) : (piece as Uint8Array);
    bytes += chunk.length;
    if (bytes <= maxBytes) observation.requestChunk(chunk);
  };
  const end = (): void => {
    if (bytes <= maxBytes) observation.requestEnd();
  };
  if (request.readableLength > 0) {
    const here: unknown = request.read();
    show(here);
    request.unshift(here);
  }
  if ((request as unknown as { _readableState: { ended: boolean } })._readableState.ended) {
    end();
    return;
  }
  const { push } = request;
  request.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null) end();
    else show(chunk);
    return push.call(request, chunk, encoding);
  };
}
