// A world of several nodes on one store, in fake time, where nodes crash, clocks step and the store's answers get lost.

import type { Clock } from "../../src/core/clock.js";
import { sleep } from "../../src/core/clock.js";
import { type BeginRequest, type Begun, Engine } from "../../src/core/engine.js";
import { newFence } from "../../src/core/ids.js";
import type { MachineRules } from "../../src/core/machine.js";
import type { Store } from "../../src/core/store.js";
import type { Transactions } from "../../src/core/transactions.js";
import { hmac } from "../../src/http/scope.js";
import { memoryStore } from "../../src/stores/memory.js";
import { sealedStore } from "../../src/stores/sealed.js";
import { type FakeClock, fakeClock } from "../../src/testing/fake-clock.js";
import { type FaultRates, faultStore, randomFaults } from "../../src/testing/fault-store.js";
import { seededRandom } from "../../src/testing/random.js";
import { LedgerDatabase, type LedgerTx, type TransactionFaults } from "./ledger.js";

const LEASE_MS = 3_000;
const STORE_TIMEOUT_MS = 500;
const never = new Promise<never>(() => {});

type Owned = Extract<Begun, { kind: "owned" }>["claim"];

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

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
  /** What the operation of a visit is: one effect, three steps (SPEC §7.2), or a transaction (§7.1). Default plain. */
  readonly operation?: "plain" | "steps" | "transaction";
  readonly transactionFaults?: TransactionFaults;
  /** Node and the number of steps (of its own awaits) after which it dies. */
  readonly crashes: readonly { readonly node: number; readonly afterSteps: number }[];
  /** Steps of the wall clock all nodes and the store see. */
  readonly clockSteps: readonly { readonly atMs: number; readonly byMs: number }[];
  /** Default 400 days. */
  readonly retentionMs?: number;
  /** Whether answers are sealed in the store. */
  readonly sealed?: boolean;
  /** Under `recover`: whether who is asked knows the answer, or only whether the operation took effect. */
  readonly asksKnow?: boolean;
  /** An operator who settles what is unknown by the truth, and with `force` releases what runs (SPEC §4.14). */
  readonly operator?: readonly { readonly atMs: number; readonly key: string; readonly force: boolean }[];
}

/** One run of an operation that took effect, on the monotonic clock. */
export interface Effect {
  readonly arrivedAtMs: number;
  readonly claimedAtMs: number;
}

/** One time that a step was run. */
export interface StepRun {
  readonly key: string;
  readonly name: string;
  readonly downstreamKey: string;
  /** Whether the step had been recorded already, by any run. */
  readonly again: boolean;
}

/** What there was to see. */
export interface Outcome {
  /** How often the operation of each key took effect. */
  readonly effects: ReadonlyMap<string, number>;
  /** The runs behind them, by key, in the order of their effects. */
  readonly runs: ReadonlyMap<string, readonly Effect[]>;
  /** Every run of every step, in order. */
  readonly stepRuns: readonly StepRun[];
  /** The different results that steps were answered with, by key and name. */
  readonly stepResults: ReadonlyMap<string, ReadonlySet<unknown>>;
  /** What transactions committed, by key. */
  readonly ledger: ReadonlyMap<string, readonly string[]>;
  /** How often the operator freed each key, which lets it run again (SPEC P1). */
  readonly freed: ReadonlyMap<string, number>;
  /** The different answers of the operation that anybody was given, by key. */
  readonly answers: ReadonlyMap<string, ReadonlySet<string>>;
  /** What a fresh node finds in the end, when all faults are over, by key. */
  readonly finally: ReadonlyMap<string, Begun["kind"] | "in_progress">;
  readonly crashed: boolean;
  /** Steps that each node made. */
  readonly steps: readonly number[];
  /** Attempts that never came to an end though their node lives, whichever others died. */
  readonly hanging: number;
}

class Node {
  readonly engine: Engine;
  readonly database: Transactions<LedgerTx>;
  alive = true;
  steps = 0;
  pending = 0;
  readonly #dieAfter: number;

