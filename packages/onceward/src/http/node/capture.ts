// A response of Node's that is held until its answer is recorded (SPEC §4.4); its handler and framework do not notice.

import { Buffer } from "node:buffer";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { nextTick } from "node:process";
import type { Policy } from "../../core/policy.js";
import type { Budget } from "../budget.js";
import type { IdempotencyClaim, OwnedRequest } from "../claim.js";
import type { ResponseHead } from "../layer.js";
import { type HttpResponse, headerValue } from "../message.js";
import { type Callback, headersSent, invalidChunk, invalidStatus, writeAfterEnd } from "./faults.js";
import { isOfCors, replaceHeaders, responseHead, setHeadersOf } from "./head.js";
import { HeldBody } from "./held-body.js";
import {
  type Capturing,
  hasOwnFields,
  type Natural,
  naturalOf,
  override,
  pretend,
  setClosed,
  setSocket,
} from "./overrides.js";
import { SocketStandIn } from "./socket-stand-in.js";

/** The claim that a captured answer ends. */
export type CaptureOwner = Pick<OwnedRequest<void>, "claim" | "finish" | "finishUnkept" | "unknown" | "flag">;

export interface CaptureSettings {
  readonly policy: Pick<Policy, "maxBodyBytes" | "streamingTypes" | "leaseMs">;
  readonly owner: CaptureOwner;
  readonly memory: Budget;
  /** Called once, when the response is over: sent, or given up. */
  readonly onOver: () => void;
}

/**
 * `held`: the answer is gathered. `ending`: the claim is being ended, with the answer whole or open. `open`: the answer
 * is passed on as it comes. `replaced`: another one was sent instead of an open one, whose rest goes nowhere. `over`:
 * all is Node's again.
 */
type Phase = "held" | "ending" | "open" | "replaced" | "over";

export class Capture implements Capturing {
  readonly natural: Natural;
  readonly #response: ServerResponse;
  readonly #settings: CaptureSettings;
  readonly #body: HeldBody;
  readonly #standIn: SocketStandIn | null;
  #phase: Phase = "held";
  #head: ResponseHead | null = null;
  #streams = false;
  #ended = false;
  /** What came after the answer had turned out to be an open one, until it is passed on. */
  #rest: Uint8Array[] = [];
  #owesDrain = false;
  /** The client's connection is closed. */
  #gone = false;
  #givingUp: NodeJS.Timeout | undefined;
  #isReleased = false;

