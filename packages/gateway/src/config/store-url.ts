// Reads the address of a store: `memory`, `sqlite:PATH`, or that of a server (SPEC §14.2).

import { isAbsolute, resolve } from "node:path";
import { closest, IdempotencyError } from "onceward";
import { parseRemoteAddress, REMOTE_SCHEMES, type RemoteAddress } from "./remote-address.js";

export type StoreAddress =
  | { readonly kind: "memory" }
  | { readonly kind: "sqlite"; readonly path: string }
  | RemoteAddress;

/** What the schemes are called in messages. */
export const STORE_URLS = "memory, sqlite:PATH, postgres://…, mysql://…, redis://…, nats://… or dynamodb://TABLE";

/**
 * @param folder What a relative path is relative to.
 * @throws IdempotencyError `store_url_invalid` with what is wrong and what to write.
 */
export function parseStoreUrl(url: string, folder: string): StoreAddress {
  const refuse = (what: string): never => {
    throw new IdempotencyError("store_url_invalid", `the store ${JSON.stringify(showStoreUrl(url))} ${what}`);
  };
  // `memory:` without quotes is no value in YAML.
  if (url.trim().toLowerCase() === "memory") return { kind: "memory" };
  const colon = url.indexOf(":");
  if (colon <= 0) return refuse(`has no scheme; write ${STORE_URLS}, such as sqlite:./onceward.db`);
  const scheme = url.slice(0, colon).toLowerCase();
  const rest = url.slice(colon + 1);
  if (scheme === "memory")
    return rest === "" || rest === "//"
      ? { kind: "memory" }
      : refuse("has something after memory:; write memory alone");
  if (scheme === "sqlite") return { kind: "sqlite", path: resolve(folder, sqlitePath(rest, refuse)) };
  const remote = parseRemoteAddress(url, folder, refuse);
  if (remote !== null) return remote;
  const near = closest(scheme, ["memory", "sqlite", ...REMOTE_SCHEMES]);
  const meant =
    near === undefined ? `write ${STORE_URLS}` : `did you mean ${near === "sqlite" ? "sqlite:PATH" : near}?`;
  return refuse(`has an unknown scheme; ${meant}`);
}

/** The address without the password that it may hold. */
export function showStoreUrl(url: string): string {
  return url
    .replace(/(\/\/[^/?#@:]*):[^/?#]*@/, "$1:***@")
    .replace(/([?&][^=&#]*(?:password|secret|token)[^=&#]*)=[^&#]*/gi, "$1=***");
}

/** The address with its relative paths made absolute, so that it means the same from every folder. */
export function absoluteStoreUrl(url: string, folder: string): string {
  const address = parseStoreUrl(url, folder);
  if (address.kind === "memory") return "memory:";
  if (address.kind === "sqlite") return `sqlite:${address.path}`;
  return url.replace(/([?&](?:ca|cert|key|sslrootcert|sslcert|sslkey)=)([^&#]+)/g, (_, name: string, value: string) => {
    return name + encodeURIComponent(resolve(folder, decodeURIComponent(value)));
  });
}

function sqlitePath(rest: string, refuse: (what: string) => never): string {
  let path = rest;
  if (path.startsWith("//")) {
    path = path.slice(2);
    if (!isAbsolute(path))
      return refuse("names a host, and a database file has none; write sqlite:PATH or sqlite:///PATH");
  }
  if (path === "" || path === "/" || path === ".")
    return refuse("has no path; write sqlite:PATH, such as sqlite:./onceward.db");
  if (path === ":memory:") return refuse("is kept in memory only; write memory for that");
  if (path.endsWith("/")) return refuse("is a folder; name a file in it");
  if (/[?#\0]/.test(path)) return refuse("has options; sqlite:PATH takes none");
  return path;
}
