// A response of Node's that is held until its answer is recorded (SPEC §4.4); its handler and framework do not notice.

import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { nextTick } from "node:process";
import type { Policy } from "../../core/policy.js";
import type { Budget } from "../budget.js";
import type { IdempotencyClaim, OwnedRequest } from "../claim.js";
import type { ResponseHead } from "../layer.js";
import { mediaType } from "../media-type.js";
import { type HttpResponse, headerValue } from "../message.js";
import { HeldConnection } from "./connection.js";
import { type Callback, headersSent, invalidChunk, invalidStatus, writeAfterEnd } from "./faults.js";
import { isOfCors, replaceHeaders, responseHead, setHeadersOf } from "./head.js";
import { HeldBody } from "./held-body.js";
import type { HeldRequest } from "./held-request.js";
import {
  type Capturing,
  fieldsOf,
  type Natural,
  naturalOf,
  override,
  pretend,
  type ResponseFields,
} from "./overrides.js";
import { SocketStandIn } from "./socket-stand-in.js";

/** The claim that a captured answer ends. */
export type CaptureOwner = Pick<OwnedRequest<void>, "claim" | "finish" | "finishUnkept" | "unknown" | "flag">;

export interface CaptureSettings {
  readonly policy: Pick<Policy, "maxBodyBytes" | "streamingTypes" | "leaseMs">;
  readonly owner: CaptureOwner;
  readonly memory: Budget;
  /** Let go when the answer is over: sent, or given up. */
  readonly held: HeldRequest;
}

/**
 * `held`: the answer is gathered. `ending`: it is being recorded, or given up. `opening`: that it is not kept is being
 * recorded; `open`: it is passed on as it comes. `replaced`: another one was sent instead, and its rest goes nowhere.
 * `over`: all is Node's again.
 */
type Phase = "held" | "ending" | "opening" | "open" | "replaced" | "over";

/** How long a stream goes on without anybody who listens. */
const ALONE_MS = 30_000;

export class Capture implements Capturing {
  readonly natural: Natural;
  readonly #response: ServerResponse;
  readonly #settings: CaptureSettings;
  readonly #fields: ResponseFields | null;
  readonly #body: HeldBody;
  readonly #connection: HeldConnection;
  readonly #standIn: SocketStandIn;
  readonly #unmask: () => void;
  #phase: Phase = "held";
  #head: ResponseHead | null = null;
  #streams = false;
  #ended = false;
  /** What came after the answer had turned out to be an open one, until it is passed on. */
  #rest: Uint8Array[] = [];
  #owesDrain = false;
  #givingUp: NodeJS.Timeout | undefined;
  #isNatural = false;
  #isOver = false;

