import type { EngineEvent } from "onceward";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createMetrics } from "../../src/metrics.js";
import { ask, type Fixture, hex, start } from "./make.js";

let fixture: Fixture;
beforeEach(async () => {
  fixture = await start();
});
afterEach(() => fixture.close());

type Samples = ReadonlyMap<string, number>;

/** Reads the text format strictly: each line a comment or a sample, each metric with help and type before it. */
async function scrape(): Promise<Samples> {
  const answer = await ask(fixture.admin, "/metrics");
  expect(answer.status).toBe(200);
  expect(answer.headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(answer.text.endsWith("\n")).toBe(true);
  const samples = new Map<string, number>();
  const described = new Set<string>();
  for (const line of answer.text.split("\n").filter((text) => text !== "")) {
    const comment = /^# (?:HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) \S/.exec(line);
    if (comment?.[1] !== undefined) {
      described.add(comment[1]);
      continue;
    }
    const sample = /^(([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})?) (\S+)$/.exec(
      line,
    );
    expect(sample, line).not.toBeNull();
    const [, series = "", name = "", value = ""] = sample ?? [];
    expect(
      [...described].some((known) => name === known || name.startsWith(`${known}_`)),
      line,
    ).toBe(true);
    samples.set(series, Number(value));
  }
  return samples;
}

const event = (of: Partial<EngineEvent> & { type: EngineEvent["type"] }, runId = "r1"): EngineEvent =>
  ({ runId, recordId: hex(32), ...of }) as EngineEvent;

test("requests are counted by route, kind and code", async () => {
  const { metrics } = fixture;
  metrics.request("POST /v1/transfers", "run");
  metrics.request("POST /v1/transfers", "replayed");
  metrics.request("POST /v1/transfers", "replayed");
  metrics.request("POST /v1/transfers", "refused", "key_reused");
  metrics.request(null, "unkeyed");
  const samples = await scrape();
  const count = (labels: string): number | undefined => samples.get(`onceward_requests_total{${labels}}`);
  expect(count('route="POST /v1/transfers",kind="run",code=""')).toBe(1);
  expect(count('route="POST /v1/transfers",kind="replayed",code=""')).toBe(2);
  expect(count('route="POST /v1/transfers",kind="refused",code="key_reused"')).toBe(1);
  expect(count('route="none",kind="unkeyed",code=""')).toBe(1);
  expect(samples.get('onceward_build_info{version="1.2.3"}')).toBe(1);
});

test("a route's name cannot break the format", async () => {
  fixture.metrics.request('POST /a"b\\c\nd{}', "run");
  expect([...(await scrape()).keys()].filter((series) => series.includes("/a"))).toHaveLength(1);
});

test("durations are histograms in seconds", async () => {
  fixture.metrics.layerTook(2);
  fixture.metrics.upstreamTook("POST /v1/transfers", 40);
  const samples = await scrape();
  expect(samples.get('onceward_layer_seconds_bucket{le="0.001"}')).toBe(0);
  expect(samples.get('onceward_layer_seconds_bucket{le="0.0025"}')).toBe(1);
  expect(samples.get("onceward_layer_seconds_sum")).toBeCloseTo(0.002);
  expect(samples.get('onceward_upstream_seconds_bucket{le="0.05",route="POST /v1/transfers"}')).toBe(1);
});

test("what is under way, what waits and what is still to be recorded go up and down", async () => {
  const { metrics } = fixture;
  const ends = [metrics.began(), metrics.began()];
  metrics.onEvent(event({ type: "waiting" }, "w1"));
  metrics.onEvent(event({ type: "waiting" }, "w2"));
  metrics.onEvent(event({ type: "recording-deferred" }, "d1"));
  let samples = await scrape();
  const levels = (): (number | undefined)[] =>
    ["in_flight_requests", "waiting_requests", "recordings_pending"].map((name) => samples.get(`onceward_${name}`));
  expect(levels()).toEqual([2, 2, 1]);
  for (const end of [...ends, ...ends]) end();
  metrics.onEvent(event({ type: "replayed", of: "r0" }, "w1"));
  metrics.onEvent(event({ type: "refused", code: "in_progress" }, "w2"));
  metrics.onEvent(event({ type: "recorded", late: true }, "d1"));
  samples = await scrape();
  expect(levels()).toEqual([0, 0, 0]);
});

test("failures of the store, purges and what left the history are counted", async () => {
  const { metrics } = fixture;
  metrics.onEvent(event({ type: "store-failed", operation: "claim", error: new Error("x") }));
  metrics.purged(500);
  metrics.trimmed(20);
  metrics.watch({ bufferBytes: () => 4_096, spoolBytes: () => 0, connections: () => 7, droppedRuns: () => 3 });
  const samples = await scrape();
  expect(samples.get('onceward_store_failures_total{operation="claim"}')).toBe(1);
  expect(samples.get('onceward_events_total{type="store-failed"}')).toBe(1);
  expect(samples.get("onceward_records_purged_total")).toBe(500);
  expect(samples.get("onceward_runs_trimmed_total")).toBe(20);
  expect(samples.get("onceward_dropped_runs")).toBe(3);
  expect(samples.get("onceward_buffer_bytes")).toBe(4_096);
  expect(samples.get("onceward_connections")).toBe(7);
});

test("9.2 no series grows with accounts, keys, runs or records", async () => {
  const before = (await scrape()).size;
  for (let index = 0; index < 200; index += 1) fixture.metrics.onEvent(event({ type: "claimed" }, `run-${index}`));
  const samples = await scrape();
  expect(samples.size).toBe(before + 1);
  expect([...samples.keys()].join()).not.toContain("run-");
});

test("the process and its event loop are measured, in a registry of this gateway's own", async () => {
  const one = createMetrics();
  const two = createMetrics();
  const text = await one.registry.metrics();
  expect(text).toContain("nodejs_eventloop_lag_p99_seconds");
  expect(text).toContain("process_resident_memory_bytes");
  one.purged(1);
  expect(await two.registry.metrics()).toContain("onceward_records_purged_total 0");
});
