// Cases of several processes on the same data.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { RaceAnswer, RaceTask } from "./race-protocol.js";
import { answerOf, newId, type StoreProcess, type SuiteBench, type SuiteCase } from "./suite-case.js";

const PROCESSES = 4;
const CHILD = fileURLToPath(new URL("./race-child.js", import.meta.url));

/** Starts the processes, waits until all have opened their store, and gives each its task at the same moment. */
async function race(bench: SuiteBench, taskOf: (index: number) => RaceTask): Promise<readonly RaceAnswer[]> {
  const { process: place } = bench.place;
  if (place === undefined) throw new Error("A shared store's place says how other processes get at it.");
  const racers = Array.from({ length: PROCESSES }, () => new Racer(place));
  try {
    for (const racer of racers) assert.equal(await racer.line(), "ready");
    for (const [index, racer] of racers.entries()) racer.tell(taskOf(index));
    return await Promise.all(racers.map(async (racer) => JSON.parse(await racer.line()) as RaceAnswer));
  } finally {
    for (const racer of racers) await racer.end();
  }
}

class Racer {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  constructor(place: StoreProcess) {
    this.#child = spawn(process.execPath, [CHILD, place.module, place.argument], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("A process has no output.");
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
    this.#ended = once(this.#child, "exit");
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("A process of the race ended early; what it said is above.");
    return value;
  }

  tell(task: RaceTask): void {
    this.#child.stdin?.end(`${JSON.stringify(task)}\n`);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null) this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

export const processRaceCases: readonly SuiteCase[] = [
  {
    title: `P1 of ${PROCESSES} processes that claim the same keys at once, one wins each`,
    needs: "shared",
    async run(bench) {
      const ids = Array.from({ length: 200 }, newId);
      const answers = await race(bench, () => ({ kind: "claim", ids }));
      for (const id of ids) {
        const winners = answers.flatMap((answer) => (answer.kind === "claim" ? (answer.won[id] ?? []) : []));
        assert.equal(winners.length, 1, `${winners.length} processes won ${id}`);
        const seen = new Set(answers.map((answer) => (answer.kind === "claim" ? answer.seen[id] : undefined)));
        assert.deepEqual([...seen], winners, "all of them see the winner's fence");
        assert.equal((await bench.found(id))?.fence, winners[0]);
      }
    },
  },
  {
    title: `P1 ${PROCESSES} processes with keys of their own lose nothing`,
    needs: "shared",
    async run(bench) {
      const answers = await race(bench, (index) => ({ kind: "work", keys: 250, callers: 16, mark: `of ${index}` }));
      const total = new Set<string>();
      for (const [index, answer] of answers.entries()) {
        assert.equal(answer.kind, "work");
        for (const id of answer.kind === "work" ? answer.ids : []) {
          total.add(id);
          const found = await bench.found(id);
          assert.deepEqual(found?.payload, answerOf(`of ${index} ${id}`).payload);
        }
      }
      assert.equal(total.size, PROCESSES * 250);
      assert.equal((await bench.listed({ state: "done" }, 1_000)).length, total.size);
    },
  },
  {
    title: `S1 ${PROCESSES} processes that compare and set one shared value lose no update`,
    needs: "shared",
    async run(bench) {
      await race(bench, () => ({ kind: "count", name: "counter", times: 25 }));
      const value = await bench.store.getShared("counter");
      assert.equal(new TextDecoder().decode(value ?? new Uint8Array()), String(PROCESSES * 25));
    },
  },
];
