// Makes what requests are served with out of a configuration; a reload makes it anew.

import { IdempotencyError, type RecoverFunction, type Store, unsuitableStore } from "onceward";
import { compileRoutePattern, createLayer, DOCUMENT_PATH, type Layer, type LayerOptions } from "onceward/http";
import { createAccounts } from "../accounts/accounts.js";
import type { GatewayConfig } from "../config/config.js";
import { longestRetentionMs } from "../config/routes.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics.js";
import { askFault, createAsk } from "../upstream/ask.js";
import { Upstreams } from "../upstream/upstreams.js";
import { createWellKnown } from "../well-known/well-known.js";
import { createForwarding } from "./forwarding.js";
import { hostOf } from "./request-head.js";
import { createRouter, unroutedTo } from "./router.js";
import type { Generation, Runtime } from "./runtime.js";

export interface GenerationParts {
  readonly store: Store;
  /** This gateway's name in `Via`. */
  readonly via: string;
  readonly layer: Layer;
  readonly log: Logger;
}

/**
 * @throws IdempotencyError `config_invalid` where the store cannot keep a policy's promise or an account key is no use,
 *   `store_unavailable`; errors of the file system for TLS files.
 */
export async function createGeneration(
  config: GatewayConfig,
  { store, via, layer, log }: GenerationParts,
): Promise<Generation> {
  for (const { name, policy } of config.routes) {
    if (policy === null) continue;
    const { onInterrupted } = policy;
    const asks = typeof onInterrupted === "object" && "ask" in onInterrupted;
    const fault = unsuitableStore(policy, store.info) ?? (asks ? askFault(onInterrupted.ask) : null);
    if (fault !== null) throw new IdempotencyError("config_invalid", `route ${name}: ${fault}`);
  }
  const accounts = await createAccounts(config.account, store, {
    longestRetentionMs: longestRetentionMs(config.routes),
  });
  const { upstreamTls: tls, timeouts, limits } = config;
  const onFault = (error: Error): void => log.error({ err: error }, "an answer was not handled well");
  const upstreams = new Upstreams({ tls, timeouts, limits, onFault });
  const route = createRouter(config, upstreams);
  const { routes, namespace } = config;
  const wellKnown = createWellKnown({
    routes,
    namespace,
    layer,
    accounts,
    findRoute: (method, path, request) => {
      const host = request.headers.find(([name]) => name.toLowerCase() === "host")?.[1] ?? "";
      const rawHeaders = request.headers.flat();
      return route({ method, path, host: hostOf(host), rawHeaders }).route;
    },
  });
  return {
    config,
    route,
    unrouted: unroutedTo(config.upstream, upstreams),
    accounts,
    layer,
    upstreams,
    forwarding: createForwarding(config, via),
    head: { maxHeaders: limits.maxHeaders, once: sentOnce(config) },
    wellKnown,
    showPath: pathShower(config.redactPaths),
  };
}

/** What the layer takes from outside, with `runtime` for what a reload may replace. */
export interface LayerParts {
  readonly store: Store;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Not called before requests are served. */
  readonly runtime: () => Runtime;
}

type LayerSettings = Pick<
  LayerOptions,
  "storeTimeoutMs" | "maxWaitersPerKey" | "maxWaiters" | "newKeysPerSecond" | "hashKeys"
>;

/** The settings that a layer cannot change while it lives; where they differ after a reload there is a new one. */
export function layerSettings({ limits, timeouts, hashKeys }: GatewayConfig): LayerSettings {
  return {
    storeTimeoutMs: timeouts.storeMs,
    maxWaitersPerKey: limits.maxWaitersPerKey,
    maxWaiters: limits.maxWaiters,
    newKeysPerSecond: limits.newKeysPerSecond,
    hashKeys,
  };
}

export function createGatewayLayer(config: GatewayConfig, { store, metrics, log, runtime }: LayerParts): Layer {
  return createLayer({
    store,
    ...layerSettings(config),
    policyDocument: DOCUMENT_PATH,
    showPath: (path) => runtime().current.showPath(path),
    ask: (template) => asker(template, runtime, log),
    onObserved({ id, method, path, route, status, code }) {
      metrics.observed(route, code ?? "");
      const facts = { run: id, method, path, route, status, would: code };
      // What would have been otherwise is what is looked for.
      if (code === "run") log.debug(facts, "observed");
      else log.info(facts, "observed");
    },
    onEvent(event) {
      metrics.onEvent(event);
      const { runs } = runtime();
      switch (event.type) {
        case "released":
          if (runs.has(event.runId)) runs.set(event.runId, "not_started");
          break;
        case "store-failed":
          log.warn({ operation: event.operation, err: event.error }, "a store operation failed");
          break;
        case "interrupted":
          log.warn({ run: event.of, status: event.status }, "an operation was interrupted: its outcome is unknown");
          if (runs.has(event.of)) runs.set(event.of, "unknown");
          break;
        case "claim-lost":
          log.warn({ run: event.runId }, "a claim was lost: what the operation answered is not recorded");
      }
    },
  });
}

/** Asks with the upstreams of the configuration that is current when it is asked. */
function asker(template: string, runtime: () => Runtime, log: Logger): RecoverFunction {
  return (interrupted) => {
    const { config, upstreams } = runtime().current;
    const asking = config.routes
      .flatMap(({ policy }) => (policy === null ? [] : [policy]))
      .filter(
        ({ onInterrupted }) =>
          typeof onInterrupted === "object" && "ask" in onInterrupted && onInterrupted.ask === template,
      );
    const maxBodyBytes = Math.max(0, ...asking.map((policy) => policy.maxBodyBytes));
    const onFailure = (error: unknown): void =>
      log.warn({ err: error }, "the upstream could not be asked about an interrupted operation");
    return createAsk(template, { upstreams, timeoutMs: config.timeouts.upstreamHeadersMs, maxBodyBytes, onFailure })(
      interrupted,
    );
  };
}

/** The fields that say which route and environment a request is under. */
function sentOnce({ environment, routes }: GatewayConfig): ReadonlySet<string> {
  const names = environment.from === "header" ? [environment.header] : [];
  for (const { when } of routes) if (when !== null && "header" in when) names.push(when.header);
  return new Set(names.map((name) => name.toLowerCase()));
}

function pathShower(patterns: readonly string[]): (path: string) => string {
  const hidden = patterns.map((pattern) => compileRoutePattern(pattern));
  return (path) => (hidden.some((matches) => matches(path)) ? "[redacted]" : path);
}
