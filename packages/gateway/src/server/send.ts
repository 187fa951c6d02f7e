// Sends answers to clients: whole ones with their length, heads of streamed ones, and closes where a body is unread.

import type { IncomingMessage } from "node:http";
import type { RequestErrorCode } from "onceward";
import {
  DOCUMENT_PATH,
  type HeaderList,
  type HttpResponse,
  isHopByHop,
  isOwnHeader,
  type Problem,
  problem,
  problemResponse,
} from "onceward/http";
import { hasBody } from "./request-head.js";
import type { Exchange } from "./runtime.js";

/** After an early answer so much of the request is still read, so that the client gets to see the answer; no more. */
const LINGER_BYTES = 1_048_576;
const LINGER_MS = 5_000;
/** An answer up to here fits the system's own buffers. */
const SMALL_ANSWER_BYTES = 65_536;

/** Sends a whole answer. Its framing is made here; nothing of `Onceward-*` or of another connection leaves. */
export function sendWhole(exchange: Exchange, answer: HttpResponse): void {
  const { request, response, runtime, config } = exchange;
  if (response.destroyed || response.headersSent) return;
  const { status, body } = answer;
  const empty = status === 204 || status === 304;
  const out: string[] = [];
  for (const [field, value] of answer.headers) {
    const name = field.toLowerCase();
    if (name === "content-length" || isHopByHop(name) || isOwnHeader(name)) continue;
    out.push(field, value);
  }
  if (!empty) out.push("Content-Length", String(body.length));
  if (runtime.stopping) out.push("Connection", "close");
  response.writeHead(status, out);
  if (empty || body.length === 0 || request.method === "HEAD") response.end();
  else response.end(body);
  // A client that does not read keeps the answer in memory; it may for so long and no longer.
  if (body.length > SMALL_ANSWER_BYTES) response.setTimeout(config.timeouts.bodyMs);
  boundRest(exchange);
}

/** Sends the head of an answer whose body follows piece by piece. */
export function sendHead(exchange: Exchange, status: number, headers: HeaderList, length: string | null): void {
  const out: string[] = [];
  for (const [name, value] of headers) {
    // RFC 9110 §8.6: some would wait for that body, and take the next answer for it.
    if (status !== 204 || name.toLowerCase() !== "content-length") out.push(name, value);
  }
  if (length !== null && status !== 204) out.push("Content-Length", length);
  if (exchange.runtime.stopping) out.push("Connection", "close");
  exchange.response.writeHead(status, out);
}

/** Sends an answer of Onceward's own (SPEC §6). */
export function sendProblem(
  exchange: Exchange,
  code: RequestErrorCode,
  overrides?: Partial<Omit<Problem, "code">>,
): void {
  if (exchange.kind === "unkeyed" && exchange.route.policy !== null) exchange.kind = "refused";
  exchange.code = code;
  sendWhole(exchange, ownAnswer(exchange, code, overrides));
}

export function ownAnswer(
  exchange: Exchange,
  code: RequestErrorCode,
  overrides?: Partial<Omit<Problem, "code">>,
): HttpResponse {
  return problemResponse(problem(code, overrides), exchange.route.policy?.errorFormat ?? "problem", DOCUMENT_PATH);
}

/**
 * For an answer that stands before the end of its request: reads on for a while, since a client whose upload meets a
 * closed connection may see a reset instead of the answer, and then closes.
 */
export function boundRest(exchange: Exchange): void {
  const { request, response } = exchange;
  // Whoever was not told to continue sends no body, and Node closes the connection after the answer.
  if (request.complete || !hasBody(request) || (exchange.expectsContinue && !exchange.wasContinued)) return;
  if (response.writableFinished) watchRest(request);
  else response.once("finish", () => watchRest(request));
}

function watchRest(request: IncomingMessage): void {
  const { socket } = request;
  let left = LINGER_BYTES;
  const count = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left <= 0) socket.destroy();
  };
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  const done = (): void => clearTimeout(timer);
  request.on("data", count).once("end", done).once("close", done).once("error", done);
  request.resume();
}
