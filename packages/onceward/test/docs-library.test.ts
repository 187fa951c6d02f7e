// The server in docs/library.md, run as its readers run it: a process of its own, with the built package installed.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const PAGE = fileURLToPath(new URL("../../../docs/library.md", import.meta.url));
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

function exampleFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "onceward-docs-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const code = /```js\n(\/\/ server\.mjs:[\s\S]*?)```/.exec(readFileSync(PAGE, "utf8"))?.[1];
  if (code === undefined) throw new Error("docs/library.md has no server.mjs");
  writeFileSync(join(folder, "server.mjs"), code);
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(PACKAGE, join(folder, "node_modules", "onceward"), "dir");
  return folder;
}

async function startServer(folder: string): Promise<{ readonly origin: string; readonly child: ChildProcess }> {
  const child = spawn(process.execPath, ["server.mjs"], {
    cwd: folder,
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout });
  const [origin] = (await Promise.race([
    once(lines, "line"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`it ended with ${code}`))),
  ])) as [string];
  return { origin, child };
}

interface Sent {
  readonly status: number;
  readonly replayed: string | null;
  readonly text: string;
}

async function order(origin: string, key: string, content: object, apiKey = "key-of-acme"): Promise<Sent> {
  const response = await fetch(`${origin}/orders`, {
    method: "POST",
    headers: { "X-Api-Key": apiKey, "Idempotency-Key": key },
    body: JSON.stringify(content),
  });
  return {
    status: response.status,
    replayed: response.headers.get("idempotent-replayed"),
    text: await response.text(),
  };
}

test("P1, P2: the page's server replays, refuses, gives keys back, and remembers after kill -9", async () => {
  const folder = exampleFolder();
  const first = await startServer(folder);
  const placed = await order(first.origin, "k", { amount: 25 });
  expect(placed).toMatchObject({ status: 201, replayed: null });
  expect(await order(first.origin, "k", { amount: 25 })).toEqual({ ...placed, replayed: "true" });
  expect(await order(first.origin, "k", { amount: 26 })).toMatchObject({ status: 422 });
  const other = await order(first.origin, "k", { amount: 25 }, "key-of-zenith");
  expect(other).toMatchObject({ status: 201, replayed: null });
  expect(other.text).not.toBe(placed.text);
  expect(await order(first.origin, "k", { amount: 25 }, "nobody")).toMatchObject({ status: 401 });
  expect(await order(first.origin, "unused", {})).toMatchObject({ status: 422, replayed: null });
  expect(await order(first.origin, "unused", { amount: 1 })).toMatchObject({ status: 201, replayed: null });
  expect((await fetch(`${first.origin}/orders`, { method: "POST" })).status).toBe(400);
  first.child.kill("SIGKILL");
  await once(first.child, "exit");
  const second = await startServer(folder);
  expect(await order(second.origin, "k", { amount: 25 })).toEqual({ ...placed, replayed: "true" });
  second.child.kill("SIGTERM");
  expect(await once(second.child, "exit")).toEqual([0, null]);
});
