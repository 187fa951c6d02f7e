// Reads HTTP Basic authentication (RFC 7617).

import { parseAuthorization } from "./authorization.js";

export type BasicReading =
  /** Byte strings, one character a byte. */
  | { readonly kind: "basic"; readonly user: string; readonly password: string }
  | { readonly kind: "empty" }
  | { readonly kind: "other-scheme" }
  | { readonly kind: "malformed" };

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

/** `value` is that of the Authorization header. */
export function readBasic(value: string): BasicReading {
  const parsed = parseAuthorization(value);
  if (parsed === "empty") return { kind: "empty" };
  if (parsed.scheme !== "basic") return { kind: "other-scheme" };
  const { credential } = parsed;
  if (!BASE64.test(credential)) return { kind: "malformed" };
  const decoded = atob(credential);
  const colon = decoded.indexOf(":");
  // Padding is optional to many clients; spare bits that are set make another spelling of the same credential.
  if (colon < 0 || unpadded(btoa(decoded)) !== unpadded(credential)) return { kind: "malformed" };
  return { kind: "basic", user: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

function unpadded(base64: string): string {
  return base64.replace(/=+$/, "");
}
