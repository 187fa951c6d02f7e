// The header fields of a request as they go to the upstream, and of its answer as they come back (SPEC §5.7).

import type { IncomingMessage } from "node:http";
import { BlockList, isIP, isIPv6 } from "node:net";
import { type HeaderList, isHopByHop, isOwnHeader } from "onceward/http";
import type { GatewayConfig } from "../config/config.js";
import type { CompiledRoute } from "./router.js";

const SET_HERE: ReadonlySet<string> = new Set(["forwarded", "via", "x-real-ip", "expect"]);

/** What forwarding needs of a configuration, prepared once. */
export interface Forwarding {
  readonly preserveHost: boolean;
  /** null: nobody is trusted. */
  readonly trusted: BlockList | null;
  /** Fields that `Connection` cannot take away, since account, environment or key rest on them. */
  readonly kept: ReadonlySet<string>;
  /** This gateway's name in `Via`. */
  readonly via: string;
  readonly proto: "http" | "https";
}

export function createForwarding(config: GatewayConfig, via: string): Forwarding {
  const kept = new Set([
    "authorization",
    "x-api-key",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "content-encoding",
  ]);
  if (config.account.from === "header") kept.add(config.account.name.toLowerCase());
  if (config.environment.from === "header") kept.add(config.environment.header.toLowerCase());
  for (const { policy, when } of config.routes) {
    if (policy !== null) kept.add(policy.header.toLowerCase());
    if (policy?.expiration != null) kept.add(policy.expiration.header.toLowerCase());
    if (when !== null && "header" in when) kept.add(when.header.toLowerCase());
  }
  const proto = config.tls === null ? "http" : "https";
  return { preserveHost: config.preserveHost, trusted: trustList(config.trustedProxies), kept, via, proto };
}

/** What a request is forwarded with. */
export interface ForwardOptions {
  readonly forwarding: Forwarding;
  readonly route: CompiledRoute;
  readonly authority: string;
  /** Said to the upstream; null where the body is chunked or there is none. */
  readonly contentLength: number | string | null;
}

/** Name, value, name, value, in the order received; undici adds the framing. */
export function requestHeaders(request: IncomingMessage, options: ForwardOptions): string[] {
  const { forwarding, route, authority } = options;
  const raw = request.rawHeaders;
  const named = namedByConnection(request.headers.connection);
  const peer = peerAddress(request);
  const trusted = forwarding.trusted !== null && isTrusted(forwarding.trusted, peer);
  const dropKey = route.policy?.forwardKey === false ? route.keyHeader : null;
  const upstreamHost = forwarding.preserveHost && authority !== "" ? authority : route.upstream.host;
  const out: string[] = ["Host", upstreamHost];
  const before: Incoming = { for: "", proto: "", host: "", forwarded: "", via: "" };
  for (let at = 0; at < raw.length; at += 2) {
    const field = raw[at] ?? "";
    const value = raw[at + 1] ?? "";
    const name = field.toLowerCase();
    if (name === "host" || name === "content-length" || name === "expect" || name === dropKey) continue;
    if (isHopByHop(name) || isOwnHeader(name) || collect(before, name, value)) continue;
    if (name.includes("_") && isLookAlike(name, forwarding.kept)) continue;
    if (name.startsWith("x-forwarded-") || name === "x-real-ip" ? !trusted : isNamed(named, name, forwarding.kept))
      continue;
    out.push(field, value);
  }
  if (options.contentLength !== null) out.push("Content-Length", String(options.contentLength));
  pushForwarded(out, before, { peer, trusted, authority, forwarding });
  out.push("Via", joined(before.via, `${request.httpVersion} ${forwarding.via}`));
  return out;
}

/** What proxies before this one said. */
interface Incoming {
  for: string;
  proto: string;
  host: string;
  forwarded: string;
  via: string;
}

function collect(before: Incoming, name: string, value: string): boolean {
  switch (name) {
    case "x-forwarded-for":
      before.for = joined(before.for, value);
      return true;
    case "x-forwarded-proto":
      before.proto = value;
      return true;
    case "x-forwarded-host":
      before.host = value;
      return true;
    case "forwarded":
      before.forwarded = joined(before.forwarded, value);
      return true;
    case "via":
      before.via = joined(before.via, value);
      return true;
    default:
      return false;
  }
}

interface Hop {
  readonly peer: string;
  readonly trusted: boolean;
  readonly authority: string;
  readonly forwarding: Forwarding;
}

function pushForwarded(out: string[], before: Incoming, { peer, trusted, authority, forwarding }: Hop): void {
  const node = isIPv6(peer) ? `"[${peer}]"` : peer === "" ? "unknown" : peer;
  const host = authority === "" ? "" : `;host="${authority}"`;
  const element = `for=${node}${host};proto=${forwarding.proto}`;
  out.push("X-Forwarded-For", trusted ? joined(before.for, peer) : peer);
  out.push("X-Forwarded-Proto", trusted && before.proto !== "" ? before.proto : forwarding.proto);
  const forwardedHost = trusted && before.host !== "" ? before.host : authority;
  if (forwardedHost !== "") out.push("X-Forwarded-Host", forwardedHost);
  out.push("Forwarded", trusted ? joined(before.forwarded, element) : element);
}

/**
 * The fields of an upstream's answer that are the answer's own, in order: without those of the connection. `Onceward-*`
 * stay where the layer still has to read them.
 */
export function answerHeaders(headers: HeaderList, keepOwn: boolean): HeaderList {
  let connection: string | undefined;
  for (const [name, value] of headers) {
    if (name.length === 10 && name.toLowerCase() === "connection") connection = joined(connection ?? "", value);
  }
  const named = namedByConnection(connection);
  return headers.filter(([field]) => {
    const name = field.toLowerCase();
    return !(isHopByHop(name) || named?.has(name) === true || (!keepOwn && isOwnHeader(name)));
  });
}

/**
 * Whether a server of the CGI kind (PHP, WSGI, Rack), to which `_` is `-`, would take a field for one that this gateway
 * sets or reads itself: a forged `X_Forwarded_For`, or an `X_Environment` that no condition of a route has seen.
 */
function isLookAlike(name: string, kept: ReadonlySet<string>): boolean {
  if (kept.has(name)) return false;
  const alike = name.replaceAll("_", "-");
  return (
    kept.has(alike) ||
    SET_HERE.has(alike) ||
    alike.startsWith("x-forwarded-") ||
    isHopByHop(alike) ||
    isOwnHeader(alike)
  );
}

/** The address of the client's end of the connection. */
function peerAddress(request: IncomingMessage): string {
  const address = request.socket.remoteAddress ?? "";
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}

function namedByConnection(value: string | undefined): ReadonlySet<string> | null {
  if (value === undefined || value === "keep-alive" || value === "close") return null;
  return new Set(value.split(",").map((name) => name.trim().toLowerCase()));
}

function isNamed(named: ReadonlySet<string> | null, name: string, kept: ReadonlySet<string>): boolean {
  return named?.has(name) === true && !kept.has(name);
}

function joined(list: string, item: string): string {
  return list === "" ? item : `${list}, ${item}`;
}

function isTrusted(list: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && list.check(address, version === 6 ? "ipv6" : "ipv4");
}

function trustList(ranges: readonly string[]): BlockList | null {
  if (ranges.length === 0) return null;
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", prefix] = range.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
}