  constructor(response: ServerResponse, settings: CaptureSettings) {
    this.#response = response;
    this.#settings = settings;
    this.#body = new HeldBody(settings.memory);
    this.natural = naturalOf(response);
    const { socket } = response;
    // A pipelined request has none until the answers before it are sent.
    this.#standIn = socket ? new SocketStandIn(socket, () => this.#takenOver()) : null;
    if (this.#standIn !== null) setSocket(response, this.#standIn.proxy);
    override(response, this);
    // Node will not say it again.
    if (response.destroyed || socket?.destroyed === true) this.#onClose();
  }

  get claim(): IdempotencyClaim<void> {
    return this.#settings.owner.claim;
  }

  get isOver(): boolean {
    return this.#phase === "over";
  }

  get begun(): boolean {
    return this.#head !== null;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get socket(): Socket | null {
    return this.#standIn?.proxy ?? null;
  }

  /** Sends what is the answer whatever the handler says: a transaction's, which is recorded already. */
  answer(response: HttpResponse): void {
    if (this.#phase !== "held" && this.#phase !== "ending") return;
    this.#phase = "over";
    try {
      this.#send(response, true);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The handler is gone without an answer; resolves when its client was told so. */
  async abandon(detail: string): Promise<void> {
    if (this.#phase === "held" && !this.#ended) await this.#conclude(this.#settings.owner.unknown(detail));
  }

  onWriteHead(status: unknown, reason: unknown, headers: unknown): void {
    if (this.begun) throw headersSent();
    const response = this.#response;
    const code = Number(status) | 0;
    if (code < 100 || code > 999) throw invalidStatus(status);
    if (typeof reason === "string" && hasOwnFields(response)) response.statusMessage = reason;
    setHeadersOf(response, typeof reason === "string" ? headers : (headers ?? reason));
    response.statusCode = code;
    this.#head = responseHead(response);
    pretend(response, "begun");
    const { maxBodyBytes, streamingTypes } = this.#settings.policy;
    this.#streams = streamingTypes.has(mediaType(this.#head));
    if (this.#streams || Number(headerValue(this.#head.headers, "content-length") ?? 0) > maxBodyBytes)
      void this.#open();
  }

  onWrite(chunk: unknown, encoding: unknown, callback: unknown): boolean {
    if (this.#phase === "open" && !this.#gone) {
      return this.natural.write.call(this.#response, chunk, encoding, callback) === true;
    }
    const piece = bytesOf(chunk, encoding);
    const called = callbackOf(encoding, callback);
    if (this.#ended) {
      writeAfterEnd(this.#response, called);
      return false;
    }
    if (!this.begun) this.#response.writeHead(this.#response.statusCode);
    if (called !== undefined) nextTick(called, null);
    return this.#take(piece, false);
  }

  onEnd(chunk: unknown, encoding: unknown, callback: unknown): void {
    const response = this.#response;
    if (this.#phase === "open" && !this.#gone) {
      this.#ended = true;
      this.#phase = "over";
      this.natural.end.call(response, chunk, encoding, callback);
      return;
    }
    const called = typeof chunk === "function" ? (chunk as Callback) : callbackOf(encoding, callback);
    const last = typeof chunk === "function" || !chunk ? null : bytesOf(chunk, encoding);
    if (this.#ended) {
      if (last !== null) writeAfterEnd(response, called);
      else if (called !== undefined) response.once("finish", called);
      return;
    }
    if (!this.begun) response.writeHead(response.statusCode);
    if (called !== undefined) response.once("finish", called);
    if (last !== null) this.#take(last, true);
    this.#ended = true;
    clearTimeout(this.#givingUp);
    if (this.#phase === "held" || this.#phase === "ending") pretend(response, "ended");
    if (this.#phase === "held") this.#finish();
    else if (this.#phase === "open") this.#leave();
  }

  onFlushHeaders(): void {
    if (!this.begun) this.#response.writeHead(this.#response.statusCode);
  }

  onDestroy(error: unknown): void {
    // What is ended is on its way: the record says so, and its client may have it.
    if (this.#ended) return;
    if (this.#phase === "held") void this.abandon("The answer of the operation was broken off.");
    else if (this.#phase === "ending" || this.#phase === "open") this.#break(error);
  }

  onEvent(event: unknown): boolean {
    // In HTTP/2 a stream that is reset has finished too.
    if (event !== "close" && !(event === "finish" && !hasOwnFields(this.#response))) return false;
    if (this.#phase === "over" || this.#phase === "replaced") {
      if (event === "close") this.#over();
      return false;
    }
    return event === "finish" || this.#onClose();
  }

  /** Answers whether more is welcome at once. */
  #take(piece: Uint8Array, isLast: boolean): boolean {
    if (this.#phase === "replaced" || this.#phase === "open" || !hasBody(this.#head)) return true;
    if (this.#phase === "held") {
      const fits = this.#body.length + piece.length <= this.#settings.policy.maxBodyBytes;
      if (fits && this.#body.add(piece, isLast)) return true;
      void this.#open();
    }
    this.#rest.push(isLast ? piece : piece.slice());
    this.#owesDrain = true;
    return false;
  }

  #finish(): void {
    const head = this.#head ?? responseHead(this.#response);
    const body = this.#body.bytes;
    void this.#conclude(this.#settings.owner.finish({ status: head.status, headers: head.headers, body }), body);
  }

  /** Sends what the claim's end says. Where that is not the handler's `own` answer, it is one of Onceward's. */
  async #conclude(ending: Promise<HttpResponse>, own?: Uint8Array): Promise<void> {
    this.#phase = "ending";
    try {
      const response = await ending;
      if (this.#phase !== "ending") return;
      this.#phase = "over";
      this.#send(response, own !== undefined && (response.body === own || response.body.length === 0));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** SPEC §5.4: the answer is not kept. The record says so before the client gets its first byte. */
  async #open(): Promise<void> {
    this.#phase = "ending";
    const head = this.#head ?? responseHead(this.#response);
    try {
      const result = await this.#settings.owner.finishUnkept(head);
      if (this.#phase !== "ending") return;
      if (result.kind === "stream") {
        this.#phase = "open";
        this.#pass(result.head, headerValue(head.headers, "content-length"));
      } else {
        this.#phase = "replaced";
        this.#send(result.response, false);
        this.#drain();
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #pass(head: ResponseHead, length: string | undefined): void {
    const { natural } = this;
    const response = this.#response;
    const pieces = [this.#body.bytes, ...this.#rest].filter((piece) => piece.length > 0);
    this.#rest = [];
    if (this.#gone) {
      if (this.#ended || this.#streams) this.#leave();
      else this.#drain();
      return;
    }
    this.#restore();
    const headers = length === undefined ? head.headers : [...head.headers, ["Content-Length", length] as const];
    replaceHeaders(response, headers, () => false);
    natural.writeHead.call(response, head.status);
    let flows = true;
    for (const piece of pieces) flows = natural.write.call(response, piece) === true;
    if (pieces.length === 0) natural.flushHeaders.call(response);
    if (this.#ended) {
      this.#phase = "over";
      natural.end.call(response);
    } else if (flows) this.#drain();
  }

  /** Sends a whole answer; nothing where nobody is left to get it. */
  #send(answer: HttpResponse, own: boolean): void {
    if (this.#gone) {
      this.#leave();
      return;
    }
    const response = this.#response;
    this.#restore();
    replaceHeaders(response, answer.headers, own ? () => false : isOfCors);
    this.natural.writeHead.call(response, answer.status);
    if (answer.body.length === 0) this.natural.end.call(response);
    else this.natural.end.call(response, answer.body);
  }

  /** Lets those who waited for room go on. */
  #drain(): void {
    if (!this.#owesDrain) return;
    this.#owesDrain = false;
    this.natural.emit.call(this.#response, "drain");
  }

  /** Answers whether nobody is to know yet: the operation finishes without its client too (SPEC §4.7). */
  #onClose(): boolean {
    const byClient = this.#isClosedByClient();
    const { owner, policy } = this.#settings;
    if (byClient) owner.flag("CLIENT_GONE");
    if (this.#phase === "open" && (this.#streams || !byClient)) {
      if (!byClient) owner.flag("TRUNCATED");
      this.#phase = "over";
      this.#over();
      return false;
    }
    this.#gone = true;
    setClosed(this.#response, false);
    if (this.#phase === "open") this.#drain();
    if (byClient || this.#ended || this.#phase !== "held") return true;
    const abandon = (): void => void this.abandon("The connection was closed here before the operation had answered.");
    // Whoever closes it in the middle of an answer gave that answer up, as Express does with an error that comes late.
    if (this.begun) abandon();
    else this.#givingUp = setTimeout(abandon, policy.leaseMs).unref();
    return true;
  }

  /** Or here, on this side. HTTP/2 does not tell. */
  #isClosedByClient(): boolean {
    const socket = this.#standIn?.socket;
    if (socket === undefined || !hasOwnFields(this.#response)) return true;
    return socket.readableEnded || socket.errored !== null;
  }

  /** The end of a response whose client is gone. */
  #leave(): void {
    this.#phase = "over";
    this.#restore();
    setClosed(this.#response, true);
    this.natural.emit.call(this.#response, "close");
    this.#over();
  }

  #break(error: unknown): void {
    this.#settings.owner.flag("TRUNCATED");
    this.#phase = "over";
    this.#restore();
    this.natural.destroy.call(this.#response, error);
  }

  /** Somebody writes to the socket himself, or closes it: whatever the client gets, it is nothing that is recorded. */
  #takenOver(): void {
    if (this.#phase !== "held" || this.#ended) return;
    this.#phase = "over";
    this.#restore();
    const detail = "The operation wrote to the connection itself, so its answer is not known.";
    this.#settings.owner.unknown(detail).catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    console.error("onceward: an answer could not be recorded or sent:", error);
    this.#phase = "over";
    this.#restore();
    this.natural.destroy.call(this.#response);
  }

  /** Gives Node its response back as it was before anything was answered. */
  #restore(): void {
    const response = this.#response;
    if (hasOwnFields(response)) {
      pretend(response, "fresh");
      // A replay has the usual words, so the first answer has them too.
      response.statusMessage = "";
    }
    if (this.#standIn === null) return;
    if (response.socket === this.#standIn.proxy) setSocket(response, this.#standIn.socket);
    this.#standIn.release();
  }

  #over(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#body.release();
    this.#settings.onOver();
  }
}

function bytesOf(chunk: unknown, encoding: unknown): Uint8Array {
  if (typeof chunk === "string") {
    return Buffer.from(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8");
  }
  if (chunk instanceof Uint8Array) return chunk;
  throw invalidChunk(chunk);
}

function callbackOf(encoding: unknown, callback: unknown): Callback | undefined {
  if (typeof encoding === "function") return encoding as Callback;
  return typeof callback === "function" ? (callback as Callback) : undefined;
}

function mediaType(head: ResponseHead): string {
  const value = headerValue(head.headers, "content-type") ?? "";
  const end = value.indexOf(";");
  return (end < 0 ? value : value.slice(0, end)).trim().toLowerCase();
}

/** RFC 9110 §15.3.5, §15.4.5: what is written to such an answer goes nowhere. */
function hasBody(head: ResponseHead | null): boolean {
  return head === null || (head.status !== 204 && head.status !== 304);
}