  constructor(base: FakeClock, store: Store, dieAfter: number, connect: (node: Node) => Transactions<LedgerTx>) {
    this.database = connect(this);
    this.#dieAfter = dieAfter;
    const clock: Clock = {
      now: () => base.now(),
      monotonic: () => base.monotonic(),
      after: (ms, fn) => base.after(ms, () => void (this.alive && fn())),
    };
    this.engine = new Engine({ store: this.#mortal(store), clock, hmac, storeTimeoutMs: STORE_TIMEOUT_MS });
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
  readonly database: LedgerDatabase;
  readonly stepRuns: StepRun[] = [];
  readonly stepResults = new Map<string, Set<unknown>>();
  readonly runs = new Map<string, Effect[]>();
  readonly freed = new Map<string, number>();
  /** What the operation of a key answered, or would have, had it not been cut off. */
  readonly #truth = new Map<string, string>();
  #runs = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.database = new LedgerDatabase(memoryStore({ clock: this.clock }), this.clock);
    const { store: memory } = this.database;
    const keys = [{ id: "k", key: new Uint8Array(32).fill(7) }];
    this.store = scenario.sealed === true ? sealedStore(memory, { keys }) : memory;
    this.nodes = Array.from({ length: scenario.nodes }, (_, index) => {
      const plan = randomFaults(scenario.seed + index, scenario.faults);
      const dieAfter = scenario.crashes.find(({ node }) => node === index)?.afterSteps ?? Number.POSITIVE_INFINITY;
      const connect = (node: Node): Transactions<LedgerTx> =>
        this.database.transactions(node, scenario.seed + index, scenario.transactionFaults ?? {});
      return new Node(this.clock, faultStore(this.store, plan, { clock: this.clock }), dieAfter, connect);
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
    node.pending++;
    const done = (): void => void node.pending--;
    const served = this.#serve(node, visit);
    served.then(done, done);
    return served;
  }

  async #serve(node: Node, visit: Visit): Promise<"final" | "again"> {
    const request = this.request(visit);
    const begun = await node.engine.begin(request);
    const effect = { arrivedAtMs: request.arrivedAtMonotonicMs, claimedAtMs: this.clock.monotonic() };
    await node.step();
    if (begun.kind === "replay") {
      this.#gave(visit.key, new TextDecoder().decode(begun.record.payload ?? undefined));
      return "final";
    }
    if (begun.kind === "unknown") return "final";
    if (begun.kind === "refused") return begun.code === "key_reused" ? "final" : "again";
    return this.#run(node, begun.claim, visit, effect);
  }

  async #run(node: Node, claim: Owned, visit: Visit, effect: Effect): Promise<"final" | "again"> {
    const run = ++this.#runs;
    await node.step();
    if (visit.behaviour === "not-started") {
      await claim.release();
      return "again";
    }
    const { operation = "plain" } = this.#scenario;
    if (operation !== "plain" && visit.behaviour === "answer") return this[operation](node, claim, visit, run);
    const answer = `run ${run} of ${visit.key}`;
    this.effects.set(visit.key, (this.effects.get(visit.key) ?? 0) + 1);
    this.runs.set(visit.key, [...(this.runs.get(visit.key) ?? []), effect]);
    this.#truth.set(visit.key, answer);
    await sleep(this.clock, visit.durationMs);
    await node.step();
    if (visit.behaviour === "cut-off") {
      await claim.interrupt(502);
      return "again";
    }
    return this.#complete(node, claim, visit.key, answer);
  }

  async #complete(node: Node, claim: Owned, key: string, answer: string): Promise<"final" | "again"> {
    const recording = await claim.complete({ status: 200, payload: bytes(answer) });
    await node.step();
    if (recording === "lost" || recording === "unrecorded") return "again";
    this.#gave(key, answer);
    return "final";
  }

  /** Three steps, each an effect of its own; what one of them rejects with is the operation's answer. */
  async steps(node: Node, claim: Owned, { key, durationMs }: Visit, run: number): Promise<"final" | "again"> {
    let answer = `run ${run} of ${key}`;
    try {
      for (const name of ["one", "two", "three"]) {
        const results = this.stepResults.get(`${key} ${name}`) ?? new Set();
        const result = await claim.step(name, async ({ idempotencyKey }) => {
          this.stepRuns.push({ key, name, downstreamKey: idempotencyKey, again: results.size > 0 });
          await node.step();
          await sleep(this.clock, durationMs / 3);
          await node.step();
          return { by: run };
        });
        this.stepResults.set(`${key} ${name}`, results.add(JSON.stringify(result)));
        await node.step();
      }
    } catch (error) {
      answer = `run ${run} of ${key} failed: ${String(error)}`;
    }
    return this.#complete(node, claim, key, answer);
  }

  /** A write in a transaction; one that failed is tried again, as applications do. */
  async transaction(node: Node, claim: Owned, { key, durationMs }: Visit, run: number): Promise<"final" | "again"> {
    const answer = `run ${run} of ${key}`;
    for (let attempt = 1; ; attempt++) {
      try {
        const work = async (tx: LedgerTx): Promise<string> => {
          tx.write(key, answer);
          await sleep(this.clock, durationMs);
          await node.step();
          return answer;
        };
        const answerOf = (text: string) => ({ status: 200, payload: bytes(text) });
        const end = await claim.transaction(node.database, work, answerOf);
        await node.step();
        if (end.outcome !== "recorded") return "again";
        this.#gave(key, end.value);
        return "final";
      } catch (error) {
        await node.step();
        if (attempt === 2) return this.#complete(node, claim, key, `run ${run} of ${key} failed: ${String(error)}`);
      }
    }
  }

  /** An operator looks at a key, and does what the truth asks for. Its own operations meet no fault. */
  async operate(key: string, force: boolean): Promise<void> {
    const found = await this.store.find(key);
    if (found === null || found.record.state === "done") return;
    const { state, fence } = found.record;
    const truth = this.#truth.get(key);
    if (state === "unknown" && truth !== undefined) {
      await this.store.settle(key, fence, { fence: newFence(), answer: { status: 200, payload: bytes(truth) } });
    } else if (force || state === "unknown") {
      if (await this.store.release(key, fence)) this.freed.set(key, (this.freed.get(key) ?? 0) + 1);
    }
  }

  #gave(key: string, answer: string): void {
    const given = this.answers.get(key) ?? new Set();
    this.answers.set(key, given.add(answer));
  }

