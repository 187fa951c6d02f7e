// A request whose body is whole stays readable while its operation runs, also when its client goes away (SPEC §4.7).

import type { IncomingMessage } from "node:http";

type Loose = (this: unknown, ...values: unknown[]) => unknown;

/**
 * Keeps Node from aborting the request, which would take the body from a parser that has not begun yet: its error would
 * be recorded as the operation's answer. The function that it returns lets go, and then what was kept back happens.
 */
export function shieldRequest(request: IncomingMessage): () => void {
  return request.httpVersionMajor >= 2 ? shieldEvents(request) : shieldFromAbort(request);
}

function shieldFromAbort(request: IncomingMessage): () => void {
  const shielded = request as unknown as { destroy: Loose };
  const { destroy } = shielded;
  let abortedBy: unknown = null;
  let shields = true;
  shielded.destroy = function (error: unknown): unknown {
    if (!shields || !isAbort(error)) return destroy.call(this, error);
    abortedBy = error;
    return this;
  };
  return () => {
    shields = false;
    if (abortedBy !== null) destroy.call(request, abortedBy);
  };
}

/** HTTP/2 leaves what was read in place, and only tells. */
function shieldEvents(request: IncomingMessage): () => void {
  const shielded = request as unknown as { emit: Loose };
  const { emit } = shielded;
  const kept: unknown[][] = [];
  let shields = true;
  shielded.emit = function (event: unknown, ...values: unknown[]): unknown {
    if (!shields || (event !== "aborted" && event !== "close")) return emit.call(this, event, ...values);
    kept.push([event, ...values]);
    return true;
  };
  return () => {
    shields = false;
    for (const values of kept) emit.call(request, ...values);
  };
}

/** What Node's server destroys the requests of a closed connection with. */
function isAbort(error: unknown): boolean {
  return (error as { readonly code?: unknown } | undefined)?.code === "ECONNRESET";
}
