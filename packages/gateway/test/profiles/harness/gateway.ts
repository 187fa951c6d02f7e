// The gateway under test: the real command line in a process of its own, on free ports, over a store in a temporary folder.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { clientOf } from "./client.js";
import { HeldClock } from "./held-clock.js";

const BIN = fileURLToPath(new URL("../../../bin/onceward.js", import.meta.url));
const START_MS = 20_000;
const VISIBLE_MS = 10_000;

/** The part of a run that the profiles' documents speak of (SPEC §11). */
export interface HistoryRun {
  readonly id: string;
  readonly at: number;
  readonly account: string;
  readonly key: string;
  readonly method: string;
  readonly path: string;
  readonly status: number | null;
  readonly outcome: string;
  readonly code: string | null;
  readonly steps: readonly { readonly name: string; readonly atMs: number }[];
  readonly flags: readonly string[];
  readonly replayOf: string | null;
}

/** The instants of a record, epoch milliseconds. */
export interface RecordTimes {
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface Gateway {
  /** Where clients connect. */
  readonly origin: string;
  /** Resolves with the runs of a key, newest first, once there are so many and none is under way. */
  runs(key: string, count: number): Promise<readonly HistoryRun[]>;
  /** The records under a key, or up to 200 of all, whatever their accounts. */
  records(key?: string): Promise<readonly RecordTimes[]>;
  /** How many records were deleted in the background since the start, as the metrics say (SPEC §4.10). */
  purged(): Promise<number>;
  /** Resolves once so many were. */
  purgedAtLeast(count: number): Promise<void>;
  /** `kill -9`, then the same command again. */
  killAndStartAgain(): Promise<void>;
  stop(): Promise<void>;
}

export interface GatewayUnderTest extends Gateway {
  readonly clock: HeldClock;
}

export type Config = Readonly<Record<string, unknown>>;

/** Starts a gateway whose date is this machine's. */
export async function startGateway(config: Config): Promise<Gateway> {
  const folder = await temporaryFolder();
  return await RunningGateway.start(folder, config, null);
}

/** Starts a gateway whose date stands still at `at` until the test moves it. */
export async function startGatewayAt(at: string | number, config: Config): Promise<GatewayUnderTest> {
  const folder = await temporaryFolder();
  const clock = new HeldClock(folder, typeof at === "string" ? Date.parse(at) : at);
  const gateway = await RunningGateway.start(folder, config, clock);
  return Object.assign(gateway, { clock });
}

/** What the command says where it refuses to start, and its exit code. */
export async function refusedStart(config: Config): Promise<{ readonly code: number | null; readonly output: string }> {
  const folder = await temporaryFolder();
  try {
    const { child, output } = await launch(folder, config, null);
    const ended = exitOf(child);
    await eventually(
      () => child.exitCode !== null || addressesIn(output()) !== null,
      () => `the gateway to refuse:\n${output()}`,
      START_MS,
    );
    // One that listens instead has not refused, and has no exit code.
    child.kill("SIGKILL");
    return { code: await ended, output: output() };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "onceward-profile-"));
}

interface Launched {
  readonly child: ChildProcess;
  readonly output: () => string;
}

async function launch(folder: string, config: Config, clock: HeldClock | null): Promise<Launched> {
  const file = join(folder, "onceward.yaml");
  await writeFile(
    file,
    stringify({
      listen: "127.0.0.1:0",
      admin: "127.0.0.1:0",
      store: "sqlite:./onceward.db",
      log: { level: "info", format: "json" },
      ...config,
    }),
  );
  // Nothing of the developer's own settings may reach it.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(ONCEWARD_|NODE_OPTIONS$)/.test(name)),
  );
  const child = spawn(process.execPath, [...(clock?.preload ?? []), BIN, "serve", "--config", file], {
    cwd: folder,
    env: { ...env, ...clock?.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  // Where a suite ends without stopping it, it ends with the suite.
  const end = (): void => void child.kill("SIGKILL");
  process.once("exit", end);
  child.once("exit", () => process.removeListener("exit", end));
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  return { child, output: () => output };
}

function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once("exit", resolve));
}

class RunningGateway implements Gateway {
  origin = "";
  #admin = "";
  #launched: Launched;
  readonly #folder: string;
  readonly #config: Config;
  readonly #clock: HeldClock | null;

  private constructor(folder: string, config: Config, clock: HeldClock | null, launched: Launched) {
    this.#folder = folder;
    this.#config = config;
    this.#clock = clock;
    this.#launched = launched;
  }

  static async start(folder: string, config: Config, clock: HeldClock | null): Promise<RunningGateway> {
    const gateway = new RunningGateway(folder, config, clock, await launch(folder, config, clock));
    try {
      await gateway.#listening();
    } catch (error) {
      await gateway.stop();
      throw error;
    }
    return gateway;
  }

  async runs(key: string, count: number): Promise<readonly HistoryRun[]> {
    let items: readonly HistoryRun[] = [];
    await eventually(
      async () => {
        items = await this.#list<HistoryRun>("/api/runs", key);
        return items.length >= count && items.every((run) => run.outcome !== "running");
      },
      () => `the history of ${key} to have ${count} runs: ${JSON.stringify(items)}`,
    );
    return items;
  }

  records(key?: string): Promise<readonly RecordTimes[]> {
    return this.#list<RecordTimes>("/api/records", key);
  }

  async purged(): Promise<number> {
    const { body } = await clientOf(this.#admin)({ method: "GET", path: "/metrics", account: null });
    return Number(/^onceward_records_purged_total (\d+)$/m.exec(body.toString())?.[1]);
  }

  async purgedAtLeast(count: number): Promise<void> {
    await eventually(
      async () => (await this.purged()) >= count,
      () => `${count} records to be purged`,
    );
  }

  async killAndStartAgain(): Promise<void> {
    const { child } = this.#launched;
    child.kill("SIGKILL");
    await exitOf(child);
    this.#launched = await launch(this.#folder, this.#config, this.#clock);
    await this.#listening();
  }

  async stop(): Promise<void> {
    const { child } = this.#launched;
    child.kill("SIGTERM");
    await exitOf(child);
    this.#clock?.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #list<T>(path: string, key?: string): Promise<readonly T[]> {
    const query = new URLSearchParams({ limit: "200", ...(key === undefined ? {} : { key }) });
    const answer = await clientOf(this.#admin)({ method: "GET", path: `${path}?${query}`, account: null });
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.body}`);
    return (answer.json() as { items: T[] }).items;
  }

  /** Its log says where it listens. */
  async #listening(): Promise<void> {
    const { child, output } = this.#launched;
    await eventually(
      () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`The gateway ended:\n${output()}`);
        const found = addressesIn(output());
        if (found === null) return false;
        this.origin = found.listen;
        this.#admin = found.admin;
        return true;
      },
      () => `the gateway to say where it listens:\n${output()}`,
      START_MS,
    );
  }
}

function addressesIn(log: string): { readonly listen: string; readonly admin: string } | null {
  for (const line of log.split("\n")) {
    if (!line.startsWith("{")) continue;
    const entry = JSON.parse(line) as { readonly listen?: unknown; readonly admin?: unknown };
    if (typeof entry.listen === "string" && typeof entry.admin === "string")
      return { listen: `http://${entry.listen}`, admin: `http://${entry.admin}` };
  }
  return null;
}

async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: () => string,
  withinMs: number = VISIBLE_MS,
): Promise<void> {
  const until = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > until) throw new Error(`Waited ${withinMs} ms for ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
