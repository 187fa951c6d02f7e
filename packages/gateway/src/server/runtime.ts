// What requests are served with: the parts that live as long as the gateway, and those that a reload replaces.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Budget, Layer } from "onceward/http";
import type { Logger } from "pino";
import type { Accounts } from "../accounts/accounts.js";
import type { GatewayConfig } from "../config/config.js";
import type { Metrics, RequestKind } from "../metrics.js";
import type { Upstreams } from "../upstream/upstreams.js";
import type { WellKnown } from "../well-known/well-known.js";
import type { Forwarding } from "./forwarding.js";
import type { HeadRules, RequestTarget } from "./request-head.js";
import type { CompiledRoute, Router } from "./router.js";

/** One configuration at work. Requests keep the one they began with. */
export interface Generation {
  readonly config: GatewayConfig;
  readonly route: Router;
  /** Stands for the route of what belongs to none. */
  readonly unrouted: CompiledRoute;
  readonly accounts: Accounts;
  readonly layer: Layer;
  readonly upstreams: Upstreams;
  readonly forwarding: Forwarding;
  readonly head: HeadRules;
  readonly wellKnown: WellKnown;
  readonly showPath: (path: string) => string;
}

/** The gateway's own state. */
export interface Runtime {
  current: Generation;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** What the engine said of operations under way, by the id of their run. */
  readonly runs: Map<string, RequestKind>;
  /** Memory for the bodies of keyed requests and their answers. */
  readonly memory: Budget;
  /** Disk for spooled bodies. */
  readonly disk: Budget;
  /** Requests and tunnels under way. */
  readonly exchanges: Set<Exchange>;
  /** Keyed requests under way. */
  keyed: number;
  /** Called when no exchange is left. */
  onIdle: (() => void) | null;
  /** Set when the gateway is to stop: connections close after their answer. */
  stopping: boolean;
}

/** One request and its answer. */
export class Exchange {
  readonly runtime: Runtime;
  readonly generation: Generation;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: RequestTarget;
  readonly route: CompiledRoute;
  readonly expectsContinue: boolean;
  readonly startedAt: number = performance.now();
  kind: RequestKind = "unkeyed";
  /** The code of the problem it was answered with, if it was. */
  code: string | undefined;
  /** What the layer has taken of it so far, in milliseconds. */
  layerMs = 0;
  /** Whether `100 Continue` was sent. */
  wasContinued = false;
  /** Called once when the last byte was handed over or the client is gone. */
  onClosed: ((clientGone: boolean) => void) | null = null;
  /** Whether the operation still runs though the client may have gone. */
  #held = 0;
  #closed = false;

  constructor(facts: {
    readonly runtime: Runtime;
    readonly generation: Generation;
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    readonly target: RequestTarget;
    readonly route: CompiledRoute;
    readonly expectsContinue: boolean;
  }) {
    this.runtime = facts.runtime;
    this.generation = facts.generation;
    this.request = facts.request;
    this.response = facts.response;
    this.target = facts.target;
    this.route = facts.route;
    this.expectsContinue = facts.expectsContinue;
    this.runtime.exchanges.add(this);
    this.response.once("close", () => this.#close());
  }

  get config(): GatewayConfig {
    return this.generation.config;
  }

  /** Whether nobody is left to be answered. */
  get clientGone(): boolean {
    return this.#closed;
  }

  /** Keeps the exchange counted, also without a client, until {@link release}. */
  hold(): void {
    this.#held += 1;
  }

  release(): void {
    this.#held -= 1;
    this.#settle();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { response, runtime } = this;
    const gone = !response.writableFinished;
    runtime.metrics.request(this.route.route?.name ?? null, this.kind, this.code);
    if (runtime.log.isLevelEnabled("debug")) this.#log(gone);
    this.onClosed?.(gone);
    this.#settle();
  }

  #log(gone: boolean): void {
    const { request, response, route, kind, code } = this;
    const path = this.generation.showPath(this.target.path);
    const ms = Math.round(performance.now() - this.startedAt);
    const facts = {
      method: request.method,
      path,
      route: route.name,
      status: response.statusCode,
      ms,
      kind,
      code,
      gone,
    };
    this.runtime.log.debug(facts, "served");
  }

  #settle(): void {
    if (!this.#closed || this.#held > 0) return;
    this.runtime.exchanges.delete(this);
    if (this.runtime.exchanges.size === 0) this.runtime.onIdle?.();
  }
}
