// A request as the layer reads it (SPEC §3, §5.5): its account, its body, and who is asked before a replay.

import type { Policy } from "onceward";
import {
  type AccountReading,
  type HeaderList,
  type HttpResponse,
  type LayerRequest,
  MAX_CANONICAL_BYTES,
} from "onceward/http";
import type { EnvironmentConfig } from "../config/config.js";
import { authorizeReplay } from "../upstream/authorize.js";
import { requestHeaders } from "./forwarding.js";
import { KeyedBody } from "./keyed-body.js";
import type { Exchange } from "./runtime.js";

export class KeyedRequest implements LayerRequest {
  readonly policy: Policy;
  readonly route: string;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: HeaderList;
  readonly namespace: string;
  readonly environment: string;
  readonly content: KeyedBody;
  authorizeReplay?: () => Promise<HttpResponse | null>;
  /** Whether somebody else disposes of the body. */
  handedOn = false;
  /** How long its body took to arrive. */
  bodyMs = 0;
  readonly #exchange: Exchange;

  /** The route of the exchange has a policy. */
  constructor(exchange: Exchange) {
    const { request, route, target, config, runtime } = exchange;
    if (route.policy === null) throw new TypeError("a keyed request needs a policy");
    this.#exchange = exchange;
    this.policy = route.policy;
    this.route = route.name;
    this.method = request.method ?? "";
    this.path = target.path;
    this.query = target.query;
    this.headers = pairs(request.rawHeaders);
    this.namespace = config.namespace;
    this.environment = readEnvironment(config.environment, request.rawHeaders, target.host);
    this.content = new KeyedBody(request, {
      maxBytes: route.policy.maxRequestBodyBytes,
      spoolAboveBytes: config.limits.spoolAboveBytes,
      gatheredBytes: gathers(route.policy) ? MAX_CANONICAL_BYTES : 0,
      timeoutMs: config.timeouts.bodyMs,
      memory: runtime.memory,
      disk: runtime.disk,
    });
    if (route.authorizeUrl !== null) {
      const { authorizeUrl } = route;
      this.authorizeReplay = () => {
        const { forwarding, upstreams } = exchange.generation;
        const options = { forwarding, route, authority: target.authority, contentLength: null };
        const { method, path, query, policy } = this;
        const asked = { method, path, query, policy, headers: pairs(requestHeaders(request, options)) };
        return authorizeReplay(upstreams, authorizeUrl, asked, config.timeouts);
      };
    }
  }

  async account(): Promise<AccountReading> {
    return await this.#exchange.generation.accounts.resolve(this.headers);
  }

  async body(sink: (chunk: Uint8Array) => void): Promise<undefined> {
    const { expectsContinue } = this.#exchange;
    const startedAt = performance.now();
    await this.content.read(sink, () => {
      if (!expectsContinue) return;
      this.#exchange.wasContinued = true;
      this.#exchange.response.writeContinue();
    });
    this.bodyMs = performance.now() - startedAt;
  }

  dispose(): void {
    this.content.dispose();
  }
}

/** Whether the fingerprint needs the body in one piece. */
function gathers({ fingerprint }: Policy): boolean {
  return fingerprint !== "exact" && fingerprint !== "off";
}

/** SPEC S5. A header that is not there is an environment of its own: the empty one. */
export function readEnvironment(environment: EnvironmentConfig, raw: readonly string[], host: string): string {
  switch (environment.from) {
    case "value":
      return environment.value;
    case "header": {
      const name = environment.header.toLowerCase();
      const values: string[] = [];
      for (let at = 0; at < raw.length; at += 2) if (raw[at]?.toLowerCase() === name) values.push(raw[at + 1] ?? "");
      return values.join(", ");
    }
    case "host":
      return host;
  }
}

/** Name and value pairs, in order. */
export function pairs(raw: readonly string[]): HeaderList {
  const headers: [string, string][] = new Array(raw.length >> 1);
  for (let at = 0; at + 1 < raw.length; at += 2) headers[at >> 1] = [raw[at] ?? "", raw[at + 1] ?? ""];
  return headers;
}
