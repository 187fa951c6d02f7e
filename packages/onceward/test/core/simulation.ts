// A world of several nodes on one store, in fake time, where nodes crash, clocks step and the store's answers get lost.

import type { Clock } from "../../src/core/clock.js";
import { sleep } from "../../src/core/clock.js";
import { type BeginRequest, type Begun, Engine } from "../../src/core/engine.js";
import type { MachineRules } from "../../src/core/machine.js";
import type { Store } from "../../src/core/store.js";
import { memoryStore } from "../../src/stores/memory.js";
import { type FakeClock, fakeClock } from "../../src/testing/fake-clock.js";
import { type FaultRates, faultStore, randomFaults } from "../../src/testing/fault-store.js";
import { seededRandom } from "../../src/testing/random.js";

const LEASE_MS = 3_000;
const STORE_TIMEOUT_MS = 500;
const never = new Promise<never>(() => {});

/** What an operation does: it answers, it turns out not to have started, or it is cut off after it took effect. */
export type Behaviour = "answer" | "not-started" | "cut-off";

export interface Visit {
  readonly atMs: number;
  readonly key: string;
  /** Which node serves the first attempt; retries go round. */
  readonly node: number;
  readonly body: "a" | "b";
  readonly behaviour: Behaviour;
  readonly durationMs: number;
}

export interface Scenario {
  readonly nodes: number;
  readonly seed: number;
  readonly faults: FaultRates;
  readonly onInterrupted: MachineRules["onInterrupted"];
  readonly onMismatch: MachineRules["onMismatch"];
  readonly waitMs: number;
  readonly visits: readonly Visit[];
  /** Node and the number of steps (of its own awaits) after which it dies. */
  readonly crashes: readonly { readonly node: number; readonly afterSteps: number }[];
  /** Steps of the wall clock all nodes and the store see. */
  readonly clockSteps: readonly { readonly atMs: number; readonly byMs: number }[];
}

/** What there was to see. */
export interface Outcome {
  /** How often the operation of each key took effect. */
  readonly effects: ReadonlyMap<string, number>;
  /** The different answers of the operation that anybody was given, by key. */
  readonly answers: ReadonlyMap<string, ReadonlySet<string>>;
  /** What a fresh node finds in the end, when all faults are over, by key. */
  readonly finally: ReadonlyMap<string, Begun["kind"] | "in_progress">;
  readonly crashed: boolean;
  /** Steps that each node made. */
  readonly steps: readonly number[];
  /** Attempts that never came to an end though their node lives. */
  readonly hanging: number;
}

class Node {
  readonly engine: Engine;
  alive = true;
  steps = 0;
  readonly #dieAfter: number;

  constructor(base: FakeClock, store: Store, dieAfter: number) {
    this.#dieAfter = dieAfter;
    const clock: Clock = {
      now: () => base.now(),
      monotonic: () => base.monotonic(),
      after: (ms, fn) => base.after(ms, () => void (this.alive && fn())),
    };
    this.engine = new Engine({ store: this.#mortal(store), clock, storeTimeoutMs: STORE_TIMEOUT_MS });
  }

  /** One await of the node: it may die here, and whatever awaits then never goes on. */
  async step(): Promise<void> {
    this.steps++;
    if (this.steps >= this.#dieAfter) this.alive = false;
    if (!this.alive) await never;
  }

  #mortal(store: Store): Store {
    return new Proxy(store, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== "function") return member;
        return async (...args: unknown[]): Promise<unknown> => {
          await this.step();
          try {
            return await Reflect.apply(member, target, args);
          } finally {
            await this.step();
          }
        };
      },
    });
  }
}

