// A store that loses answers, delays effects, fails and hangs as a test tells it to.

import { type Clock, sleep, systemClock } from "../core/clock.js";
import { IdempotencyError } from "../core/errors.js";
import type { HistoryStore } from "../core/history.js";
import type { Store } from "../core/store.js";
import { seededRandom } from "./random.js";

/** The operations that can be made to fail; those of the history only where the store has one. */
export type FaultOperation =
  | Exclude<keyof Store, "info" | "waiting" | "transactions" | "history" | "open" | "close">
  | keyof HistoryStore;

/** One operation that is about to reach the store. */
export interface FaultCall {
  readonly operation: FaultOperation;
  /** 0 for the first call that this fault store saw, and so on. */
  readonly index: number;
  /** The id of the record (or run) it is about, where it is about one. */
  readonly id: string | null;
}

/** What goes wrong with one operation. The errors are `store_unavailable`, as of a store that cannot be reached. */
export type Fault =
  /** Rejects, and had no effect. */
  | { readonly kind: "fail" }
  /** Takes effect, and its answer is lost: rejects. */
  | { readonly kind: "lose" }
  /** Takes effect only after `ms`, and answers then: late enough, the caller has given up before. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Rejects at once, and takes effect all the same after `ms`. */
  | { readonly kind: "lateEffect"; readonly ms: number }
  /** Takes effect at once, and answers after `ms`. */
  | { readonly kind: "slowAnswer"; readonly ms: number }
  /** Never answers; takes effect or not. */
  | { readonly kind: "hang"; readonly effect: boolean };

/** Decides what goes wrong with a call; undefined lets it through. */
export type FaultPlan = (call: FaultCall) => Fault | undefined;

/** A store with faults. */
export interface FaultStore extends Store {
  /** Can be replaced at any time. */
  plan: FaultPlan;
  /** What was called so far, in order. */
  readonly calls: readonly FaultCall[];
  /** Resolves when no effect is outstanding any more. Calls that hang without effect do not count. */
  idle(): Promise<void>;
}

export interface FaultStoreOptions {
  /** Whose timers delay effects and answers; default the machine's. */
  readonly clock?: Clock;
}

/** Wraps `store` so that `plan` decides what goes wrong with each of its operations; `open` and `close` never fail. */
export function faultStore(store: Store, plan: FaultPlan, options: FaultStoreOptions = {}): FaultStore {
  const clock = options.clock ?? systemClock;
  const calls: FaultCall[] = [];
  const outstanding = new Set<Promise<unknown>>();

  const track = <T>(effect: Promise<T>): Promise<T> => {
    const end = () => void outstanding.delete(done);
    const done: Promise<void> = effect.then(end, end);
    outstanding.add(done);
    return effect;
  };
  const call = <T>(operation: FaultOperation, id: string | null, effect: () => Promise<T>): Promise<T> => {
    const made: FaultCall = { operation, index: calls.length, id };
    calls.push(made);
    return withFault(self.plan(made), made, clock, () => track(effect()), track);
  };

  const self: FaultStore = {
    plan,
    calls,
    async idle() {
      while (outstanding.size > 0) await Promise.all(outstanding);
    },
    get info() {
      return store.info;
    },
    open: () => store.open(),
    claim: (request) => call("claim", request.id, () => store.claim(request)),
    renew: (id, fence, leaseMs) => call("renew", id, () => store.renew(id, fence, leaseMs)),
    complete: (id, fence, answer) => call("complete", id, () => store.complete(id, fence, answer)),
    interrupt: (id, fence, status, by) => call("interrupt", id, () => store.interrupt(id, fence, status, by)),
    takeOver: (id, fence, next) => call("takeOver", id, () => store.takeOver(id, fence, next)),
    settle: (id, fence, next) => call("settle", id, () => store.settle(id, fence, next)),
    release: (id, fence) => call("release", id, () => store.release(id, fence)),
    appendStep: (id, fence, entry) => call("appendStep", id, () => store.appendStep(id, fence, entry)),
    readSteps: (id, fence) => call("readSteps", id, () => store.readSteps(id, fence)),
    find: (id) => call("find", id, () => store.find(id)),
    list: (query) => call("list", null, () => store.list(query)),
    purge: (limit) => call("purge", null, () => store.purge(limit)),
    getShared: (name) => call("getShared", null, () => store.getShared(name)),
    setShared: (name, value, expected) => call("setShared", null, () => store.setShared(name, value, expected)),
    ...(store.waiting === undefined ? {} : { waiting: store.waiting }),
    ...(store.transactions === undefined ? {} : { transactions: store.transactions }),
    ...(store.history === undefined ? {} : { history: faultyHistory(store.history, call) }),
    close: () => store.close(),
  };
  return self;
}

