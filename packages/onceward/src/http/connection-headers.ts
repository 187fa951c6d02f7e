// Which header fields belong to one connection and are neither recorded nor forwarded.

import { type HeaderList, headerValues } from "./message.js";

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const NONE: ReadonlySet<string> = new Set();

/** Whether a field, named in lower case, belongs to the connection (RFC 9110 §7.6.1 and what older proxies send). */
export function isHopByHop(name: string): boolean {
  return HOP_BY_HOP.has(name);
}

/**
 * The fields that `Connection` names, in lower case. In a request they are the client's word: whoever forwards it must
 * not let them take away what a policy rests on, such as the key, a credential or `Forwarded`.
 */
export function connectionNamed(headers: HeaderList): ReadonlySet<string> {
  const values = headerValues(headers, "connection");
  if (values.length === 0) return NONE;
  const names = new Set<string>();
  for (const value of values) {
    for (const option of value.split(",")) {
      const name = option.trim().toLowerCase();
      if (name !== "") names.add(name);
    }
  }
  return names;
}
