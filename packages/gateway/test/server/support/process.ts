// The gateway as a process of its own, started as users start it, so that it can be killed and measured.

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { type ConfigFile, temporaryFolder } from "./gateway.js";

const BIN = fileURLToPath(new URL("../../../bin/onceward.js", import.meta.url));

export interface GatewayProcess {
  readonly port: number;
  readonly pid: number;
  readonly child: ChildProcess;
  /** Resident memory now, in bytes. */
  memoryBytes(): number;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
}

/**
 * Starts `onceward serve`.
 *
 * @param preload A script that runs in it first, for a test that stops it at a point it cannot see from outside.
 */
export async function gatewayProcess(file: ConfigFile, preload?: string): Promise<GatewayProcess> {
  const folder = temporaryFolder();
  const path = join(folder, "onceward.json");
  writeFileSync(
    path,
    JSON.stringify({
      listen: "127.0.0.1:0",
      admin: false,
      account: "single",
      ...file,
      log: { level: "info", format: "json" },
    }),
  );
  const hook = join(folder, "preload.mjs");
  if (preload !== undefined) writeFileSync(hook, preload);
  const args = [...(preload === undefined ? [] : ["--import", hook]), BIN, "serve", "--config", path];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await gone;
  });
  const port = await new Promise<number>((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const listening = /"listen":"127\.0\.0\.1:(\d+)"/.exec(text);
      if (listening !== null) resolve(Number(listening[1]));
    });
    void gone.then(() => reject(new Error(`the gateway ended: ${text}`)));
  });
  const pid = child.pid ?? 0;
  return {
    port,
    pid,
    child,
    memoryBytes: () => 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]),
    kill: (signal) => void child.kill(signal),
    gone,
  };
}
