// One request to an upstream, as undici reports on it: whether a byte was sent, what came back, how it failed.

import type { Duplex } from "node:stream";
import type { HeaderList } from "onceward/http";
import { type Dispatcher, errors } from "undici";

/** How a request to an upstream failed. */
export interface UpstreamFailure {
  /** false only where not one byte of the request was sent (SPEC §4.5). */
  readonly sent: boolean;
  /** 504: it took too long; 503: the gateway is stopping; 502: everything else. */
  readonly status: 502 | 503 | 504;
  /** For people: what happened, without addresses or content. */
  readonly reason: string;
  readonly error: Error;
}

/** Who is told what the upstream answers. `false` pauses the upstream until {@link UpstreamCall.resume}. */
export interface AnswerSink {
  onInformation?(status: number, headers: HeaderList): void;
  onHead(call: UpstreamCall, status: number, headers: HeaderList): boolean;
  onChunk(chunk: Buffer): boolean;
  onEnd(trailers: HeaderList): void;
  onFailure(failure: UpstreamFailure): void;
  onUpgrade?(status: number, headers: HeaderList, socket: Duplex): void;
}

/** What an answer's head may take. */
export interface AnswerBounds {
  readonly maxHeaders: number;
  /** From the first 1xx to the answer proper. */
  readonly headersTimeoutMs: number;
}

/** The lane a call runs on: told when the connection is free again, and asked for another one. */
export interface CallHost {
  /** The call needs its connection no longer; `reusable` where the answer was complete. */
  released(call: UpstreamCall, reusable: boolean): void;
  /** Whether the connection broke, as against closed. */
  wasReset(call: UpstreamCall): boolean;
  /** Whether the connection that is about to be written to has been idle for too long (SPEC §4.9). */
  isStale(call: UpstreamCall): boolean;
  /** Sends the call again on a new connection; only where nothing of it was sent. */
  again(call: UpstreamCall): void;
}

const TIMEOUTS: ReadonlySet<string> = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT", "ETIMEDOUT"]);
const CONNECT_TIMEOUTS: ReadonlySet<string> = new Set(["UND_ERR_CONNECT_TIMEOUT", "ETIMEDOUT"]);
const STOPPING: ReadonlySet<string> = new Set(["UND_ERR_DESTROYED", "UND_ERR_CLOSED"]);
/** So many may come with a long upload, whatever time that takes. */
const FEW_1XX = 10;
const UNWRITABLE = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * The handler of one dispatched request. undici calls `onConnect` right before it writes the first byte, so a failure
 * without it means that nothing was sent; a failure after it counts as sent, even where the write may not have left.
 */
export class UpstreamCall implements Dispatcher.DispatchHandler {
  sink: AnswerSink;
  readonly options: Dispatcher.DispatchOptions;
  readonly #host: CallHost;
  readonly #bounds: AnswerBounds;
  /** When the first 1xx came, on the monotonic clock; how many there were. */
  #informedAt = 0;
  #informed = 0;
  #abort: ((error?: Error) => void) | null = null;
  #aborted: Error | null = null;
  #resume: (() => void) | null = null;
  #sent = false;
  #stale = false;
  #over = false;

  constructor(host: CallHost, options: Dispatcher.DispatchOptions, sink: AnswerSink, bounds: AnswerBounds) {
    this.#host = host;
    this.options = options;
    this.sink = sink;
    this.#bounds = bounds;
  }

  /** Whether its body can be sent once only. */
  get hasStreamBody(): boolean {
    const { body } = this.options;
    return body !== null && body !== undefined && !Buffer.isBuffer(body);
  }

  /** Lets the upstream go on after a `false` of the sink. */
  resume(): void {
    this.#resume?.();
  }

