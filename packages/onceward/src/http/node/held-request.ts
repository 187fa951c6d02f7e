// A keyed request: its body is read whole before the claim (SPEC §5.5), and put back for whoever parses it.

import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { IdempotencyError } from "../../core/errors.js";
import { Budget } from "../budget.js";
import { HeldConnection, isCutOff } from "./connection.js";
import { HeldBody } from "./held-body.js";
import { Spool } from "./spool.js";

export interface BodyBounds {
  readonly maxBytes: number;
  readonly memory: Budget;
}

/** Where parsers leave what they made of a body: the request of Node or of the framework. */
export interface ParsedBody {
  readonly body?: unknown;
  /** What it was made of, where somebody kept that: bytes, or text. */
  readonly rawBody?: unknown;
}

/** The client went away in the middle of its upload: nothing is claimed, and nobody is left to answer. */
export class UploadBrokenOff extends Error {
  override readonly name = "UploadBrokenOff";
}

type Sink = (chunk: Uint8Array) => void;

/** SPEC §5.5. */
const IN_MEMORY_BYTES = 1_048_576;
/** For the spooled bodies of this process. */
const disk = new Budget(4 * 1_024 * 1_048_576);

/** What Node's streams keep in `_readableState`, as far as it is needed here. */
interface ReadableState {
  readonly ended: boolean;
  endEmitted: boolean;
  dataEmitted: boolean;
  readonly highWaterMark: number;
}

interface Internals {
  _readableState: ReadableState;
  _read: () => void;
  readonly stream?: { readonly endAfterHeaders?: boolean };
}

export class HeldRequest {
  readonly #request: IncomingMessage;
  readonly #bounds: BodyBounds;
  readonly #held: HeldBody;
  #spool: Spool | null = null;
  #bytes = 0;
  #isKept = false;
  #connection: HeldConnection | null = null;

  constructor(request: IncomingMessage, bounds: BodyBounds) {
    this.#request = request;
    this.#bounds = bounds;
    this.#held = new HeldBody(bounds.memory);
  }

