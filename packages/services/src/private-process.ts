// A server process of a test's own: on a free port, in a temporary folder, killed and started again at will.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A server that a test may stop, kill and start again; its data, host and port stay the same. */
export interface PrivateServer {
  readonly host: string;
  readonly port: number;
  /** What a client connects to, such as `postgres://postgres@127.0.0.1:40123/test`. */
  readonly url: string;
  /** The folder of its data, logs and configuration. */
  readonly folder: string;
  /** Starts it (again) and resolves when it answers. */
  start(): Promise<void>;
  /** Stops it as an administrator would; resolves when it has ended. */
  stop(): Promise<void>;
  /** SIGKILL to the whole process group; resolves when it has ended. */
  kill(): Promise<void>;
  /** SIGSTOP: it holds its connections and answers nothing. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** Kills it and removes its folder. */
  remove(): Promise<void>;
}

export interface PrivateProcessOptions {
  readonly port: number;
  readonly folder: string;
  readonly url: string;
  /** Program and arguments, in the foreground. */
  readonly command: readonly [program: string, ...args: string[]];
  readonly env?: NodeJS.ProcessEnv;
  /** Whom it runs as, where it refuses to run as root. Default: this process's user. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** What stops it gracefully. Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** Whether it answers; asked until it does. Default: the port accepts a connection. */
  answers?(): Promise<boolean>;
  /** How long it may take to start, in milliseconds. Default 60,000. */
  readonly startTimeoutMs?: number;
}

const KEPT_OUTPUT = 20_000;

/** A new folder for a server's data. */
export function temporaryFolder(name: string): string {
  return mkdtempSync(join(tmpdir(), `onceward-${name}-`));
}

/** A TCP port of 127.0.0.1 that nothing listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("a TCP server without a port");
  return address.port;
}

/** Whether something accepts connections there. */
export function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const tell = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => tell(true)).once("error", () => tell(false));
  });
}

const alive = new Set<PrivateProcess>();
// A test runner that ends early must leave no server behind.
process.once("exit", () => {
  for (const server of alive) server.abandon();
});

export class PrivateProcess implements PrivateServer {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly url: string;
  readonly folder: string;
  readonly #options: PrivateProcessOptions;
  #child: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  #output = "";

  constructor(options: PrivateProcessOptions) {
    this.#options = options;
    this.port = options.port;
    this.url = options.url;
    this.folder = options.folder;
  }

  async start(): Promise<void> {
    if (this.#child !== null) throw new Error("The server is running already.");
    const { command, env, user, startTimeoutMs = 60_000 } = this.#options;
    const [program, ...args] = command;
    // A process group of its own, so that killing it takes its workers along.
    const child = spawn(program, args, { cwd: this.folder, env: env ?? process.env, detached: true, ...user });
    this.#child = child;
    alive.add(this);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.#output = (this.#output + text).slice(-KEPT_OUTPUT)));
    }
    let failure: Error | null = null;
    this.#ended = new Promise((resolve) => {
      const ended = (error: Error | null): void => {
        failure = error;
        if (this.#child === child) this.#child = null;
        alive.delete(this);
        resolve();
      };
      child.once("error", ended).once("exit", () => ended(null));
    });
    const answers = this.#options.answers ?? (() => accepts(this.host, this.port));
    const until = performance.now() + startTimeoutMs;
    while (this.#child === child && performance.now() < until) {
      if (await answers().catch(() => false)) return;
      await sleep(30);
    }
    await this.kill();
    throw new Error(`${program} did not start. ${(failure as Error | null)?.message ?? ""}\n${this.#output}`);
  }

  async stop(): Promise<void> {
    this.#child?.kill(this.#options.stopSignal ?? "SIGTERM");
    await this.#ended;
  }

  async kill(): Promise<void> {
    this.abandon();
    await this.#ended;
  }

  pause(): void {
    this.#signal("SIGSTOP");
  }

  resume(): void {
    this.#signal("SIGCONT");
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** SIGKILL without waiting, for a process that is ending itself. */
  abandon(): void {
    this.#signal("SIGKILL");
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It has ended meanwhile.
    }
  }
}
