// Runs the command line as its users do: as processes of their own.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const LAUNCHER = fileURLToPath(new URL("../../bin/onceward.js", import.meta.url));

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Where {
  readonly cwd: string;
  /** Runs it as another user; only root may. */
  readonly uid?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** A folder that is gone after the test. */
export function folder(files: Readonly<Record<string, string>> = {}): string {
  const path = mkdtempSync(join(tmpdir(), "onceward-cli-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

function environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("ONCEWARD_") && !name.startsWith("VITEST"),
  );
  return { ...Object.fromEntries(own), ...extra };
}

/** Runs a command to its end. */
export function onceward(args: readonly string[], where: Where): Promise<Finished> {
  return run(process.execPath, [LAUNCHER, ...args], where);
}

export function run(file: string, args: readonly string[], { cwd, env, uid }: Where): Promise<Finished> {
  const options = {
    cwd,
    env: environment(env),
    encoding: "utf8",
    ...(uid === undefined ? {} : { uid, gid: uid }),
  } as const;
  return new Promise((resolve) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, stdout, stderr });
    });
  });
}

export interface Started {
  readonly child: ChildProcess;
  readonly pid: number;
  /** All it printed so far, on both streams. */
  output(): string;
  /** Resolves to the first match in its output; rejects where it ends before. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** Starts a command that stays; it is killed at the latest when the test is over. */
export function start(args: readonly string[], { cwd, env }: Where): Started {
  const child = spawn(process.execPath, [LAUNCHER, ...args], {
    cwd,
    env: environment(env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const watchers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      for (const watch of watchers) watch();
    });
  }
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const says = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(output);
        if (match === null) return;
        watchers.delete(look);
        resolve(match);
      };
      watchers.add(look);
      look();
      void ended.then(({ code }) => reject(new Error(`It ended with ${code} before it said ${pattern}:\n${output}`)));
    });
  return { child, pid: child.pid ?? 0, output: () => output, says, ended };
}
