// What every other script stands on: packages installed as the lock says, sources built, processes run quietly.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root; every script runs there. */
export const root = fileURLToPath(new URL("..", import.meta.url));

const say = (line) => process.stderr.write(`${line}\n`);
const seconds = (sinceMs) => `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;

/** Starts Node on a script in the root; `output` holds what it said where `quiet`, so that success stays silent. */
export function node(args, { quiet = false, env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const stdio = quiet ? ["ignore", "pipe", "pipe"] : "inherit";
    const child = spawn(process.execPath, args, { cwd: root, env, stdio });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text) => (output += text));
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code: code ?? 1, signal, output }));
  });
}

/** The path of a package's command, from its package.json, so that no shell or .cmd file is between. */
export function bin(name, command = name.split("/").at(-1)) {
  const require = createRequire(join(root, "package.json"));
  const manifest = join(root, "node_modules", name, "package.json");
  const entry = require(manifest).bin;
  return join(dirname(manifest), typeof entry === "string" ? entry : entry[command]);
}

/** One step: a line when it begins (on a terminal) and one when it ends; its output only where it fails. */
export async function step(name, work) {
  const startedAt = performance.now();
  if (process.stderr.isTTY) process.stderr.write(`${name} …\r`);
  const { ok, output } = await work();
  say(`${name.padEnd(10)} ${ok ? "ok" : "FAILED"}  ${seconds(startedAt)}`);
  if (!ok && output) say(output.trimEnd());
  return ok;
}

/** A step that is a Node script. */
export const nodeStep = (name, args) =>
  step(name, async () => {
    const { code, output } = await node(args, { quiet: true });
    return { ok: code === 0, output };
  });

/** Whether node_modules holds what package-lock.json names; npm leaves a lock of its own there to compare with. */
function isInstalled() {
  const installed = join(root, "node_modules/.package-lock.json");
  if (!existsSync(installed)) return false;
  const have = JSON.parse(readFileSync(installed, "utf8")).packages;
  const want = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  return Object.entries(want).every(([path, { version, link, optional, devOptional, peer }]) => {
    if (!path.includes("node_modules/")) return true;
    const found = have[path];
    // Binaries for other platforms are in the lock and never on the disk.
    if (!found) return Boolean(optional || devOptional || peer);
    return link ? found.link === true : found.version === version;
  });
}

/** Installs what the lock says where it is not there. Resolves to whether it worked; the reason is on stderr. */
export async function ensureInstalled() {
  if (isInstalled()) return true;
  // `npm run` says where npm is; started by plain node, it is beside it.
  const npm = process.env.npm_execpath ?? join(dirname(process.execPath), "../lib/node_modules/npm/bin/npm-cli.js");
  return nodeStep("install", [npm, "ci", "--include=dev", "--no-progress"]);
}

/** Installs where needed, then builds what changed. Resolves to whether it worked; the reason is on stderr. */
export async function ensureBuilt() {
  if (!(await ensureInstalled())) return false;
  return nodeStep("build", [bin("typescript", "tsc"), "-b", "tsconfig.build.json"]);
}