type Caller = <T>(operation: FaultOperation, id: string | null, effect: () => Promise<T>) => Promise<T>;

function faultyHistory(history: HistoryStore, call: Caller): HistoryStore {
  return {
    putRuns: (runs) => call("putRuns", null, () => history.putRuns(runs)),
    listRuns: (query) => call("listRuns", null, () => history.listRuns(query)),
    getRun: (id) => call("getRun", id, () => history.getRun(id)),
    amendRun: (id, change) => call("amendRun", id, () => history.amendRun(id, change)),
    trimRuns: (keep, limit) => call("trimRuns", null, () => history.trimRuns(keep, limit)),
    putAudit: (entry) => call("putAudit", entry.id, () => history.putAudit(entry)),
    listAudit: (query) => call("listAudit", null, () => history.listAudit(query)),
  };
}

async function withFault<T>(
  fault: Fault | undefined,
  made: FaultCall,
  clock: Clock,
  effect: () => Promise<T>,
  track: <U>(promise: Promise<U>) => Promise<U>,
): Promise<T> {
  if (fault === undefined) return effect();
  const unavailable = () =>
    new IdempotencyError("store_unavailable", `The fault store made ${made.operation} ${fault.kind}.`, {
      details: { fault, call: made },
    });
  switch (fault.kind) {
    case "fail":
      throw unavailable();
    case "lose":
      await effect();
      throw unavailable();
    case "delay":
      return track(sleep(clock, fault.ms).then(effect));
    case "lateEffect":
      track(sleep(clock, fault.ms).then(effect)).catch(() => {});
      throw unavailable();
    case "slowAnswer": {
      const answer = await effect();
      await sleep(clock, fault.ms);
      return answer;
    }
    case "hang":
      if (fault.effect) effect().catch(() => {});
      return new Promise<never>(() => {});
  }
}

/** How often which fault happens under {@link randomFaults}: the rate of each kind, from 0 to 1, which add up to ≤ 1. */
export interface FaultRates {
  readonly fail?: number;
  readonly lose?: number;
  readonly delay?: number;
  readonly lateEffect?: number;
  readonly slowAnswer?: number;
  /** Half of them take effect. */
  readonly hang?: number;
  /** The longest delay in milliseconds; default 1000. */
  readonly maxMs?: number;
}

/** A plan that draws faults at these rates, the same for the same seed and order of calls. */
export function randomFaults(seed: number, rates: FaultRates): FaultPlan {
  const random = seededRandom(seed);
  const kinds = ["fail", "lose", "delay", "lateEffect", "slowAnswer", "hang"] as const;
  return () => {
    // Both are drawn for every call, so that changing a rate does not shift the draws of later calls.
    let draw = random();
    const size = random();
    const ms = Math.ceil(size * (rates.maxMs ?? 1_000));
    for (const kind of kinds) {
      draw -= rates[kind] ?? 0;
      if (draw >= 0) continue;
      if (kind === "fail" || kind === "lose") return { kind };
      if (kind === "hang") return { kind, effect: size < 0.5 };
      return { kind, ms };
    }
    return undefined;
  };
}
