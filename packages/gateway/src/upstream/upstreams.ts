// The upstreams of a configuration: one per origin, with a lane for keyed requests and one for all others.

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { createSecureContext } from "node:tls";
import { IdempotencyError } from "onceward";
import { buildConnector, type Client } from "undici";
import type { Limits, Timeouts, UpstreamTls } from "../config/config.js";
import { Lane } from "./lane.js";

/** Keyed requests are not sent on a connection that has been idle for more than a second (SPEC §4.9). */
const KEYED_IDLE_MS = 900;
/** Node's servers close theirs after 5 seconds. */
const PLAIN_IDLE_MS = 4_000;
/** Answers may have larger heads than requests: many cookies, long policies. */
const MIN_ANSWER_HEAD_BYTES = 65_536;

export interface UpstreamOptions {
  readonly tls: UpstreamTls;
  readonly timeouts: Timeouts;
  readonly limits: Limits;
  /** Told of faults of our own in handling an answer. */
  onFault(error: Error): void;
}

/** Where requests of a route go. */
export interface Upstream {
  /** Scheme, host and port. */
  readonly origin: string;
  /** What the `Host` field says of it. */
  readonly host: string;
  /** Put before every path; empty for most. */
  readonly basePath: string;
  readonly keyed: Lane;
  readonly plain: Lane;
}

/** Opens nothing until a request comes. Reads the TLS files at once, so that a missing one is a fault at start. */
export class Upstreams {
  readonly #options: UpstreamOptions;
  readonly #byUrl = new Map<string, Upstream>();
  readonly #lanes = new Map<string, Pick<Upstream, "keyed" | "plain">>();
  readonly #credentials: { readonly ca?: string[]; readonly cert?: string; readonly key?: string };
  #closed = false;

  /** @throws IdempotencyError `config_invalid` where a TLS file cannot be read or used. */
  constructor(options: UpstreamOptions) {
    this.#options = options;
    const { caFile, certFile, keyFile } = options.tls;
    try {
      this.#credentials = {
        ...(caFile === null ? {} : { ca: [readFileSync(caFile, "utf8")] }),
        ...(certFile === null ? {} : { cert: readFileSync(certFile, "utf8") }),
        ...(keyFile === null ? {} : { key: readFileSync(keyFile, "utf8") }),
      };
      createSecureContext(this.#credentials);
      // OpenSSL leaves out an authority that it cannot read, without a word.
      for (const ca of this.#credentials.ca ?? []) new X509Certificate(ca);
    } catch (error) {
      const files = [caFile, certFile, keyFile].filter((file) => file !== null).join(", ");
      const fix = "they must be PEM, and the key that of the certificate";
      const message = `upstreamTls: ${files} cannot be used: ${fix} (${error instanceof Error ? error.message : error})`;
      throw new IdempotencyError("config_invalid", message, { cause: error });
    }
  }

  /** The upstream of a URL; its path is put before the request's. */
  get(url: string): Upstream {
    const known = this.#byUrl.get(url);
    if (known !== undefined) return known;
    const { origin, host, pathname, hostname } = new URL(url);
    const serverName = this.#options.tls.serverName ?? (isIP(bare(hostname)) === 0 ? hostname : "");
    const lanes = this.#lanes.get(origin) ?? this.#makeLanes(origin, serverName);
    this.#lanes.set(origin, lanes);
    const upstream = { origin, host, basePath: pathname.replace(/\/$/, ""), ...lanes };
    this.#byUrl.set(url, upstream);
    return upstream;
  }

  /** Requests under way to all of them. */
  get running(): number {
    let running = 0;
    for (const { keyed, plain } of this.#lanes.values()) running += keyed.running + plain.running;
    return running;
  }

  /** Running requests finish; nothing is kept open after them. */
  close(): void {
    this.#closed = true;
    for (const { keyed, plain } of this.#lanes.values()) {
      keyed.close();
      plain.close();
    }
  }

  async destroy(): Promise<void> {
    this.close();
    await Promise.all([...this.#lanes.values()].flatMap(({ keyed, plain }) => [keyed.destroy(), plain.destroy()]));
  }

  #makeLanes(origin: string, serverName: string): Pick<Upstream, "keyed" | "plain"> {
    const { limits } = this.#options;
    const connect = this.#connector(serverName);
    const lane = (maxIdleMs: number): Lane => {
      const lane = new Lane({
        origin,
        serverName: serverName || "-",
        maxIdleMs,
        onFault: this.#options.onFault,
        maxHeaders: limits.maxHeaders,
        connect,
        client: this.#clientOptions(maxIdleMs),
      });
      if (this.#closed) lane.close();
      return lane;
    };
    return { keyed: lane(KEYED_IDLE_MS), plain: lane(PLAIN_IDLE_MS) };
  }

  #clientOptions(maxIdleMs: number): Client.Options {
    const { timeouts, limits } = this.#options;
    return {
      pipelining: 1,
      keepAliveTimeout: maxIdleMs,
      keepAliveMaxTimeout: maxIdleMs,
      headersTimeout: timeouts.upstreamHeadersMs,
      bodyTimeout: timeouts.upstreamBodyMs,
      maxHeaderSize: Math.max(limits.maxHeaderBytes, MIN_ANSWER_HEAD_BYTES),
    };
  }

  /** undici would take the name to verify from the `Host` field, which is the client's word; this one never does. */
  #connector(serverName: string): buildConnector.connector {
    const connect = buildConnector({
      ...this.#credentials,
      rejectUnauthorized: this.#options.tls.verify,
      timeout: this.#options.timeouts.connectMs,
    });
    return ({ servername: _fromHost, ...options }, callback) =>
      connect(serverName === "" ? options : { ...options, servername: serverName }, callback);
  }
}

function bare(hostname: string): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}
