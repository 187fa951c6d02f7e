// What @hono/node-server gives beside the request: Node's own messages, from which some things are had for less.

import type { HeaderList } from "../../http/message.js";

/** Its bindings, as far as they are looked at. */
export interface NodeBindings {
  readonly incoming: { readonly rawHeaders: readonly string[] };
  readonly outgoing: {
    readonly writableFinished: boolean;
    once(event: "close", listener: () => void): unknown;
    off(event: "close", listener: () => void): unknown;
  };
}

/** The bindings of `c.env`, or null on other platforms. */
export function nodeBindings(env: unknown): NodeBindings | null {
  const { incoming, outgoing } = (env ?? {}) as Partial<NodeBindings>;
  return Array.isArray(incoming?.rawHeaders) && typeof outgoing?.once === "function" ? (env as NodeBindings) : null;
}

/** The request's fields as they came over the wire. */
export function wireHeaders({ incoming }: NodeBindings): HeaderList {
  const { rawHeaders } = incoming;
  const headers: (readonly [string, string])[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) headers.push([rawHeaders[at] ?? "", rawHeaders[at + 1] ?? ""]);
  return headers;
}

/** Calls `gone` where the client goes away before it is answered. */
export function watchConnection({ outgoing }: NodeBindings, gone: () => void): () => void {
  const onClose = (): void => {
    if (!outgoing.writableFinished) gone();
  };
  outgoing.once("close", onClose);
  return () => void outgoing.off("close", onClose);
}