  /**
   * Keeps the body in memory for {@link read}, before somebody parses it. One of more than `maxBytes` is left to whoever
   * does. Rejects with {@link UploadBrokenOff}.
   */
  async keep(maxBytes: number): Promise<void> {
    const request = this.#request;
    if (Number(request.headers["content-length"] ?? 0) > maxBytes || !declaresBody(request) || isRead(request)) return;
    this.#isKept = await this.#receive(
      () => undefined,
      (piece) => this.#bytes <= maxBytes && this.#held.add(piece, true),
      null,
    );
  }

  /**
   * Gives the body's bytes to `sink`, or answers what a parser that came before has made of them. From then on nobody is
   * told of the connection's end until {@link letGo}. Rejects with `request_too_large`, `upstream_unavailable` where there
   * is no room for it, or {@link UploadBrokenOff}.
   */
  async read(sink: Sink, made: ParsedBody): Promise<{ readonly parsed: unknown } | undefined> {
    const left = await this.#readBody(sink, made);
    if (isCutOff(this.#request)) throw brokenOff();
    this.#connection = new HeldConnection(this.#request);
    return left;
  }

  /** Where it was read. */
  get connection(): HeldConnection | null {
    return this.#connection;
  }

  /** Frees memory and disk, and tells everybody of the connection; after the answer. */
  letGo(): void {
    this.#connection?.release();
    this.#held.release();
    // Closing a file without a name loses nothing, whatever it answers.
    this.#spool?.close().catch(() => undefined);
    this.#spool = null;
  }

  async #readBody(sink: Sink, made: ParsedBody): Promise<{ readonly parsed: unknown } | undefined> {
    const request = this.#request;
    const { maxBytes } = this.#bounds;
    if (this.#isKept) {
      if (this.#bytes > maxBytes) throw tooLarge(maxBytes);
      sink(this.#held.bytes);
      return undefined;
    }
    if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
    if (!declaresBody(request)) return undefined;
    if (isRead(request)) return readParsed(made, sink);
    const take = (piece: Uint8Array): void => {
      if (this.#bytes > maxBytes) throw tooLarge(maxBytes);
      sink(piece);
    };
    const fits = (piece: Uint8Array): boolean =>
      this.#spool === null && this.#bytes <= IN_MEMORY_BYTES && this.#held.add(piece, true);
    await this.#receive(take, fits, (piece) => this.#file(piece));
    return undefined;
  }

  /**
   * Reads to the end, and puts back what was read. What does not fit is filed; without `file`, it is put back at once, and
   * the answer is false.
   */
  #receive(
    take: Sink,
    fits: (piece: Uint8Array) => boolean,
    file: ((piece: Uint8Array) => Promise<void>) | null,
  ): Promise<boolean> {
    const request = this.#request;
    return new Promise((resolve, reject) => {
      let filing = false;
      const settle = (whole: boolean, error?: unknown): void => {
        request.off("readable", onReadable).off("close", onBroken).off("aborted", onBroken).off("error", onBroken);
        if (error === undefined) resolve(whole);
        else reject(error);
      };
      const onBroken = (): void => settle(false, brokenOff());
      const goOn = (): void => {
        // To read from an empty stream would end it, before whoever parses it listens.
        while (request.readableLength > 0) {
          const piece = bytesOf(request.read(), request.readableEncoding);
          this.#bytes += piece.length;
          take(piece);
          if (fits(piece)) continue;
          if (file === null) {
            request.unshift(piece);
            this.#putBack();
            settle(false);
            return;
          }
          filing = true;
          file(piece).then(
            () => {
              filing = false;
              onReadable();
            },
            (error) => settle(false, error),
          );
          return;
        }
        if (!stateOf(request).ended) return;
        this.#putBack();
        settle(true);
      };
      const onReadable = (): void => {
        if (filing) return;
        try {
          goOn();
        } catch (error) {
          settle(false, error);
        }
      };
      if (stateOf(request).ended) onReadable();
      else if (request.destroyed) onBroken();
      else request.on("readable", onReadable).on("close", onBroken).on("aborted", onBroken).on("error", onBroken);
    });
  }

  async #file(piece: Uint8Array): Promise<void> {
    const state = stateOf(this.#request);
    // Or the stream would say that it ended, while the file is written.
    if (state.ended && this.#request.readableLength === 0) state.endEmitted = true;
    let written: boolean;
    try {
      this.#spool ??= await Spool.open(disk);
      written = (await this.#spool.write(this.#held.bytes)) && (await this.#spool.write(piece));
    } catch (cause) {
      throw noRoom(cause);
    }
    this.#held.release();
    if (!written) throw noRoom();
  }

  /** Makes the request as readable as it was; at once, before it says that it ended. */
  #putBack(): void {
    if (this.#spool !== null) readFrom(this.#request, this.#spool);
    else if (this.#held.length > 0) this.#request.unshift(this.#held.bytes);
    stateOf(this.#request).dataEmitted = false;
  }
}

function isRead(request: IncomingMessage): boolean {
  return request.readableDidRead || request.readableEnded;
}

/** Whether there is anything to read. */
function declaresBody(request: IncomingMessage): boolean {
  const { headers, httpVersionMajor } = request;
  if (httpVersionMajor >= 2) return (request as unknown as Internals).stream?.endAfterHeaders !== true;
  const length = headers["content-length"];
  return (length !== undefined && length !== "0") || headers["transfer-encoding"] !== undefined;
}

function readParsed({ rawBody, body }: ParsedBody, sink: Sink): { readonly parsed: unknown } | undefined {
  if (rawBody instanceof Uint8Array) sink(rawBody);
  else if (typeof rawBody === "string") sink(Buffer.from(rawBody));
  else if (body instanceof Uint8Array) sink(body);
  else if (body !== undefined && !(body instanceof Readable)) return { parsed: body };
  else {
    throw new Error(
      "The request's body was read before idempotency() came, and nothing of it is left to compare a retry with: " +
        "mount idempotency() before whatever reads it, or after a parser that sets `request.body`.",
    );
  }
  return undefined;
}

/** A stream that has ended cannot begin anew; with another state it can. */
function readFrom(request: IncomingMessage, spool: Spool): void {
  const { ReadableState } = Readable as unknown as {
    ReadableState: new (options: object, stream: unknown, isDuplex: boolean) => ReadableState;
  };
  const { highWaterMark } = stateOf(request);
  const internals = request as unknown as Internals;
  internals._readableState = new ReadableState({ highWaterMark }, request, false);
  let source: Readable | null = null;
  internals._read = () => {
    source ??= spool
      .read()
      .on("data", (chunk) => void (request.push(chunk) || source?.pause()))
      .on("end", () => request.push(null))
      .on("error", (error) => request.destroy(error));
    source.resume();
  };
}

function stateOf(request: IncomingMessage): ReadableState {
  return (request as unknown as Internals)._readableState;
}

function bytesOf(piece: unknown, encoding: BufferEncoding | null): Uint8Array {
  return typeof piece === "string" ? Buffer.from(piece, encoding ?? "utf8") : (piece as Uint8Array);
}

function brokenOff(): UploadBrokenOff {
  return new UploadBrokenOff("The client went away before its request had begun.");
}

function tooLarge(maxBytes: number): IdempotencyError {
  return new IdempotencyError(
    "request_too_large",
    `The body is larger than the ${maxBytes} bytes that are accepted with an idempotency key. Nothing was run.`,
  );
}

function noRoom(cause?: unknown): IdempotencyError {
  const message = "There is no room for the request's body now. Nothing was run; retry later, with the same key.";
  return new IdempotencyError("upstream_unavailable", message, cause === undefined ? undefined : { cause });
}
