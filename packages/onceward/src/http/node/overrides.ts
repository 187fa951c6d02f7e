// The methods of a response that are replaced while it is held. They sit on the instance: Express changes prototypes.

import type { ServerResponse } from "node:http";
import type { IdempotencyClaim } from "../claim.js";

/** Carries the capture on its response. */
const CAPTURE: unique symbol = Symbol("onceward.capture");

type Loose = (this: unknown, ...values: unknown[]) => unknown;

/** What a response did before: Node's methods, or those of a middleware before this one. */
export interface Natural {
  readonly write: Loose;
  readonly end: Loose;
  readonly writeHead: Loose;
  readonly flushHeaders: Loose;
  readonly destroy: Loose;
}

/** Told what is done to the response. */
export interface Capturing {
  readonly natural: Natural;
  readonly claim: IdempotencyClaim<void>;
  /** Whether the response's own methods are to do it, since nothing is held any more. */
  readonly isOver: boolean;
  readonly begun: boolean;
  readonly ended: boolean;
  onWriteHead(status: unknown, reason: unknown, headers: unknown): void;
  onWrite(chunk: unknown, encoding: unknown, callback: unknown): boolean;
  onEnd(chunk: unknown, encoding: unknown, callback: unknown): void;
  onFlushHeaders(): void;
  onDestroy(error: unknown): void;
}

interface Overridden extends ServerResponse {
  [CAPTURE]: Capturing;
}

/** The state of a response of HTTP/1.1, which its getters, and middlewares such as compression, look at. */
export interface ResponseFields {
  _header: string | null;
  finished: boolean;
  statusMessage: string;
}

/** The capture of a response, where it is captured already. */
export function captureOf(response: ServerResponse): Capturing | undefined {
  return (response as Partial<Overridden>)[CAPTURE];
}

export function naturalOf(response: ServerResponse): Natural {
  const { write, end, writeHead, flushHeaders, destroy } = response as unknown as Natural;
  return { write, end, writeHead, flushHeaders, destroy };
}

/** The state of a response; null where it is not in fields of its own, as in HTTP/2. To be asked before it is overridden. */
export function fieldsOf(response: ServerResponse): ResponseFields | null {
  const isOwn = Object.hasOwn(response, "_header") && Object.hasOwn(response, "finished");
  return isOwn ? (response as unknown as ResponseFields) : null;
}

/** The same functions for every response, so that all of them have one shape. */
export function override(response: ServerResponse, capture: Capturing, fields: ResponseFields | null): void {
  const held = response as unknown as { [name: string | symbol]: unknown };
  held[CAPTURE] = capture;
  held["write"] = write;
  held["end"] = end;
  held["writeHead"] = writeHead;
  held["flushHeaders"] = flushHeaders;
  held["destroy"] = destroy;
  held["writeContinue"] = none;
  held["writeProcessing"] = none;
  held["writeEarlyHints"] = noHints;
  held["addTrailers"] = none;
  if (fields === null) Object.defineProperties(response, GETTERS);
}

/** Lets the response look as if its head had been sent, or all of it, or nothing. */
export function pretend(fields: ResponseFields | null, state: "fresh" | "begun" | "ended"): void {
  if (fields === null) return;
  fields._header = state === "fresh" ? null : "held until it is recorded";
  fields.finished = state === "ended";
}

function write(this: Overridden, chunk: unknown, encoding?: unknown, callback?: unknown): unknown {
  const capture = this[CAPTURE];
  if (capture.isOver) return capture.natural.write.call(this, chunk, encoding, callback);
  return capture.onWrite(chunk, encoding, callback);
}

function end(this: Overridden, chunk?: unknown, encoding?: unknown, callback?: unknown): unknown {
  const capture = this[CAPTURE];
  if (capture.isOver) return capture.natural.end.call(this, chunk, encoding, callback);
  capture.onEnd(chunk, encoding, callback);
  return this;
}

function writeHead(this: Overridden, status: unknown, reason?: unknown, headers?: unknown): unknown {
  const capture = this[CAPTURE];
  if (capture.isOver) return capture.natural.writeHead.call(this, status, reason, headers);
  capture.onWriteHead(status, reason, headers);
  return this;
}

function flushHeaders(this: Overridden): unknown {
  const capture = this[CAPTURE];
  return capture.isOver ? capture.natural.flushHeaders.call(this) : capture.onFlushHeaders();
}

function destroy(this: Overridden, error?: unknown): unknown {
  const capture = this[CAPTURE];
  if (capture.isOver) return capture.natural.destroy.call(this, error);
  capture.onDestroy(error);
  return this;
}

/** SPEC §5.7: responses to keyed requests carry no 1xx and no trailers. */
function none(): boolean {
  return true;
}

function noHints(_hints: unknown, callback?: () => void): boolean {
  if (typeof callback === "function") queueMicrotask(callback);
  return true;
}

type Getting = "headersSent" | "_header" | "writableEnded" | "finished";

/** Where Node asks the stream of HTTP/2, which knows nothing of what is held. */
function getter(name: Getting, held: (capture: Capturing) => unknown): PropertyDescriptor {
  return {
    configurable: true,
    get(this: Overridden): unknown {
      const capture = this[CAPTURE];
      return capture.isOver ? Reflect.get(Object.getPrototypeOf(this), name, this) : held(capture);
    },
  };
}

const GETTERS: PropertyDescriptorMap = {
  headersSent: getter("headersSent", (capture) => capture.begun),
  _header: getter("_header", (capture) => capture.begun),
  writableEnded: getter("writableEnded", (capture) => capture.ended),
  finished: getter("finished", (capture) => capture.ended),
  // Middlewares that know HTTP/1.1 call it; in HTTP/2 it would send.
  _implicitHeader: {
    configurable: true,
    value(this: Overridden): void {
      if (!this.headersSent) this.writeHead(this.statusCode);
    },
  },
};