  request({ key, body }: Pick<Visit, "key" | "body">): BeginRequest {
    const { onMismatch, onInterrupted, waitMs, retentionMs, asksKnow } = this.#scenario;
    return {
      id: key,
      labels: { account: "a", key, operation: "POST /", runId: `r${this.#runs}` },
      fingerprint: `x1:${body}`,
      retention: { forMs: retentionMs ?? 400 * 86_400_000 },
      arrivedAtMonotonicMs: this.clock.monotonic(),
      leaseMs: LEASE_MS,
      waitMs,
      rules: { onMismatch, onInterrupted, duplicates: "replay", waits: waitMs > 0 },
      refusal: null,
      // Whoever is asked knows the truth: whether the operation took effect, and perhaps what it answered.
      ask: async () => {
        const truth = this.#truth.get(key);
        if (truth === undefined) return { outcome: "never-happened" };
        return asksKnow === true
          ? // In words of its own, so that a stalled owner's answer beside it is noticed.
            { outcome: "done", answer: { status: 200, payload: bytes(`told: ${truth}`) } }
          : { outcome: "unknown" };
      },
    };
  }
}

/** Plays a scenario to its end. Deterministic: the same scenario has the same outcome. */
export async function play(scenario: Scenario): Promise<Outcome> {
  const world = new World(scenario);
  for (const visit of scenario.visits) world.clock.after(visit.atMs, () => void world.client(visit));
  for (const { atMs, key, force } of scenario.operator ?? [])
    world.clock.after(atMs, () => void world.operate(key, force));
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
    runs: world.runs,
    stepRuns: world.stepRuns,
    stepResults: world.stepResults,
    ledger: world.database.entries,
    freed: world.freed,
    answers: world.answers,
    finally: finals,
    crashed: living < world.nodes.length,
    steps: world.nodes.map((node) => node.steps),
    hanging: world.nodes.reduce((sum, node) => sum + (node.alive ? node.pending : 0), 0),
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
