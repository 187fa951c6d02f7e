// Starts an example as its README says, as a process of its own, and talks to it.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

export interface Example {
  readonly url: string;
  post(key: string, body: unknown, token?: string): Promise<Answer>;
  transfers(): Promise<readonly object[]>;
  /** SIGKILL, and resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and resolves with the exit code. */
  stop(): Promise<number | null>;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly replayed: boolean;
}

/** A folder that is gone after the test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "onceward-example-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Starts `node server.mjs` of an example on a free port. */
export async function startExample(name: string, env: Readonly<Record<string, string>>): Promise<Example> {
  const cwd = fileURLToPath(new URL(`../${name}`, import.meta.url));
  const child = spawn(process.execPath, ["server.mjs"], { cwd, env: { ...process.env, PORT: "0", ...env } });
  const gone = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await gone;
  });
  const url = await addressOf(child, gone);
  return {
    url,
    async post(key, body, token = "token-of-alice") {
      const headers = {
        "Content-Type": "application/json",
        Authorization: `Bearer ${token}`,
        "Idempotency-Key": key,
      };
      const response = await fetch(`${url}/transfers`, { method: "POST", headers, body: JSON.stringify(body) });
      const replayed = response.headers.get("Idempotent-Replayed") === "true";
      return { status: response.status, text: await response.text(), replayed };
    },
    transfers: async () => (await fetch(`${url}/transfers`)).json() as Promise<object[]>,
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
    stop() {
      child.kill("SIGTERM");
      return gone;
    },
  };
}

function addressOf(child: ChildProcess, gone: Promise<unknown>): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        const address = /http:\/\/127\.0\.0\.1:\d+/.exec(output);
        if (address !== null) resolve(address[0]);
      });
    }
    void gone.then(() => reject(new Error(`the example ended: ${output}`)));
  });
}
