// The SQLite store killed at random moments: what it acknowledged is there afterwards (SPEC P1, 4.4, 14.5).

import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sqliteStore } from "onceward/stores/sqlite";
import { describe, expect, it } from "vitest";
import { DatabaseSync } from "./database.js";
import { temporaryDirectory } from "./places.js";

const WRITER = fileURLToPath(new URL("./children/busy-writer.js", import.meta.url));
const KILLS = Number(process.env["ONCEWARD_KILLS"] ?? 30);

/** What a writer acknowledged: by id, its fence, and its answer where it was completed. */
type Acknowledged = Map<string, { readonly fence: string; readonly answer: string | null }>;

class Writer {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #output: string;

  constructor(path: string) {
    // A file and not a pipe, which the writer could find full.
    this.#output = `${path}-${randomUUID()}.log`;
    const output = openSync(this.#output, "a");
    this.#child = spawn(process.execPath, [WRITER, path], { stdio: ["pipe", output, "inherit"] });
    this.#exited = once(this.#child, "close");
    closeSync(output);
  }

  /** Waits until so many more lines were said. */
  async said(lines: number): Promise<void> {
    const most = this.#lines().length + lines;
    while (this.#lines().length < most) {
      if (this.#child.exitCode !== null) throw new Error("The writer ended early; what it said is above.");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async kill(): Promise<Acknowledged> {
    this.#child.kill("SIGKILL");
    await this.#exited;
    const acknowledged = this.acknowledged();
    rmSync(this.#output);
    return acknowledged;
  }

  /** Has it call process.exit(7), and answers the code that it ended with. */
  async exit(): Promise<number | null> {
    this.#child.stdin?.end();
    await this.#exited;
    return this.#child.exitCode;
  }

  acknowledged(): Acknowledged {
    const acknowledged: Acknowledged = new Map();
    for (const line of this.#lines()) {
      const [what, id = "", rest = ""] = line.split(" ");
      if (what === "claimed") acknowledged.set(id, { fence: rest, answer: null });
      if (what === "done") acknowledged.set(id, { fence: acknowledged.get(id)?.fence ?? "", answer: rest });
    }
    return acknowledged;
  }

  #lines(): readonly string[] {
    // The last one may be cut off.
    return readFileSync(this.#output, "latin1").split("\n").slice(0, -1);
  }
}

async function assertKept(path: string, acknowledged: Acknowledged): Promise<void> {
  const store = sqliteStore({ path });
  await store.open();
  await Promise.all(
    [...acknowledged].map(async ([id, { fence, answer }]) => {
      const record = (await store.find(id))?.record;
      if (record?.fence !== fence) throw new Error(`The acknowledged claim of ${id} is lost.`);
      const kept = record.payload === null ? null : Buffer.from(record.payload).toString("base64");
      if (answer !== null && kept !== answer) throw new Error(`The acknowledged answer of ${id} is lost.`);
    }),
  );
  await store.close();
}

function assertSound(path: string): void {
  const database = new DatabaseSync(path);
  expect(database.prepare("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
  const counted = database.prepare("SELECT records FROM onceward_accounts WHERE id = 0").get();
  expect(database.prepare("SELECT count(*) AS records FROM onceward_records").get()).toEqual(counted);
  const miscounted = `SELECT name FROM onceward_accounts WHERE id <> 0 AND records <>
    (SELECT count(*) FROM onceward_records WHERE account_id = onceward_accounts.id)`;
  expect(database.prepare(miscounted).all()).toEqual([]);
  database.close();
}

describe("P1 kill -9", () => {
  it(`at ${KILLS} random moments loses nothing that was acknowledged`, { timeout: KILLS * 10_000 }, async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, "onceward.db");
    const all: Acknowledged = new Map();
    for (let round = 0; round < KILLS; round++) {
      const writer = new Writer(path);
      // Sometimes while it opens, mostly while it works.
      if (round % 10 !== 9) await writer.said(1 + Math.floor(Math.random() * 200));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      const acknowledged = await writer.kill();
      await assertKept(path, acknowledged);
      for (const [id, record] of acknowledged) all.set(id, record);
    }
    await assertKept(path, all);
    expect(all.size).toBeGreaterThan(KILLS * 10);
    assertSound(path);
    directory.remove();
  });

  it("of one of two processes on a file leaves the other serving", { timeout: 60_000 }, async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, "onceward.db");
    const survivor = new Writer(path);
    await survivor.said(10);
    const all: Acknowledged = new Map();
    for (let round = 0; round < 5; round++) {
      const victim = new Writer(path);
      await victim.said(20 + Math.floor(Math.random() * 200));
      for (const [id, record] of await victim.kill()) all.set(id, record);
    }
    await survivor.said(100);
    for (const [id, record] of await survivor.kill()) all.set(id, record);
    await assertKept(path, all);
    assertSound(path);
    directory.remove();
  });

  it("while the file is being made leaves one that opens", { timeout: 60_000 }, async () => {
    for (let round = 0; round < 10; round++) {
      const directory = temporaryDirectory();
      const path = join(directory.path, "onceward.db");
      const writer = new Writer(path);
      await new Promise((resolve) => setTimeout(resolve, 60 + Math.random() * 120));
      await assertKept(path, await writer.kill());
      directory.remove();
    }
  });
});

describe("14.5 process.exit", () => {
  it("in the middle of batches ends with the code that was given", { timeout: 60_000 }, async () => {
    for (let round = 0; round < 15; round++) {
      const directory = temporaryDirectory();
      const path = join(directory.path, "onceward.db");
      const writer = new Writer(path);
      await writer.said(5 + Math.floor(Math.random() * 100));
      expect(await writer.exit()).toBe(7);
      await assertKept(path, writer.acknowledged());
      directory.remove();
    }
  });
});
