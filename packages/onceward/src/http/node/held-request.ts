// A keyed request: its body is read whole before the claim (SPEC §5.5), and put back for whoever parses it.

import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { IdempotencyError } from "../../core/errors.js";
import { Budget } from "../budget.js";
import { HeldConnection, isCutOff } from "./connection.js";
import { HeldBody } from "./held-body.js";
import { hasWhole, intercept, type Taking, takeOut, UploadBrokenOff } from "./intercept.js";
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

type Sink = (chunk: Uint8Array) => void;

/** SPEC §5.5. */
const IN_MEMORY_BYTES = 1_048_576;
/** For the spooled bodies of this process. */
const disk = new Budget(4 * 1_024 * 1_048_576);

export class HeldRequest {
  readonly #request: IncomingMessage;
  readonly #bounds: BodyBounds;
  readonly #held: HeldBody;
  #spool: Spool | null = null;
  #filing: Promise<void> | null = null;
  #bytes = 0;
  #isKept = false;
  #fault: unknown = null;
  #connection: HeldConnection | null = null;

  constructor(request: IncomingMessage, bounds: BodyBounds) {
    this.#request = request;
    this.#bounds = bounds;
    this.#held = new HeldBody(bounds.memory);
  }

  /**
   * Keeps the body for {@link read}, before somebody parses it; one of more than `maxBytes`, or of what is held in memory,
   * is left to whoever does. Answers whether he may: else {@link read} will refuse.
   */
  async keep(maxBytes: number): Promise<boolean> {
    const request = this.#request;
    const limitBytes = Math.min(maxBytes, IN_MEMORY_BYTES);
    const length = Number(request.headers["content-length"] ?? 0);
    if (length > limitBytes || !declaresBody(request) || isRead(request)) return true;
    this.#isKept = true;
    const leave = (piece: Uint8Array, push: (piece: Uint8Array) => boolean): Taking => {
      if (this.#bytes <= limitBytes && this.#held.add(piece, true)) return undefined;
      this.#isKept = false;
      push(this.#held.bytes);
      push(piece);
      this.#held.release();
      this.#bytes = 0;
      return false;
    };
    try {
      await this.#receive(() => undefined, leave);
      return true;
    } catch (error) {
      this.#fault = error;
      return error instanceof UploadBrokenOff;
    }
  }

  /**
   * Gives the body's bytes to `sink`, or answers what a parser that came before has made of them. From then on nobody is
   * told of the connection's end until {@link letGo}. Rejects with `request_too_large`, `upstream_unavailable` where there
   * is no room for it, or {@link UploadBrokenOff}.
   */
  async read(sink: Sink, made: ParsedBody): Promise<{ readonly parsed: unknown } | undefined> {
    const left = await this.#readBody(sink, made);
    if (isCutOff(this.#request)) throw new UploadBrokenOff();
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
    if (this.#fault !== null) throw this.#fault;
    if (this.#isKept) {
      if (this.#spool === null) sink(this.#held.bytes);
      else for await (const piece of this.#spool.read()) sink(piece);
      return undefined;
    }
    if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
    if (!declaresBody(request)) return undefined;
    if (isRead(request)) return readParsed(made, sink);
    await this.#receive(sink, (piece) => this.#keepPiece(piece));
    return undefined;
  }

  /** Reads to the end, and puts back what was read. */
  async #receive(sink: Sink, keep: (piece: Uint8Array, push: (piece: Uint8Array) => boolean) => Taking): Promise<void> {
    const request = this.#request;
    const { maxBytes } = this.#bounds;
    const here = takeOut(request);
    if (hasWhole(request)) {
      if (here === null) return;
      // At once it must be there again, or the stream would say that it ended. It is in memory already.
      request.unshift(here);
      if (here.length > maxBytes) throw tooLarge(maxBytes);
      sink(here);
      if (!this.#held.add(here, true)) throw noRoom();
      return;
    }
    let isLeft = false;
    await intercept(request, here, (piece, push) => {
      this.#bytes += piece.length;
      if (this.#bytes > maxBytes) throw tooLarge(maxBytes);
      sink(piece);
      const taking = keep(piece, push);
      isLeft = taking === false;
      return taking;
    });
    if (!isLeft) this.#putBack();
  }

  /** In memory, or behind what is in the file already. */
  #keepPiece(piece: Uint8Array): Promise<void> | undefined {
    const fits = this.#filing === null && this.#bytes <= IN_MEMORY_BYTES && this.#held.add(piece, true);
    if (fits) return undefined;
    this.#filing = (this.#filing ?? Promise.resolve()).then(() => this.#file(piece));
    return this.#filing;
  }

  async #file(piece: Uint8Array): Promise<void> {
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

  /** Makes the request as readable as it was. */
  #putBack(): void {
    const request = this.#request;
    const spool = this.#spool;
    if (spool === null) {
      if (this.#held.length > 0) request.push(this.#held.bytes);
      request.push(null);
      return;
    }
    let source: Readable | null = null;
    request._read = () => {
      source ??= spool
        .read()
        .on("data", (chunk) => void (request.push(chunk) || source?.pause()))
        .on("end", () => request.push(null))
        .on("error", (error) => request.destroy(error));
      source.resume();
    };
    // The stream believes that it reads, since it was asked to before.
    request._read(0);
  }
}

function isRead(request: IncomingMessage): boolean {
  return request.readableDidRead || request.readableEnded;
}

/** Whether there is anything to read. */
function declaresBody(request: IncomingMessage): boolean {
  const { headers, httpVersionMajor } = request;
  if (httpVersionMajor >= 2)
    return (request as { readonly stream?: { readonly endAfterHeaders?: boolean } }).stream?.endAfterHeaders !== true;
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
