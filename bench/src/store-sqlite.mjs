// How much gathering gains: claim+complete pairs a second of the SQLite store, gathered, one by one, and against a bare disk.
//
// node bench/src/store-sqlite.mjs [--seconds 3] [--callers 64,256] [--directory DIR]
//
// Only the ratios carry over to other machines. The floor is what the disk alone allows: records of the same size
// appended to a file, with one fdatasync for each write, or for as many writes as there are callers.

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sqliteStore } from "onceward/stores/sqlite";

const { values: flags } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    callers: { type: "string", default: "64,256" },
    directory: { type: "string", default: tmpdir() },
  },
});
const seconds = Number(flags.seconds);
const PAYLOAD = randomBytes(500);
const LABELS = { account: "acme", key: "key", operation: "POST /v1/transfers", runId: "run" };

/** Runs `pair` from so many callers for the time given; pairs a second, and how long the slowest in a hundred took. */
async function measure(callers, pair) {
  const until = performance.now() + seconds * 1_000;
  const latencies = [];
  const started = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < until) {
        const begun = performance.now();
        await pair();
        latencies.push(performance.now() - begun);
      }
    }),
  );
  const elapsed = (performance.now() - started) / 1_000;
  latencies.sort((a, b) => a - b);
  return { pairs: latencies.length / elapsed, p99: latencies[Math.floor(latencies.length * 0.99)] ?? 0 };
}

async function ofStore(directory, callers, options) {
  const store = sqliteStore({ path: join(directory, `${randomBytes(4).toString("hex")}.db`), ...options });
  await store.open();
  const pair = async () => {
    // Ids are made here as an engine would make them; it costs a few microseconds in either case.
    const id = randomBytes(32).toString("hex");
    const fence = randomBytes(16).toString("hex");
    const retention = { forMs: 86_400_000 };
    const request = { id, fence, fingerprint: `exact:${id}`, ageMs: 0, retention, leaseMs: 30_000, labels: LABELS };
    const { outcome } = await store.claim(request);
    if (outcome !== "claimed") throw new Error(`A new key was answered ${outcome}.`);
    if (!(await store.complete(id, fence, { status: 200, payload: PAYLOAD }))) throw new Error("A claim was lost.");
  };
  const result = await measure(callers, pair);
  await store.close();
  return result;
}

async function ofDisk(directory, atOnce) {
  const file = await open(join(directory, "floor"), "w");
  const claim = randomBytes(250 * atOnce);
  const complete = randomBytes(750 * atOnce);
  const result = await measure(1, async () => {
    for (const bytes of [claim, complete]) {
      await file.write(bytes);
      await file.datasync();
    }
  });
  await file.close();
  return { pairs: result.pairs * atOnce, p99: result.p99 };
}

const directory = mkdtempSync(join(flags.directory, "onceward-bench-"));
try {
  const rows = [];
  for (const callers of flags.callers.split(",").map(Number)) {
    const alone = await ofStore(directory, callers, { gathering: { maxBatch: 1 } });
    const gathered = await ofStore(directory, callers, {});
    const measured = {
      "disk, one write a sync": await ofDisk(directory, 1),
      [`disk, ${callers} writes a sync`]: await ofDisk(directory, callers),
      "store, one operation a commit": alone,
      "store, gathered": gathered,
    };
    for (const [what, { pairs, p99 }] of Object.entries(measured)) {
      rows.push({
        callers,
        what,
        "pairs/s": Math.round(pairs),
        "× one a commit": Number((pairs / alone.pairs).toFixed(2)),
        "p99 ms": Number(p99.toFixed(1)),
      });
    }
  }
  console.log(`Node ${process.version}; claim+complete pairs, ${PAYLOAD.length} bytes of answer; ${seconds} s each`);
  console.table(rows);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
