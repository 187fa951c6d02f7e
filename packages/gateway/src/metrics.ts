// What the gateway counts, for Prometheus. Labels are names of routes and codes, never accounts, keys or paths.

import type { EngineEvent } from "onceward";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** What became of one request. */
export type RequestKind =
  /** Went through without the layer: no key, or a route without a policy. */
  | "unkeyed"
  /** Ran, and its answer is recorded (or was not to be kept). */
  | "run"
  | "replayed"
  /** Answered by the layer itself; the code says why. */
  | "refused"
  /** Did not start; the key is unused. */
  | "not_started"
  | "unknown"
  | "bypassed"
  | "observed";

/** Values that are read when somebody looks. */
export interface GaugeSources {
  /** Memory that bodies of keyed requests and answers take. */
  readonly bufferBytes?: () => number;
  /** Disk that spooled request bodies take. */
  readonly spoolBytes?: () => number;
  readonly connections?: () => number;
  /** Runs that were never written since the store did not keep up. */
  readonly droppedRuns?: () => number;
}

export interface Metrics {
  readonly registry: Registry;
  /** Counts what the engine did, and follows who waits and what is still to be recorded. */
  onEvent(event: EngineEvent): void;
  /** One request is over. `route` is a configured route's name, or null where none matched. */
  request(route: string | null, kind: RequestKind, code?: string): void;
  /** One request that was only watched is over; `code` says what enforcing would have done. */
  observed(route: string, code: string): void;
  /** What the layer itself took of a keyed request, in milliseconds. */
  layerTook(ms: number): void;
  /** From the request's first byte to the upstream until its answer was complete, in milliseconds. */
  upstreamTook(route: string | null, ms: number): void;
  /** A keyed request is under way until the returned function is called. */
  began(): () => void;
  /** Expired records that a purge deleted. */
  purged(count: number): void;
  /** Runs that left the history since there are too many. */
  trimmed(count: number): void;
  watch(sources: GaugeSources): void;
}

const NO_ROUTE = "none";
/** Seconds; the layer adds fractions of a millisecond to tens of them. */
const LAYER_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];
const UPSTREAM_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Metrics of one gateway, in a registry of their own. `process` adds those of the process (memory, event loop). */
export function createMetrics(options: { readonly version?: string; readonly process?: boolean } = {}): Metrics {
  const registry = new Registry();
  if (options.process !== false) collectDefaultMetrics({ register: registry });
  const counters = makeCounters(registry);
  const gauges = makeGauges(registry, options.version ?? "unknown");
  const registers = [registry];
  const layer = new Histogram({
    name: "onceward_layer_seconds",
    help: "Time that Onceward itself took of a keyed request, store included, upstream excluded.",
    buckets: LAYER_BUCKETS,
    registers,
  });
  const upstream = new Histogram({
    name: "onceward_upstream_seconds",
    help: "Time from the first byte sent to the upstream until its answer was complete.",
    labelNames: ["route"],
    buckets: UPSTREAM_BUCKETS,
    registers,
  });
  const follow = follower(gauges.waiting, gauges.pending);
  return {
    registry,
    onEvent(event) {
      counters.events.inc({ type: event.type });
      if (event.type === "store-failed") counters.storeFailures.inc({ operation: event.operation });
      follow(event);
    },
    request: (route, kind, code) => counters.requests.inc({ route: route ?? NO_ROUTE, kind, code: code ?? "" }),
    observed: (route, code) => counters.observed.inc({ route, code }),
    layerTook: (ms) => layer.observe(ms / 1_000),
    upstreamTook: (route, ms) => upstream.observe({ route: route ?? NO_ROUTE }, ms / 1_000),
    began() {
      gauges.inFlight.inc();
      let under = true;
      return () => {
        if (under) gauges.inFlight.dec();
        under = false;
      };
    },
    purged: (count) => counters.purged.inc(count),
    trimmed: (count) => counters.trimmed.inc(count),
    watch: (sources) => watch(registry, sources),
  };
}

function makeCounters(registry: Registry) {
  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> =>
    new Counter({ name, help, labelNames: [...labelNames], registers: [registry] });
  return {
    requests: counter(
      "onceward_requests_total",
      "Requests by route, by what became of them, and by code where refused.",
      ["route", "kind", "code"],
    ),
    observed: counter(
      "onceward_observed_total",
      "Keyed requests under mode: observe, by what enforcing would have done: run, replay, or the code of a refusal.",
      ["route", "code"],
    ),
    events: counter("onceward_events_total", "What the engine did.", ["type"]),
    storeFailures: counter("onceward_store_failures_total", "Store operations that failed or took too long.", [
      "operation",
    ]),
    purged: counter("onceward_records_purged_total", "Expired records that were deleted.", []),
    trimmed: counter("onceward_runs_trimmed_total", "Runs that left the history to make room.", []),
  };
}

function makeGauges(registry: Registry, version: string) {
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers: [registry] });
  const build = new Gauge({
    name: "onceward_build_info",
    help: "Always 1.",
    labelNames: ["version"],
    registers: [registry],
  });
  build.set({ version }, 1);
  return {
    inFlight: gauge("onceward_in_flight_requests", "Keyed requests under way."),
    waiting: gauge("onceward_waiting_requests", "Duplicates that wait for a running operation."),
    pending: gauge("onceward_recordings_pending", "Answers that were sent and could not be recorded yet."),
  };
}

/** Follows runs that wait, and runs whose recording was put off: each ends with another event of the same run. */
function follower(waiting: Gauge, pending: Gauge): (event: EngineEvent) => void {
  const waits = new Set<string>();
  const deferred = new Set<string>();
  return (event) => {
    const { type, runId } = event;
    if (type === "waiting") waits.add(runId);
    else if (WAIT_ENDS.has(type)) waits.delete(runId);
    if (type === "recording-deferred") deferred.add(runId);
    else if (DEFERRED_ENDS.has(type)) deferred.delete(runId);
    waiting.set(waits.size);
    pending.set(deferred.size);
  };
}

const WAIT_ENDS: ReadonlySet<EngineEvent["type"]> = new Set(["claimed", "taken-over", "replayed", "refused"]);
const DEFERRED_ENDS: ReadonlySet<EngineEvent["type"]> = new Set(["recorded", "recording-abandoned", "claim-lost"]);

function watch(registry: Registry, sources: GaugeSources): void {
  const gauge = (name: string, help: string, read: (() => number) | undefined): void => {
    if (read === undefined) return;
    registry.removeSingleMetric(name);
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  gauge("onceward_buffer_bytes", "Memory that bodies of keyed requests and answers take.", sources.bufferBytes);
  gauge("onceward_spool_bytes", "Disk that spooled request bodies take.", sources.spoolBytes);
  gauge("onceward_connections", "Open client connections.", sources.connections);
  gauge("onceward_dropped_runs", "Runs that the store was too slow to take into the history.", sources.droppedRuns);
}
