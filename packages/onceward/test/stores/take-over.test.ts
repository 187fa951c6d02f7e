// Whose run a record is after a take-over (SPEC §11): the new owner's, so that a replay names the run that answered.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqliteStore } from "onceward/stores/sqlite";
import { expect, onTestFinished, test } from "vitest";
import type { Store } from "../../src/core/store.js";
import { memoryStore } from "../../src/stores/memory.js";

const ID = "1".repeat(64);
const [OLD, NEW, NEWER] = ["a".repeat(32), "b".repeat(32), "c".repeat(32)] as const;

const stores: Record<string, () => Promise<Store>> = {
  memory: async () => memoryStore(),
  async sqlite() {
    const folder = await mkdtemp(join(tmpdir(), "onceward-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    return sqliteStore({ path: join(folder, "records.db") });
  },
};

test.each(Object.keys(stores))("§11 %s: the record is the run's that took it over, or as before", async (name) => {
  const store = await (stores[name] as () => Promise<Store>)();
  await store.open();
  onTestFinished(() => store.close());
  const labels = { account: "a", key: "k", operation: "POST /", runId: "first" };
  const retention = { forMs: 60_000 };
  // A lease that has lapsed already.
  await store.claim({ id: ID, fence: OLD, fingerprint: null, ageMs: 0, retention, leaseMs: -1_000, labels });
  expect(await store.takeOver(ID, OLD, { fence: NEW, leaseMs: -1_000, runId: "second" })).toBe(true);
  expect((await store.find(ID))?.record.runId).toBe("second");
  expect(await store.takeOver(ID, NEW, { fence: NEWER, leaseMs: 30_000 })).toBe(true);
  expect((await store.find(ID))?.record.runId).toBe("second");
});