  constructor(request: IncomingMessage, response: ServerResponse, settings: CaptureSettings) {
    this.#response = response;
    this.#settings = settings;
    this.#body = new HeldBody(settings.memory);
    this.natural = naturalOf(response);
    this.#fields = fieldsOf(response);
    override(response, this, this.#fields);
    this.#standIn = new SocketStandIn(request.socket, () => this.#takenOver());
    this.#unmask = this.#standIn.show(request, response);
    this.#connection = settings.held.connection ?? new HeldConnection(request);
    this.#connection.onClosed = () => this.#onClosed();
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

  /** Sends what is the answer whatever the handler says: a transaction's, which is recorded already. */
  answer(response: HttpResponse): void {
    if (this.#phase !== "held" && this.#phase !== "ending" && this.#phase !== "opening") return;
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
    if (typeof reason === "string" && this.#fields !== null) this.#fields.statusMessage = reason;
    setHeadersOf(response, typeof reason === "string" ? headers : (headers ?? reason));
    response.statusCode = code;
    this.#head = responseHead(response);
    pretend(this.#fields, "begun");
    const { maxBodyBytes, streamingTypes } = this.#settings.policy;
    this.#streams = streamingTypes.has(mediaType(headerValue(this.#head.headers, "content-type")));
    if (this.#streams || Number(headerValue(this.#head.headers, "content-length") ?? 0) > maxBodyBytes) {
      void this.#open(this.#head);
    }
  }

  onWrite(chunk: unknown, encoding: unknown, callback: unknown): boolean {
    if (this.#phase === "open" && !this.#isGone) {
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
    if (this.#phase === "open" && !this.#isGone) {
      this.#ended = true;
      this.#leave(() => this.natural.end.call(response, chunk, encoding, callback));
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
    if (!this.#isNatural) pretend(this.#fields, "ended");
    if (this.#phase === "held") this.#finish();
    else if (this.#phase === "open") this.#leave(() => {});
  }

  onFlushHeaders(): void {
    if (!this.begun) this.#response.writeHead(this.#response.statusCode);
  }

  onDestroy(error: unknown): void {
    // What is ended is on its way: the record says so, and its client may have it.
    if (this.#ended) return;
    if (this.#phase === "held") void this.abandon("The answer of the operation was broken off.");
    else if (this.#phase === "opening" || this.#phase === "open") this.#break(error);
  }

  get #isGone(): boolean {
    return this.#connection.isClosed;
  }

  /** Answers whether more is welcome at once. */
  #take(piece: Uint8Array, isLast: boolean): boolean {
    if ((this.#phase !== "held" && this.#phase !== "opening") || !hasBody(this.#head)) return true;
    if (this.#phase === "held") {
      const fits = this.#body.length + piece.length <= this.#settings.policy.maxBodyBytes;
      if (fits && this.#body.add(piece, isLast)) return true;
      void this.#open(this.#head ?? responseHead(this.#response));
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
  async #open(head: ResponseHead): Promise<void> {
    this.#phase = "opening";
    try {
      const result = await this.#settings.owner.finishUnkept(head);
      if (this.#phase !== "opening") return;
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
    if (this.#isGone) {
      if (this.#ended) this.#leave(() => {});
      else if (this.#connection.isClosedByClient) this.#goOnAlone();
      else this.#break(undefined);
      return;
    }
    this.#restore();
    const headers = length === undefined ? head.headers : [...head.headers, ["Content-Length", length] as const];
    replaceHeaders(response, headers, () => false);
    natural.writeHead.call(response, head.status);
    let flows = true;
    for (const piece of pieces) flows = natural.write.call(response, piece) === true;
    if (pieces.length === 0) natural.flushHeaders.call(response);
    if (this.#ended) this.#leave(() => natural.end.call(response));
    else if (flows) this.#drain();
  }

  /** Sends a whole answer; nothing where nobody is left to get it. */
  #send({ status, headers, body }: HttpResponse, own: boolean): void {
    const response = this.#response;
    this.#restore();
    if (!this.#isGone) {
      replaceHeaders(response, headers, own ? () => false : isOfCors);
      this.natural.writeHead.call(response, status);
      if (body.length === 0) this.natural.end.call(response);
      else this.natural.end.call(response, body);
      this.#standIn.closeBehind();
    }
    this.#release();
  }

  /** Lets those who waited for room go on. */
  #drain(): void {
    if (!this.#owesDrain) return;
    this.#owesDrain = false;
    this.#response.emit("drain");
  }

  /** The operation finishes without its client too (SPEC §4.7); but what is closed here was given up here. */
  #onClosed(): void {
    const { owner, policy } = this.#settings;
    if (this.#connection.isClosedByClient) {
      owner.flag("CLIENT_GONE");
      if (this.#phase === "open") this.#goOnAlone();
    } else if (this.#phase === "open") {
      this.#break(undefined);
    } else if (this.#phase === "held" && !this.#ended) {
      const abandon = (): void =>
        void this.abandon("The connection was closed here before the operation had answered.");
      // In the middle of an answer nobody will come back to it; before, its handler may be at work still.
      if (this.begun) abandon();
      else this.#givingUp = setTimeout(abandon, policy.leaseMs).unref();
    }
  }

  /**
   * The rest of an open answer goes nowhere. A stream may have no end: after a while its handler is told that nobody
   * listens.
   */
  #goOnAlone(): void {
    if (this.#streams) this.#givingUp = setTimeout(() => this.#break(undefined), ALONE_MS).unref();
    this.#owesDrain = true;
    this.#drain();
  }

  #break(error: unknown): void {
    this.#settings.owner.flag("TRUNCATED");
    this.#leave(() => this.natural.destroy.call(this.#response, error));
  }

  /** Somebody writes to the socket himself, or closes it. Answers false where there is an answer on its way. */
  #takenOver(): boolean {
    if (this.#ended && (this.#phase === "ending" || this.#phase === "opening")) return false;
    if (this.#phase !== "held") return true;
    this.#leave(() => {});
    // Whatever the client gets, it is nothing that is recorded.
    const detail = "The operation took the connection for itself, so its answer is not known.";
    this.#settings.owner.unknown(detail).catch((error: unknown) => this.#fail(error));
    return true;
  }

  #fail(error: unknown): void {
    console.error("onceward: an answer could not be recorded or sent:", error);
    this.#leave(() => this.natural.destroy.call(this.#response));
  }

  /** From here on the response is Node's again, which may do a last thing with it. */
  #leave(last: () => void): void {
    this.#phase = "over";
    this.#restore();
    last();
    this.#release();
  }

  /** Gives Node its response back as it was before anything was answered; once. */
  #restore(): void {
    if (this.#isNatural) return;
    this.#isNatural = true;
    this.#unmask();
    pretend(this.#fields, "fresh");
    // A replay has the usual words, so the first answer has them too.
    if (this.#fields !== null) this.#fields.statusMessage = "";
  }

  /** Tells everybody of the connection's end; of the response's own, all is free again. */
  #release(): void {
    const over = (): void => {
      if (this.#isOver) return;
      this.#isOver = true;
      clearTimeout(this.#givingUp);
      this.#body.release();
      this.#settings.held.letGo();
    };
    if (this.#isGone) over();
    else this.#response.once("close", over);
    this.#connection.release();
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

/** RFC 9110 §15.3.5, §15.4.5: what is written to such an answer goes nowhere. */
function hasBody(head: ResponseHead | null): boolean {
  return head === null || (head.status !== 204 && head.status !== 304);
}
