// The way of a keyed request, from top to bottom: begin → run → record → send.

import { isIdempotencyError } from "onceward";
import type { HttpClaim, HttpResponse } from "onceward/http";
import type { UpstreamFailure } from "../upstream/call.js";
import { requestHeaders } from "./forwarding.js";
import { HeldAnswer, type OpenAnswer } from "./held-answer.js";
import { BodyFault } from "./keyed-body.js";
import { KeyedRequest } from "./keyed-request.js";
import { passThrough } from "./pass-through.js";
import type { Exchange } from "./runtime.js";
import { ownAnswer, sendHead, sendProblem, sendWhole } from "./send.js";
import { UnkeptAnswer } from "./unkept-answer.js";

/** Serves a request whose route has a policy and which may carry a key. Never rejects. */
export async function serveKeyed(exchange: Exchange): Promise<void> {
  const { runtime, config } = exchange;
  if (runtime.keyed >= config.limits.maxInFlight) {
    // Whoever only watches looks away rather than refuse.
    if (exchange.route.policy?.mode === "observe") {
      passThrough(exchange);
      return;
    }
    const detail = "The gateway serves as many requests as it may. Nothing was run; retry later, with the same key.";
    sendProblem(exchange, "upstream_unavailable", { detail });
    return;
  }
  const request = new KeyedRequest(exchange);
  runtime.keyed += 1;
  const over = runtime.metrics.began();
  exchange.hold();
  try {
    await begin(exchange, request);
  } catch (error) {
    refuse(exchange, error);
  } finally {
    runtime.keyed -= 1;
    over();
    exchange.release();
    if (!request.handedOn) request.dispose();
  }
}

async function begin(exchange: Exchange, request: KeyedRequest): Promise<void> {
  const { metrics } = exchange.runtime;
  const startedAt = performance.now();
  const begun = await exchange.generation.layer.begin(request);
  exchange.layerMs = performance.now() - startedAt - request.bodyMs;
  switch (begun.kind) {
    case "pass":
      if (begun.observation !== null) exchange.kind = "observed";
      else if (request.content.wasRead) exchange.kind = "bypassed";
      request.handedOn = true;
      passThrough(exchange, { headers: begun.headers, observation: begun.observation, body: request.content });
      return;
    case "answer":
      exchange.kind = begun.code === null ? "replayed" : "refused";
      exchange.code = begun.code ?? undefined;
      metrics.layerTook(exchange.layerMs);
      sendCounted(exchange, begun.response);
      return;
    case "run":
      exchange.kind = "run";
      exchange.runtime.runs.set(begun.claim.runId, "run");
      try {
        await own(exchange, request, begun.claim);
      } finally {
        exchange.runtime.runs.delete(begun.claim.runId);
      }
  }
}

/** This request owns the key: whatever happens from here on, the claim is ended in one of its ways. */
async function own(exchange: Exchange, request: KeyedRequest, claim: HttpClaim): Promise<void> {
  if (exchange.clientGone) claim.flag("CLIENT_GONE");
  else
    exchange.onClosed = (gone) => {
      if (gone) claim.flag("CLIENT_GONE");
    };
  const held = new HeldAnswer(exchange);
  try {
    const sentAt = performance.now();
    run(exchange, request, held);
    const result = await held.settled;
    exchange.runtime.metrics.upstreamTook(exchange.route.route?.name ?? null, performance.now() - sentAt);
    request.dispose();
    switch (result.kind) {
      case "whole":
        sendCounted(exchange, await ended(exchange, claim, claim.finish(result.response)));
        return;
      case "open":
        await passOn(exchange, claim, result);
        return;
      case "failed":
        sendWhole(exchange, await ended(exchange, claim, settleFailure(exchange, claim, result.failure)));
    }
  } catch (error) {
    exchange.runtime.log.error({ err: error, runId: claim.runId }, "a keyed request failed inside the gateway");
    sendWhole(
      exchange,
      await claim.unknown(500, "The gateway failed while the request ran. Whether it took effect is not known."),
    );
  } finally {
    held.dispose();
  }
}

