// An admin server on real stores, for the tests of the admin interface.
import { randomBytes } from "node:crypto";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import type { Run, Store } from "onceward";
import { encodeResponse } from "onceward/http";
import { memoryStore } from "onceward/stores/memory";
import { type FakeClock, fakeClock } from "onceward/testing";
import { type AdminServer, startAdmin } from "../../src/admin/admin-server.js";
import { timeOrderedId } from "../../src/admin/time-ordered-id.js";
import { createLogger } from "../../src/log.js";
import { createMetrics, type Metrics } from "../../src/metrics.js";

export const LEASE_MS = 30_000;
export const hex = (bytes: number): string => randomBytes(bytes).toString("hex");

export interface Fixture {
  readonly store: Store;
  readonly clock: FakeClock;
  readonly metrics: Metrics;
  readonly admin: AdminServer;
  readonly lines: string[];
  stopping: boolean;
  close(): Promise<void>;
}

export async function start(
  options: { readonly token?: string; readonly host?: string; readonly wrap?: (store: Store) => Store } = {},
): Promise<Fixture> {
  const clock = fakeClock(Date.now());
  const memory = memoryStore({ clock });
  await memory.open();
  const store = options.wrap?.(memory) ?? memory;
  const metrics = createMetrics({ version: "1.2.3", process: false });
  const lines: string[] = [];
  const log = createLogger({ level: "debug", format: "json", to: { write: (line) => void lines.push(line) } });
  const config = { admin: { host: options.host ?? "127.0.0.1", port: 0 }, adminToken: options.token ?? null };
  const fixture = { stopping: false };
  const admin = await startAdmin(config, { store, metrics, log, version: "1.2.3", stopping: () => fixture.stopping });
  return Object.assign(fixture, {
    store,
    clock,
    metrics,
    admin,
    lines,
    async close() {
      await admin.close();
      await memory.close();
    },
  });
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON. */
  readonly json: Record<string, unknown>;
}

/** A request as a client would send it, with any Host and Origin. */
export function ask(
  admin: AdminServer,
  path: string,
  options: {
    readonly method?: string;
    readonly headers?: Record<string, string | string[]>;
    readonly body?: string | Buffer;
    readonly json?: unknown;
  } = {},
): Promise<Answer> {
  const { json, method = json === undefined ? "GET" : "POST" } = options;
  const body = json === undefined ? options.body : JSON.stringify(json);
  const headers = json === undefined ? options.headers : { "Content-Type": "application/json", ...options.headers };
  return new Promise((resolve, reject) => {
    const { host, port } = admin.address;
    const request = httpRequest({ host, port, path, method, headers: headers ?? {}, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        const isJson = /json/.test(response.headers["content-type"] ?? "") && text !== "";
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: isJson ? JSON.parse(text) : {},
        });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

export interface Claimed {
  readonly id: string;
  readonly fence: string;
  readonly runId: string;
}

/** A record in the state that a request leaves it in, and its run in the history. */
export async function claim(
  store: Store,
  labels: { readonly account?: string; readonly key?: string } = {},
): Promise<Claimed> {
  const { account = "acme", key = "key-1" } = labels;
  const made = { id: hex(32), fence: hex(16), runId: timeOrderedId(Date.now()) };
  const result = await store.claim({
    id: made.id,
    fence: made.fence,
    fingerprint: null,
    ageMs: 0,
    retention: { forMs: 86_400_000 },
    leaseMs: LEASE_MS,
    labels: { account, key, operation: "POST /v1/transfers", runId: made.runId },
  });
  if (result.outcome !== "claimed") throw new Error(`not claimed: ${result.outcome}`);
  await store.history?.putRuns([
    run({ id: made.runId, recordId: made.id, account, key, outcome: "running", status: null }),
  ]);
  return made;
}

export async function unknown(
  store: Store,
  labels?: { readonly account?: string; readonly key?: string },
): Promise<Claimed> {
  const made = await claim(store, labels);
  if (!(await store.interrupt(made.id, made.fence, 502, "owner"))) throw new Error("not interrupted");
  await store.history?.amendRun(made.runId, { outcome: "unknown", status: 502 });
  return made;
}

export async function done(
  store: Store,
  labels?: { readonly account?: string; readonly key?: string },
): Promise<Claimed> {
  const made = await claim(store, labels);
  const body = new TextEncoder().encode('{"secret":"of the account"}');
  const headers = [
    ["Content-Type", "application/json"],
    ["X-Secret", "hunter2"],
  ] as const;
  await store.complete(made.id, made.fence, {
    status: 201,
    payload: encodeResponse({ status: 201, headers, body }),
  });
  return made;
}

export function run(values: Partial<Run>): Run {
  return {
    id: timeOrderedId(values.at ?? Date.now()),
    at: Date.now(),
    recordId: null,
    account: "acme",
    key: "key-1",
    method: "POST",
    path: "/v1/transfers",
    route: "POST /v1/transfers",
    status: 201,
    durationMs: 1.5,
    outcome: "recorded",
    code: null,
    steps: [],
    flags: [],
    replayOf: null,
    ...values,
  };
}
