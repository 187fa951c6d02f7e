// The first steps of every request: is it fit, where does it go, and does the layer have a say (SPEC K7, K8, §5.8).

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { DOCUMENT_PATH, type HttpResponse, problem, problemResponse } from "onceward/http";
import { serveKeyed } from "./keyed.js";
import { pairs, readEnvironment } from "./keyed-request.js";
import { passThrough } from "./pass-through.js";
import { type HeadFault, type RequestTarget, readTarget } from "./request-head.js";
import type { CompiledRoute } from "./router.js";
import { Exchange, type Generation, type Runtime } from "./runtime.js";
import { sendWhole } from "./send.js";
import { openTunnel, type Tunnel } from "./tunnel.js";

/** A request that none of the routes has to do with. */
const NO_TARGET: RequestTarget = { path: "", query: "", authority: "", host: "" };

/**
 * Serves one request of the public listener. Answers false where its head cannot be trusted: what follows it on the
 * connection cannot be either, and may be a request that somebody smuggled in.
 */
export function serve(
  runtime: Runtime,
  request: IncomingMessage,
  response: ServerResponse,
  expectsContinue: boolean,
): boolean {
  const generation = runtime.current;
  const target = readTarget(request, generation.head);
  // A key in such a path may hold an encoded slash, which is a fault in every other path.
  if (request.url?.startsWith(DOCUMENT_PATH) === true && serveWellKnown(runtime, request, response, target))
    return true;
  if ("fault" in target) {
    refuseHead(new Exchange({ ...unrouted(runtime, request, response), expectsContinue }), target);
    return false;
  }
  const route = generation.route({
    method: request.method ?? "",
    path: target.path,
    host: target.host,
    rawHeaders: request.rawHeaders,
  });
  const exchange = new Exchange({ runtime, generation, request, response, target, route, expectsContinue });
  if (isLoop(request, generation)) {
    refuseHead(exchange, {
      status: 508,
      fault: "This request has come through this gateway before: its upstream leads back to it.",
    });
  } else if (target.path === "*") {
    // About the server as a whole; which of several servers is meant cannot be told, so the gateway speaks for itself.
    sendWhole(exchange, { status: 204, headers: [], body: new Uint8Array(0) });
  } else if (mayBeKeyed(route, request)) {
    void serveKeyed(exchange);
  } else {
    passThrough(exchange);
  }
  return true;
}

/**
 * Whether the layer has to decide. The rules are its own; this only spares it the requests that it has nothing to say
 * about, which on most services are nearly all: those without a key where none is required.
 */
function mayBeKeyed({ policy, keyHeader }: CompiledRoute, request: IncomingMessage): boolean {
  if (policy === null) return false;
  const covered = policy.methods === "all" || policy.methods.has(request.method ?? "");
  if (covered && policy.required) return true;
  if (!covered && !policy.announceIgnored) return false;
  const raw = request.rawHeaders;
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? "";
    if (name.length === keyHeader.length && name.toLowerCase() === keyHeader) return true;
  }
  return false;
}

/** A request for a WebSocket, on a connection that is out of HTTP. */
export function serveTunnel(
  runtime: Runtime,
  request: IncomingMessage,
  response: ServerResponse,
  ends: { readonly socket: Socket; readonly head: Buffer; readonly tunnels: Set<Tunnel> },
): void {
  const generation = runtime.current;
  const target = readTarget(request, generation.head);
  if ("fault" in target) {
    refuseHead(new Exchange({ ...unrouted(runtime, request, response), expectsContinue: false }), target);
    return;
  }
  const { method = "", rawHeaders } = request;
  const route = generation.route({ method, path: target.path, host: target.host, rawHeaders });
  const exchange = new Exchange({ runtime, generation, request, response, target, route, expectsContinue: false });
  openTunnel(exchange, ends.socket, ends.head, ends.tunnels);
}

/** CONNECT: this is no forward proxy. */
export function refuseTunnel(runtime: Runtime, request: IncomingMessage, response: ServerResponse): void {
  const exchange = new Exchange({ ...unrouted(runtime, request, response), expectsContinue: false });
  refuseHead(exchange, { status: 501, fault: "This server makes no tunnels." });
}

/** SPEC §10. false where the request is for the upstream after all. */
function serveWellKnown(
  runtime: Runtime,
  request: IncomingMessage,
  response: ServerResponse,
  target: RequestTarget | HeadFault,
): boolean {
  const generation = runtime.current;
  const host = "fault" in target ? target.unclearPath?.host : target.host;
  if (host === undefined) return false;
  const url = request.url ?? "";
  const mark = url.indexOf("?");
  const asked = generation.wellKnown({
    method: request.method ?? "",
    path: mark < 0 ? url : url.slice(0, mark),
    query: mark < 0 ? "" : url.slice(mark),
    headers: pairs(request.rawHeaders),
    environment: readEnvironment(generation.config.environment, request.rawHeaders, host),
  });
  if (asked === null) return false;
  const exchange = new Exchange({ ...unrouted(runtime, request, response), expectsContinue: false });
  void asked
    .catch((error: unknown): HttpResponse => {
      runtime.log.error({ err: error }, "a well-known endpoint failed");
      return problemResponse(problem("store_unavailable"), "problem", DOCUMENT_PATH);
    })
    .then((answer) => sendWhole(exchange, answer));
  return true;
}

function unrouted(runtime: Runtime, request: IncomingMessage, response: ServerResponse) {
  const generation = runtime.current;
  return { runtime, generation, request, response, target: NO_TARGET, route: generation.unrouted };
}

function refuseHead(exchange: Exchange, { status, fault }: HeadFault): void {
  exchange.kind = "refused";
  exchange.code = "request_invalid";
  // What follows a head that cannot be trusted cannot be trusted either.
  exchange.response.shouldKeepAlive = false;
  sendWhole(exchange, problemResponse(problem("request_invalid", { status, detail: fault }), "problem", DOCUMENT_PATH));
}

/** RFC 9110 §7.6.3: `Via` tells a loop. */
function isLoop(request: IncomingMessage, { forwarding }: Generation): boolean {
  return request.headers.via?.includes(forwarding.via) === true;
}