/** Waits for the end of a claim, and takes what the engine says of it for what the request was. */
async function ended<T>(exchange: Exchange, claim: HttpClaim, ending: Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const result = await ending;
  const { runtime, layerMs } = exchange;
  runtime.metrics.layerTook(layerMs + performance.now() - startedAt);
  exchange.kind = runtime.runs.get(claim.runId) ?? "run";
  return result;
}

function run(exchange: Exchange, request: KeyedRequest, held: HeldAnswer): void {
  const { route, target, generation } = exchange;
  const { forwarding } = generation;
  const contentLength = request.content.bytes || null;
  route.upstream.keyed.dispatch(
    {
      method: request.method,
      path: route.upstream.basePath + target.path + target.query,
      headers: requestHeaders(exchange.request, { forwarding, route, authority: target.authority, contentLength }),
      body: request.content.content(),
    },
    held,
  );
}

/** SPEC §5.4: the answer is not kept. The record says so before the client gets its first byte. */
async function passOn(exchange: Exchange, claim: HttpClaim, open: OpenAnswer): Promise<void> {
  const length = open.contentLength;
  const passed = await ended(exchange, claim, claim.finishUnkept(open.head));
  if (passed.kind === "answer") {
    open.call.abort(new Error("the answer is not wanted"));
    sendWhole(exchange, passed.response);
    return;
  }
  const { status, headers } = passed.head;
  if (!exchange.clientGone) {
    sendHead(exchange, status, headers, length);
    exchange.response.flushHeaders();
  }
  const complete = await new UnkeptAnswer(exchange, open).passed;
  if (!complete) claim.flag("TRUNCATED");
}

/** SPEC §4.5 and §4.9: unused where not a byte was sent, unknown where one may have been. */
async function settleFailure(exchange: Exchange, claim: HttpClaim, failure: UpstreamFailure): Promise<HttpResponse> {
  const { runtime, route } = exchange;
  const { sent, status, reason, error } = failure;
  runtime.log.warn({ route: route.name, runId: claim.runId, sent, reason, err: error.message }, "upstream failed");
  if (!sent) return await claim.notStarted(ownAnswer(exchange, "upstream_unavailable", { status }));
  const detail = `The request was sent to the service behind, but ${reason}. Whether it took effect is not known.`;
  return await claim.unknown(status === 504 ? 504 : 502, detail);
}

/** Sends an answer that counts against the memory for bodies until the client has taken it. */
function sendCounted(exchange: Exchange, response: HttpResponse): void {
  const { runtime, clientGone } = exchange;
  if (clientGone) return;
  const bytes = response.body.length;
  const { onClosed } = exchange;
  runtime.memory.take(bytes);
  exchange.onClosed = (gone) => {
    runtime.memory.give(bytes);
    onClosed?.(gone);
  };
  sendWhole(exchange, response);
}

/** What the request's own body made impossible; nothing was claimed. */
function refuse(exchange: Exchange, error: unknown): void {
  const { runtime, route, response } = exchange;
  if (response.headersSent || exchange.kind === "run") {
    runtime.log.error({ route: route.name, err: error }, "a request failed inside the gateway");
    response.destroy();
    return;
  }
  if (error instanceof BodyFault) {
    switch (error.kind) {
      case "broken-off":
        // A client that half-closed may still listen; one that is gone does not mind.
        response.destroy();
        return;
      case "too-slow":
        sendProblem(exchange, "request_invalid", {
          status: 408,
          detail: "The request's body did not arrive in time. Nothing was run.",
        });
        return;
      case "no-room": {
        runtime.log.error({ route: route.name, err: error.cause ?? error }, "a body could not be spooled");
        const detail =
          "The gateway has no room for this request's body now. Nothing was run; retry later, with the same key.";
        sendProblem(exchange, "upstream_unavailable", { detail });
        return;
      }
    }
  }
  runtime.log.error({ route: route.name, err: error }, "a request failed inside the gateway");
  if (isIdempotencyError(error)) sendProblem(exchange, "store_unavailable");
  else sendProblem(exchange, "request_invalid", { status: 500, detail: "The gateway failed. Nothing was run." });
}
