// The body of a keyed request, read whole before the claim: in memory, or in a file beyond a bound (SPEC §5.5).

import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { IdempotencyError } from "onceward";
import { type Budget, Spool } from "onceward/http";
import { Pieces } from "./pieces.js";

export interface BodyBounds {
  readonly maxBytes: number;
  readonly spoolAboveBytes: number;
  /** So much from the start is held in memory by the fingerprint too, until the body is whole. */
  readonly gatheredBytes: number;
  /** For the whole body, in milliseconds. */
  readonly timeoutMs: number;
  readonly memory: Budget;
  readonly disk: Budget;
}

/** Why a body could not be read. */
export class BodyFault extends Error {
  override readonly name = "BodyFault";
  /** `broken-off`: nobody is left to answer. */
  readonly kind: "broken-off" | "too-slow" | "no-room";

  constructor(kind: "broken-off" | "too-slow" | "no-room", message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

type Sink = (chunk: Uint8Array) => void;

export class KeyedBody {
  readonly #request: IncomingMessage;
  readonly #bounds: BodyBounds;
  #chunks: Buffer[] = [];
  #spool: Spool | null = null;
  #bytes = 0;
  #memoryBytes = 0;
  #gatheredBytes = 0;
  #wasRead = false;
  /** Whether the rest goes to the file. */
  #spools = false;

  constructor(request: IncomingMessage, bounds: BodyBounds) {
    this.#request = request;
    this.#bounds = bounds;
  }

  /** Whether {@link read} was called: the request itself has no body left then. */
  get wasRead(): boolean {
    return this.#wasRead;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Rejects with `request_too_large`, or with a {@link BodyFault}. `onBegin` is called before the first byte is waited
   * for: the moment for `100 Continue`.
   */
  async read(sink: Sink, onBegin: () => void): Promise<undefined> {
    this.#wasRead = true;
    const declared = this.#request.headers["content-length"];
    if (declared !== undefined && Number(declared) > this.#bounds.maxBytes) throw tooLarge(this.#bounds.maxBytes);
    onBegin();
    if (declared === "0" || (declared === undefined && this.#request.headers["transfer-encoding"] === undefined))
      return;
    await this.#receive(sink);
  }

  /** For the upstream; null where it is empty. A file is read anew by every call. */
  content(): Buffer | Readable | null {
    if (this.#spool !== null) return this.#spool.read();
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? null;
  }

  /** Frees memory and disk. */
  dispose(): void {
    this.#chunks = [];
    this.#bounds.memory.give(this.#memoryBytes);
    this.#memoryBytes = 0;
    const spool = this.#spool;
    this.#spool = null;
    // Closing a file without a name loses nothing, whatever it answers.
    spool?.close().catch(() => undefined);
  }

  /** Takes what comes; the request waits while a piece goes to the file. */
  #receive(sink: Sink): Promise<void> {
    const request = this.#request;
    return new Promise((resolve, reject) => {
      let filing: Promise<void> = Promise.resolve();
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        this.#forget();
        request.off("data", onData).off("end", onEnd).off("close", onClose).off("error", onClose);
        // What still comes is nobody's; whoever answers decides how much of it is waited for.
        request.on("error", ignore);
        filing.then(() => (error === undefined ? resolve() : reject(error)), reject);
      };
      const pieces = new Pieces((piece) => {
        sink(piece);
        if (this.#keep(piece)) return;
        if (!this.#gather(piece)) {
          settle(new BodyFault("no-room", "the memory for bodies is used up"));
          return;
        }
        this.#spools = true;
        request.pause();
        filing = filing.then(() => this.#file(piece)).then(() => void request.resume());
        filing.catch(settle);
      });
      const onData = (chunk: Buffer): void => {
        this.#bytes += chunk.length;
        if (this.#bytes > this.#bounds.maxBytes) settle(tooLarge(this.#bounds.maxBytes));
        else pieces.add(chunk);
      };
      const onEnd = (): void => {
        pieces.flush();
        settle();
      };
      const onClose = (): void => settle(new BodyFault("broken-off", "the upload broke off"));
      const onTimeout = (): void => {
        settle(new BodyFault("too-slow", `the body did not arrive within ${this.#bounds.timeoutMs} ms`));
      };
      const timer = setTimeout(onTimeout, this.#bounds.timeoutMs);
      request.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onClose);
    });
  }

  #keep(chunk: Buffer): boolean {
    if (this.#spools || this.#bytes > this.#bounds.spoolAboveBytes || !this.#bounds.memory.tryTake(chunk.length))
      return false;
    this.#memoryBytes += chunk.length;
    this.#chunks.push(chunk);
    return true;
  }

  /** Counts what goes to the file and stays in memory as well; false where there is no room for it. */
  #gather(piece: Buffer): boolean {
    const { gatheredBytes, memory } = this.#bounds;
    if (this.#bytes > gatheredBytes) {
      this.#forget();
      return true;
    }
    // What was kept until now leaves the memory when it is in the file, but for the fingerprint.
    const bytes = piece.length + (this.#spools ? 0 : this.#memoryBytes);
    if (!memory.tryTake(bytes)) return false;
    this.#gatheredBytes += bytes;
    return true;
  }

  #forget(): void {
    this.#bounds.memory.give(this.#gatheredBytes);
    this.#gatheredBytes = 0;
  }

  /** Moves what is in memory to the file, before what follows it. */
  async #file(chunk: Buffer): Promise<void> {
    try {
      this.#spool ??= await Spool.open(this.#bounds.disk);
      for (const piece of [...this.#chunks.splice(0), chunk]) {
        if (!(await this.#spool.write(piece))) throw new BodyFault("no-room", "the room for spooled bodies is used up");
      }
    } catch (error) {
      throw error instanceof BodyFault ? error : new BodyFault("no-room", "a body could not be spooled", error);
    }
    this.#bounds.memory.give(this.#memoryBytes);
    this.#memoryBytes = 0;
  }
}

function ignore(): void {}

function tooLarge(maxBytes: number): IdempotencyError {
  return new IdempotencyError(
    "request_too_large",
    `The body is larger than the ${maxBytes} bytes that are accepted with an idempotency key. Nothing was run.`,
  );
}
