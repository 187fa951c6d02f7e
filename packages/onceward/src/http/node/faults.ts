// What Node says where a response is used wrongly, said of a held one too.

import type { ServerResponse } from "node:http";
import { nextTick } from "node:process";

/** As Node calls back after a write, and after an end. */
export type Callback = (error?: Error | null) => void;

export function headersSent(): Error {
  return coded(new Error("Cannot write headers after they are sent to the client"), "ERR_HTTP_HEADERS_SENT");
}

export function invalidStatus(status: unknown): Error {
  return coded(new RangeError(`Invalid status code: ${String(status)}`), "ERR_HTTP_INVALID_STATUS_CODE");
}

export function invalidChunk(chunk: unknown): Error {
  if (chunk === null) return coded(new TypeError("May not write null values to stream"), "ERR_STREAM_NULL_VALUES");
  const message = `The "chunk" argument must be of type string or an instance of Buffer or Uint8Array. Received ${typeof chunk}`;
  return coded(new TypeError(message), "ERR_INVALID_ARG_TYPE");
}

/** Told later, as Node does; it ends the process only where Node would. */
export function writeAfterEnd(response: ServerResponse, callback: Callback | undefined): void {
  const error = coded(new Error("write after end"), "ERR_STREAM_WRITE_AFTER_END");
  nextTick(() => {
    callback?.(error);
    if (!response.destroyed) response.emit("error", error);
  });
}

function coded(error: Error, code: string): Error {
  return Object.assign(error, { code });
}
