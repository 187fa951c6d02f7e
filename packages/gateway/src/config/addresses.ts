// Which addresses meet: loopback, every interface, the same listener under another name.

import { isIP } from "node:net";
import type { Address } from "./config.js";

/** Whether only this machine can reach it. */
export function isLoopback(host: string): boolean {
  return (
    host === "localhost" ||
    host.endsWith(".localhost") ||
    host === "::1" ||
    (isIP(host) === 4 && host.startsWith("127."))
  );
}

/** Whether it stands for every interface. */
function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || /^[0:]+$/.test(host);
}

/** Whether two listeners would want the same port of the same interface. */
export function overlap(a: Address, b: Address): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  return a.host === b.host || isWildcard(a.host) || isWildcard(b.host) || (isLoopback(a.host) && isLoopback(b.host));
}

/** Whether a URL leads to this listener, as far as that can be seen without asking the network. */
export function leadsTo(url: string, listener: Address): boolean {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const number = port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
  if (isWildcard(listener.host) && !isLoopback(host) && !isWildcard(host)) return false;
  return overlap({ host, port: number }, listener);
}

export function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