  /** Gives the request up; the sink is told through `onFailure`, unless the answer is complete. */
  abort(error: Error): void {
    if (this.#over) return;
    this.#aborted ??= error;
    this.#abort?.(error);
  }

  onConnect(abort: (error?: Error) => void): void {
    this.#abort = abort;
    if (this.#aborted !== null) {
      abort(this.#aborted);
    } else if (this.#host.isStale(this)) {
      this.#stale = true;
      abort(new errors.InformationalError("idle for too long"));
    } else {
      this.#sent = true;
    }
  }

  onHeaders(status: number, raw: Buffer[], resume: () => void): boolean {
    this.#resume = resume;
    const headers = readHeaders(raw, this.#bounds.maxHeaders);
    if (headers === null) {
      this.abort(new Error("its header fields are too many or malformed"));
      return false;
    }
    if (status < 200) {
      if (this.#isOverdue()) {
        this.abort(new errors.HeadersTimeoutError("it sent 1xx only"));
        return false;
      }
      this.sink.onInformation?.(status, headers);
      return true;
    }
    return this.sink.onHead(this, status, headers);
  }

  /** undici begins to wait anew with every 1xx; a key would be in progress for as long as they come (SPEC P5). */
  #isOverdue(): boolean {
    if (this.#informed === 0) this.#informedAt = performance.now();
    this.#informed += 1;
    return this.#informed > FEW_1XX && performance.now() - this.#informedAt > this.#bounds.headersTimeoutMs;
  }

  onData(chunk: Buffer): boolean {
    return this.sink.onChunk(chunk);
  }

  onComplete(raw: unknown): void {
    if (this.#host.wasReset(this)) {
      // An answer whose end is that of its connection: undici takes a reset for the end as well.
      this.onError(new errors.SocketError("the connection was reset in the middle of the answer"));
      return;
    }
    this.#finish(true);
    this.sink.onEnd((Array.isArray(raw) ? readHeaders(raw as Buffer[], this.#bounds.maxHeaders) : null) ?? []);
  }

  onUpgrade(status: number, raw: Buffer[] | string[] | null, socket: Duplex): void {
    this.#finish(false);
    const headers = readHeaders((raw ?? []) as Buffer[], this.#bounds.maxHeaders);
    if (headers === null || this.sink.onUpgrade === undefined) {
      socket.destroy();
      this.sink.onFailure({
        sent: true,
        status: 502,
        reason: "the upstream's upgrade is malformed",
        error: new Error("malformed"),
      });
    } else {
      this.sink.onUpgrade(status, headers, socket);
    }
  }

  onError(error: Error): void {
    if (this.#over) return;
    if (this.#stale && this.#aborted === null && !this.hasStreamBody) {
      this.#stale = false;
      this.#abort = null;
      this.#host.again(this);
      return;
    }
    this.#finish(false);
    this.sink.onFailure(describe(this.#aborted ?? error, this.#sent));
  }

  #finish(reusable: boolean): void {
    this.#over = true;
    this.#host.released(this, reusable);
  }
}

function describe(error: Error, sent: boolean): UpstreamFailure {
  const code = (error as { code?: unknown }).code;
  const name = typeof code === "string" ? code : "";
  if (sent) {
    const late = TIMEOUTS.has(name);
    return {
      sent,
      status: late ? 504 : 502,
      reason: late ? "it took too long" : "the connection broke or the answer was malformed",
      error,
    };
  }
  if (STOPPING.has(name)) return { sent, status: 503, reason: "the gateway is stopping", error };
  if (CONNECT_TIMEOUTS.has(name)) return { sent, status: 504, reason: "connecting took too long", error };
  return { sent, status: 502, reason: "it could not be connected to", error };
}

/** Header fields as byte strings, or null where there are too many or one could not be written again. */
function readHeaders(raw: readonly Buffer[], maxHeaders: number): [string, string][] | null {
  if (raw.length > maxHeaders * 2) return null;
  const headers: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]?.toString("latin1") ?? "";
    const value = raw[at + 1]?.toString("latin1") ?? "";
    if (name === "" || UNWRITABLE.test(value)) return null;
    headers.push([name, value]);
  }
  return headers;
}
