// Who may use the admin address: a token, or on loopback nobody but this machine's own user agents (SPEC §9.5).

import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { problemReply, type Reply } from "./reply.js";

export interface GuardRules {
  readonly token: string | null;
  /** Whether the listener is on loopback, and its port. */
  readonly loopback: boolean;
  readonly port: number;
}

/** Who asks, for the audit trail; or the refusal. */
export type Admission = { readonly ok: true; readonly who: string } | { readonly ok: false; readonly reply: Reply };

/** Whether an address that a socket is bound to is loopback. */
export function isLoopback(address: string): boolean {
  const plain = address.replace(/^::ffff:/i, "");
  return plain === "::1" || (isIP(plain) === 4 && plain.startsWith("127."));
}

/**
 * Checks Host and Origin: a page of another site can make a browser send requests here, and by DNS rebinding even under
 * a name of its own; then Host or Origin gives it away. On other addresses the token does, which no browser adds.
 */
export function checkSource(request: IncomingMessage, rules: GuardRules): Reply | null {
  const { host = "", origin } = request.headers;
  if (request.headersDistinct["host"]?.length !== 1) return problemReply(400, "The request must have one Host header.");
  if (rules.loopback && !isOwnHost(host, rules.port)) {
    return problemReply(
      403,
      `This is the admin interface of this machine alone: call it as 127.0.0.1:${rules.port} or localhost:${rules.port}. To reach it under another name, let it listen on another address, with adminToken set.`,
    );
  }
  if (origin !== undefined && !sameOrigin(origin, host)) {
    return problemReply(403, "The request comes from a page of another origin, which may not use the admin interface.");
  }
  return null;
}

/** Checks the token where there is one. */
export function admit(request: IncomingMessage, token: string | null): Admission {
  if (token === null) return { ok: true, who: "local" };
  const values = request.headersDistinct["authorization"] ?? [];
  const presented = values.length === 1 ? /^Bearer +(\S+)$/i.exec(values[0] ?? "")?.[1] : undefined;
  if (presented !== undefined && sameSecret(presented, token)) return { ok: true, who: "admin token" };
  const detail =
    values.length === 0
      ? "The admin interface needs the token: Authorization: Bearer …"
      : "The token is not the right one.";
  const challenge =
    values.length === 0 ? 'Bearer realm="onceward admin"' : 'Bearer realm="onceward admin", error="invalid_token"';
  return { ok: false, reply: problemReply(401, detail, { headers: { "WWW-Authenticate": challenge } }) };
}

/** In a time that depends on neither. */
function sameSecret(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text, "utf8").digest();
  return timingSafeEqual(digest(one), digest(other));
}

/** Port 80 may be left out of Host. */
function isOwnHost(host: string, port: number): boolean {
  const match = /^(\[[0-9a-f:.]+\]|[^:]+)(?::(\d+))?$/i.exec(host);
  if (match === null || Number(match[2] ?? 80) !== port) return false;
  const name = (match[1] ?? "").toLowerCase();
  return (
    name === "localhost" ||
    name === "localhost." ||
    name.endsWith(".localhost") ||
    isLoopback(name.replace(/^\[|\]$/g, ""))
  );
}

function sameOrigin(origin: string, host: string): boolean {
  const match = /^https?:\/\/([^/?#]+)$/i.exec(origin);
  return match?.[1]?.toLowerCase() === host.toLowerCase();
}
