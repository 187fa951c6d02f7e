// Settings that are each fine and cannot all hold: found before anything listens.

import { createSecureContext } from "node:tls";
import { addressText, isLoopback, leadsTo, overlap } from "./addresses.js";
import type { ListenerTls, UpstreamTls } from "./config.js";
import type { ConfigFile } from "./file-schema.js";
import type { Path } from "./issue.js";
import type { Sources } from "./sources.js";

/** What can be tried over the network from a list, or one character after the other. */
export const LEAST_SECRET_LENGTH = 16;

/** The listeners: each its own port, and the admin one guarded wherever others can reach it (SPEC §9.5). */
export function checkListeners(file: ConfigFile, adminToken: string | null, sources: Sources): void {
  const { listen, admin } = file;
  if (admin === null) return;
  if (overlap(listen, admin)) {
    sources.refuse(
      ["admin"],
      ` is ${addressText(admin)}, where clients connect already (listen is ${addressText(listen)}): give it another port`,
    );
  }
  if (isLoopback(admin.host)) return;
  if (adminToken !== null && adminToken.length < LEAST_SECRET_LENGTH) {
    sources.refuse(
      ["adminToken"],
      ` is too short for a listener that others can reach (${addressText(admin)}): give it at least ${LEAST_SECRET_LENGTH} characters, at random (openssl rand -base64 32 makes some)`,
    );
  }
  // One that cannot be read is refused where it is read.
  if (file.adminToken === undefined) {
    sources.refuse(
      ["admin"],
      ` is ${addressText(admin)}, which others can reach, and there is no token: set \`adminToken\` or ONCEWARD_ADMIN_TOKEN, or listen on 127.0.0.1`,
    );
  }
}

/** An upstream that is the gateway itself would send requests round in a circle. */
export function checkUpstreams(file: ConfigFile, sources: Sources): void {
  const check = (url: string | undefined, path: Path): void => {
    if (url === undefined) return;
    const self = leadsTo(url, file.listen)
      ? "listen"
      : file.admin !== null && leadsTo(url, file.admin)
        ? "admin"
        : null;
    if (self !== null)
      sources.refuse(path, ` is ${url}, which is the gateway's own address (${self}): name the service behind it`);
  };
  check(file.upstream, ["upstream"]);
  for (const [index, route] of file.routes.entries()) check(route.upstream, ["routes", index, "upstream"]);
}

/** The listener's certificate and key, read and tried. */
export function buildListenerTls(file: ConfigFile, sources: Sources): ListenerTls | null {
  if (file.tls === undefined) return null;
  tryPair(file.tls.cert, file.tls.key, ["tls"], sources);
  return { certFile: sources.absolute(file.tls.cert), keyFile: sources.absolute(file.tls.key) };
}

export function buildUpstreamTls(file: ConfigFile, sources: Sources): UpstreamTls {
  const { ca, cert, key, serverName, verify } = file.upstreamTls;
  if (ca !== undefined) {
    const pem = sources.readFile(ca, ["upstreamTls", "ca"]);
    if (pem !== null && !pem.includes("-----BEGIN CERTIFICATE-----")) {
      sources.refuse(["upstreamTls", "ca"], " names a file that holds no certificate; it must be PEM");
    }
  }
  if (cert !== undefined && key !== undefined) tryPair(cert, key, ["upstreamTls"], sources);
  else if (cert !== undefined)
    sources.refuse(["upstreamTls", "cert"], "upstreamTls.key is missing: a certificate needs its private key");
  else if (key !== undefined)
    sources.refuse(["upstreamTls", "key"], "upstreamTls.cert is missing: a private key needs its certificate");
  const absolute = (path: string | undefined): string | null => (path === undefined ? null : sources.absolute(path));
  return {
    caFile: absolute(ca),
    certFile: absolute(cert),
    keyFile: absolute(key),
    serverName: serverName ?? null,
    verify,
  };
}

function tryPair(certFile: string, keyFile: string, path: Path, sources: Sources): void {
  const cert = sources.readFile(certFile, [...path, "cert"]);
  const key = sources.readFile(keyFile, [...path, "key"]);
  if (cert === null || key === null) return;
  if (!tried({ cert })) sources.refuse([...path, "cert"], " names a file that holds no certificate; it must be PEM");
  else if (!tried({ key }))
    sources.refuse([...path, "key"], " names a file that holds no private key without a passphrase; it must be PEM");
  else if (!tried({ cert, key }))
    sources.refuse([...path, "key"], " names a key that does not belong to the certificate");
}

function tried(pair: { readonly cert?: string; readonly key?: string }): boolean {
  try {
    createSecureContext(pair);
    return true;
  } catch {
    return false;
  }
}
