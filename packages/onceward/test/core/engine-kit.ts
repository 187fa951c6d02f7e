// What the engine's tests are built with: an engine over a memory store with faults, all on one fake clock.

import { type BeginRequest, type Begun, Engine, type EngineOptions } from "../../src/core/engine.js";
import type { EngineEvent } from "../../src/core/events.js";
import type { Store } from "../../src/core/store.js";
import { hmac } from "../../src/http/scope.js";
import { memoryStore } from "../../src/stores/memory.js";
import { type FakeClock, fakeClock } from "../../src/testing/fake-clock.js";
import { type Fault, type FaultOperation, type FaultStore, faultStore } from "../../src/testing/fault-store.js";

export const LEASE_MS = 3_000;
const TIMEOUT_MS = 500;
export const ID = "1".repeat(64);

export interface Kit {
  readonly clock: FakeClock;
  /** The store without faults. */
  readonly store: Store;
  readonly faulty: FaultStore;
  readonly engine: Engine;
  readonly events: EngineEvent[];
  /** Names of the events so far, in order. */
  types(): string[];
  /** How often an operation of the store was called. */
  count(operation: FaultOperation): number;
  /** Every further call of these operations has this fault; without one, all faults end. */
  fault(fault?: Fault, ...operations: FaultOperation[]): void;
  /** Another node on the same store, without faults. */
  node(options?: Partial<EngineOptions>): Engine;
}

export function kit(options: Partial<EngineOptions> = {}): Kit {
  const clock = fakeClock();
  const store = memoryStore({ clock });
  const faulty = faultStore(store, () => undefined, { clock });
  const events: EngineEvent[] = [];
  const shared = { clock, hmac, storeTimeoutMs: TIMEOUT_MS };
  const engine = new Engine({ store: faulty, onEvent: (event) => events.push(event), ...shared, ...options });
  return {
    clock,
    store,
    faulty,
    engine,
    events,
    types: () => events.map((event) => event.type),
    count: (operation) => faulty.calls.filter((call) => call.operation === operation).length,
    fault(fault, ...operations) {
      faulty.plan = ({ operation }) => (operations.includes(operation) ? fault : undefined);
    },
    node: (more = {}) => new Engine({ store, ...shared, ...more }),
  };
}

let runs = 0;

export function request(clock: FakeClock, over: Partial<BeginRequest> = {}): BeginRequest {
  return {
    id: ID,
    labels: { account: "a", key: "k", operation: "POST /", runId: `r${++runs}` },
    fingerprint: "x1:aa",
    retention: { forMs: 86_400_000 },
    arrivedAtMonotonicMs: clock.monotonic(),
    leaseMs: LEASE_MS,
    waitMs: 0,
    rules: rules("hold"),
    refusal: null,
    ask: null,
    ...over,
  };
}

export function rules(onInterrupted: "hold" | "rerun" | "recover", waits = false): BeginRequest["rules"] {
  return { onMismatch: "reject", duplicates: "replay", waits, onInterrupted };
}

export function answer(text: string, status = 200): { status: number; payload: Uint8Array } {
  return { status, payload: new TextEncoder().encode(text) };
}

/** Runs the clock until a promise settles, or fails after an hour of it. */
export async function within<T>(clock: FakeClock, promise: Promise<T>, ms = 3_600_000): Promise<T> {
  let settled = false;
  const end = (): void => {
    settled = true;
  };
  promise.then(end, end);
  for (let left = ms; !settled && left > 0; left -= 10) await clock.run(10);
  if (!settled) throw new Error(`nothing came of it within ${ms} ms`);
  return promise;
}

export function owned(begun: Begun): Extract<Begun, { kind: "owned" }>["claim"] {
  if (begun.kind !== "owned") throw new Error(`not owned: ${JSON.stringify(begun)}`);
  return begun.claim;
}

/** A short word for what a request got. */
export function told(begun: Begun): string {
  if (begun.kind === "owned") return begun.claim.tookOver ? "took over" : "owned";
  if (begun.kind === "replay") return `replay ${new TextDecoder().decode(begun.record.payload ?? undefined)}`;
  return begun.kind === "unknown" ? `unknown ${begun.status}` : `refused ${begun.code}`;
}

/** A claim whose owner died: it is never ended nor renewed, and its lease has lapsed. */
export async function interrupted(kit: Kit, over: Partial<BeginRequest> = {}): Promise<void> {
  const { clock, store } = kit;
  const { labels, fingerprint, retention, leaseMs, id } = request(clock, over);
  await store.claim({ id, fence: "d".repeat(32), fingerprint, ageMs: 0, retention, leaseMs, labels });
  await clock.run(leaseMs);
}