class World {
  readonly clock: FakeClock = fakeClock();
  readonly effects = new Map<string, number>();
  readonly answers = new Map<string, Set<string>>();
  readonly nodes: Node[];
  readonly store: Store;
  readonly #scenario: Scenario;
  #runs = 0;
  pending = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.store = memoryStore({ clock: this.clock });
    this.nodes = Array.from({ length: scenario.nodes }, (_, index) => {
      const plan = randomFaults(scenario.seed + index, scenario.faults);
      const dieAfter = scenario.crashes.find(({ node }) => node === index)?.afterSteps ?? Number.POSITIVE_INFINITY;
      return new Node(this.clock, faultStore(this.store, plan, { clock: this.clock }), dieAfter);
    });
  }

  /** A client: retries on another node until it has a final answer, or loses patience. */
  async client(visit: Visit): Promise<void> {
    for (let attempt = 0; attempt < 6; attempt++) {
      const node = this.nodes[(visit.node + attempt) % this.nodes.length] as Node;
      const gaveUp = sleep(this.clock, 4 * LEASE_MS).then(() => "again" as const);
      const final = await Promise.race([this.#attempt(node, visit), gaveUp]);
      if (final === "final") return;
      await sleep(this.clock, 400);
    }
  }

  async #attempt(node: Node, visit: Visit): Promise<"final" | "again"> {
    if (!node.alive) return "again";
    this.pending++;
    const done = (): void => void this.pending--;
    const served = this.#serve(node, visit);
    served.then(done, done);
    return served;
  }

  async #serve(node: Node, visit: Visit): Promise<"final" | "again"> {
    const begun = await node.engine.begin(this.request(visit));
    await node.step();
    if (begun.kind === "replay") {
      this.#gave(visit.key, new TextDecoder().decode(begun.record.payload ?? undefined));
      return "final";
    }
    if (begun.kind === "unknown") return "final";
    if (begun.kind === "refused") return begun.code === "key_reused" ? "final" : "again";
    return this.#run(node, begun.claim, visit);
  }

  async #run(node: Node, claim: Extract<Begun, { kind: "owned" }>["claim"], visit: Visit): Promise<"final" | "again"> {
    const run = ++this.#runs;
    await node.step();
    if (visit.behaviour === "not-started") {
      await claim.release();
      return "again";
    }
    this.effects.set(visit.key, (this.effects.get(visit.key) ?? 0) + 1);
    await sleep(this.clock, visit.durationMs);
    await node.step();
    if (visit.behaviour === "cut-off") {
      await claim.interrupt(502);
      return "again";
    }
    const answer = `run ${run} of ${visit.key}`;
    const recording = await claim.complete({ status: 200, payload: new TextEncoder().encode(answer) });
    await node.step();
    if (recording === "lost" || recording === "unrecorded") return "again";
    this.#gave(visit.key, answer);
    return "final";
  }

  #gave(key: string, answer: string): void {
    const given = this.answers.get(key) ?? new Set();
    this.answers.set(key, given.add(answer));
  }

  request({ key, body }: Pick<Visit, "key" | "body">): BeginRequest {
    const { onMismatch, onInterrupted, waitMs } = this.#scenario;
    return {
      id: key,
      labels: { account: "a", key, operation: "POST /", runId: `r${this.#runs}` },
      fingerprint: `x1:${body}`,
      retention: { forMs: 400 * 86_400_000 },
      arrivedAtMonotonicMs: this.clock.monotonic(),
      leaseMs: LEASE_MS,
      waitMs,
      rules: { onMismatch, onInterrupted, duplicates: "replay", waits: waitMs > 0 },
      refusal: null,
      // Whoever is asked knows the truth: whether the operation took effect.
      ask: async () => (this.effects.has(key) ? { outcome: "unknown" } : { outcome: "never-happened" }),
    };
  }
}

/** Plays a scenario to its end. Deterministic: the same scenario has the same outcome. */
export async function play(scenario: Scenario): Promise<Outcome> {
  const world = new World(scenario);
  for (const visit of scenario.visits) world.clock.after(visit.atMs, () => void world.client(visit));
  for (const { atMs, byMs } of scenario.clockSteps) world.clock.after(atMs, () => world.clock.step(byMs));
  await world.clock.run(120_000);
  const living = world.nodes.filter((node) => node.alive).length;
  // All faults end here; what was put off may happen, and every lease of the dead lapses, also after a clock's step back.
  await world.clock.run(2 * 3_600_000 + 3 * LEASE_MS);
  const finals = new Map<string, Begun["kind"] | "in_progress">();
  const fresh = new Engine({ store: world.store, clock: world.clock });
  for (const key of new Set(scenario.visits.map((visit) => visit.key))) {
    const begun = await fresh.begin({
      ...world.request({ key, body: "a" }),
      waitMs: 0,
      rules: { onMismatch: "replay", onInterrupted: scenario.onInterrupted, duplicates: "replay", waits: false },
    });
    finals.set(key, begun.kind === "refused" && begun.code === "in_progress" ? "in_progress" : begun.kind);
    if (begun.kind === "replay") {
      const given = world.answers.get(key) ?? new Set();
      world.answers.set(key, given.add(new TextDecoder().decode(begun.record.payload ?? undefined)));
    }
  }
  return {
    effects: world.effects,
    answers: world.answers,
    finally: finals,
    crashed: living < world.nodes.length,
    steps: world.nodes.map((node) => node.steps),
    hanging: living === world.nodes.length ? world.pending : 0,
  };
}

/** A scenario drawn from a seed, for the loops that do not go through fast-check. */
export function drawScenario(seed: number, over: Partial<Scenario> = {}): Scenario {
  const random = seededRandom(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  return {
    nodes: 3,
    seed,
    faults: { fail: 0.03, lose: 0.05, delay: 0.05, lateEffect: 0.03, slowAnswer: 0.03, hang: 0.02, maxMs: 2_000 },
    onInterrupted: "hold",
    onMismatch: "reject",
    waitMs: pick([0, 2_000]),
    visits: Array.from({ length: 12 }, () => ({
      atMs: Math.floor(random() * 6_000),
      key: pick(["k1", "k2", "k3"]),
      node: Math.floor(random() * 3),
      body: random() < 0.85 ? ("a" as const) : ("b" as const),
      behaviour: pick(["answer", "answer", "answer", "not-started", "cut-off"] as const),
      durationMs: Math.floor(random() * 5_000),
    })),
    crashes: [],
    clockSteps: [],
    ...over,
  };
}
