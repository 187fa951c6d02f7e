// The habits that no linter knows: file sizes, captions, and a lock that works with any registry.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { root } from "./ensure.mjs";
import { missingBinaries } from "./lock.mjs";

const MAX_LINES = 400;
const CAPTION = /^\/\/ \S.*[.:]$/;
const SKIPPED = new Set(["node_modules", "dist", "coverage", ".git"]);

/** Every file below a folder, as paths from the root with forward slashes. */
function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !SKIPPED.has(entry.name)) yield* files(path);
    else if (entry.isFile()) yield relative(root, path).replaceAll("\\", "/");
  }
}

function sourceFaults(path, text) {
  const lines = text.trimEnd().split("\n");
  const first = lines[0].startsWith("#!") ? lines[1] : lines[0];
  const faults = [];
  if (lines.length > MAX_LINES) faults.push(`${path}: ${lines.length} lines, at most ${MAX_LINES}`);
  if (!CAPTION.test(first ?? "")) faults.push(`${path}: the first line is to be a caption, "// One sentence."`);
  return faults;
}

/** A lock that names a registry, or that lacks a platform's binary, does not install elsewhere. */
function lockFaults(path, text) {
  const faults = text
    .split("\n")
    .flatMap((line, at) =>
      /"resolved": "\w+:\/\//.test(line) || /registry\.[a-z0-9.-]+\//.test(line)
        ? [`${path}:${at + 1}: names a registry; run npm install with the repository's .npmrc`]
        : [],
    );
  if (!path.endsWith(".json")) return faults;
  const missing = missingBinaries(JSON.parse(text).packages);
  return [...faults, ...missing.map(({ name }) => `${path}: lacks ${name}; run npm run lock`)];
}

/** What breaks the rules, one line each. */
export function treeFaults() {
  const faults = [];
  for (const path of files(root)) {
    const read = () => readFileSync(join(root, path), "utf8");
    if (/^packages\/[^/]+\/(src|bin)\/.*\.(ts|tsx|js)$|^(scripts|bench)\/.*\.(mjs|ts)$/.test(path)) {
      faults.push(...sourceFaults(path, read()));
    }
    if (/(^|\/)(package-lock\.json|\.npmrc)$/.test(path)) faults.push(...lockFaults(path, read()));
  }
  return faults;
}
