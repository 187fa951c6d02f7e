// Every operation on every state of a record, as one table.

import assert from "node:assert/strict";
import type { RecordState, StoredRecord } from "../../core/record.js";
import type { Store } from "../../core/store.js";
import { assertPowerless } from "./claims.js";
import { answerOf, claimOf, HOUR, newFence, recordIn, SECOND, type SuiteBench, type SuiteCase } from "./suite-case.js";

const LEASE = 60 * SECOND;

/** The situations that a record can be found in. */
export type Situation =
  | "absent"
  | "running, lease live"
  | "running, lease lapsed"
  | "unknown"
  | "unknown, lease live"
  | "done"
  | "expired";

/** How each of them comes about. */
export const SITUATIONS: Readonly<Record<Situation, (bench: SuiteBench) => Promise<StoredRecord>>> = {
  absent: async (bench) => {
    const record = await bench.claimed();
    await bench.store.release(record.id, record.fence);
    return record;
  },
  "running, lease live": (bench) => bench.claimed(),
  "running, lease lapsed": async (bench) => {
    const record = await bench.claimed();
    await bench.advance(LEASE);
    return record;
  },
  unknown: async (bench) => {
    const record = await bench.claimed();
    await bench.store.interrupt(record.id, record.fence, 502, "owner");
    return record;
  },
  "unknown, lease live": async (bench) => {
    const record = await bench.claimed();
    await bench.advance(LEASE);
    await bench.store.interrupt(record.id, record.fence, 500, "finder");
    await bench.store.renew(record.id, record.fence, LEASE);
    return record;
  },
  done: (bench) => bench.done(),
  expired: async (bench) => {
    const record = await bench.done();
    await bench.advance(HOUR);
    return record;
  },
};

const NEXT_FENCE = newFence();

const OPERATIONS = {
  renew: (store, { id, fence }) => store.renew(id, fence, 2 * LEASE),
  complete: (store, { id, fence }) => store.complete(id, fence, answerOf("completed", 201)),
  "interrupt by its owner": (store, { id, fence }) => store.interrupt(id, fence, 504, "owner"),
  "interrupt by a finder": (store, { id, fence }) => store.interrupt(id, fence, 503, "finder"),
  takeOver: (store, { id, fence }) => store.takeOver(id, fence, { fence: NEXT_FENCE, leaseMs: LEASE }),
  settle: (store, { id, fence }) => store.settle(id, fence, { fence: NEXT_FENCE, answer: answerOf("settled", 202) }),
  release: (store, { id, fence }) => store.release(id, fence),
} as const satisfies Readonly<Record<string, (store: Store, record: StoredRecord) => Promise<boolean>>>;

type Operation = keyof typeof OPERATIONS;

/** What an operation answers and leaves behind: false and nothing changed, or true and this state (null: no record). */
type Effect = false | RecordState | null;

/** Operations on records that are there; on absent and expired ones each is refused. */
const EFFECTS: Readonly<Record<Operation, Readonly<Record<Exclude<Situation, "absent" | "expired">, Effect>>>> = {
  renew: {
    "running, lease live": "running",
    "running, lease lapsed": "running",
    unknown: "unknown",
    "unknown, lease live": "unknown",
    done: false,
  },
  complete: {
    "running, lease live": "done",
    "running, lease lapsed": "done",
    unknown: "done",
    "unknown, lease live": "done",
    done: "done",
  },
  "interrupt by its owner": {
    "running, lease live": "unknown",
    "running, lease lapsed": "unknown",
    unknown: "unknown",
    "unknown, lease live": "unknown",
    done: false,
  },
  "interrupt by a finder": {
    "running, lease live": false,
    "running, lease lapsed": "unknown",
    unknown: "unknown",
    "unknown, lease live": "unknown",
    done: false,
  },
  takeOver: {
    "running, lease live": false,
    "running, lease lapsed": "running",
    unknown: "running",
    "unknown, lease live": false,
    done: false,
  },
  settle: {
    "running, lease live": false,
    "running, lease lapsed": "done",
    unknown: "done",
    "unknown, lease live": "done",
    done: false,
  },
  release: {
    "running, lease live": null,
    "running, lease lapsed": null,
    unknown: null,
    "unknown, lease live": null,
    done: false,
  },
};

function transitionCase(operation: Operation, situation: Situation): SuiteCase {
  const effect = situation === "absent" || situation === "expired" ? false : EFFECTS[operation][situation];
  const outcome = effect === false ? "is refused" : effect === null ? "deletes it" : `leaves it ${effect}`;
  return {
    title: `4 ${operation} of a record that is ${situation} ${outcome}`,
    async run(bench) {
      const record = await SITUATIONS[situation](bench);
      const before = await bench.found(record.id);
      const answer = await OPERATIONS[operation](bench.store, record);
      const after = await bench.found(record.id);
      assert.equal(answer, effect !== false);
      if (effect === false) assert.deepEqual(after, before);
      else assert.equal(after?.state ?? null, effect);
      if (after !== null && before !== null) assertWhole(operation, before, after);
    },
  };
}

/** That nothing changed but what the operation is for. */
function assertWhole(operation: Operation, before: StoredRecord, after: StoredRecord): void {
  const { id, fingerprint, account, key, operation: label, runId, createdAt, expiresAt } = before;
  const lasting = { id, fingerprint, account, key, operation: label, runId, createdAt, expiresAt };
  assert.deepEqual({ ...after, ...lasting }, after);
  const changedHands = after.fence !== before.fence;
  assert.equal(changedHands, (operation === "takeOver" || operation === "settle") && after.fence === NEXT_FENCE);
  assert.equal(after.payload !== null, after.state === "done");
  assert.equal(after.status !== null, after.state !== "running");
  assert.equal(after.endedAt !== null, after.state !== "running");
  if (after.state === "done") assert.equal(after.leaseUntil, 0);
  if (after.state === "unknown" && before.state === "unknown") assert.equal(after.status, before.status);
}

/** What a claim finds: with a new fence, and with the record's own. */
function claimCase(situation: Situation): SuiteCase {
  const isFree = situation === "absent" || situation === "expired";
  const isOwn = isFree || situation === "running, lease live" || situation === "running, lease lapsed";
  return {
    title: `4 claim of a record that is ${situation} ${isFree ? "gets it" : "finds it"}`,
    async run(bench) {
      const record = await SITUATIONS[situation](bench);
      const before = await bench.found(record.id);
      const other = claimOf({ id: record.id, fingerprint: "exact:other" });
      if (!isFree) {
        const found = await bench.store.claim(other);
        assert.deepEqual([found.outcome, recordIn(found)], ["found", before]);
      }
      const own = await bench.store.claim({ ...other, fence: record.fence });
      assert.equal(own.outcome, isOwn ? "claimed" : "found");
      assert.equal(recordIn(own).fingerprint, isFree ? "exact:other" : record.fingerprint);
      assert.equal(recordIn(own).fence, record.fence);
    },
  };
}

function staleFenceCase(situation: Situation): SuiteCase {
  return {
    title: `4.2 a record that is ${situation} refuses every write with another fence`,
    async run(bench) {
      const record = await SITUATIONS[situation](bench);
      await assertPowerless(bench.store, record.id, newFence());
    },
  };
}

const situations = Object.keys(SITUATIONS) as readonly Situation[];

export const transitionCases: readonly SuiteCase[] = [
  ...situations.map(claimCase),
  ...situations.map(staleFenceCase),
  ...(Object.keys(OPERATIONS) as readonly Operation[]).flatMap((operation) =>
    situations.map((situation) => transitionCase(operation, situation)),
  ),
];
