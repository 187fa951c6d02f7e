// npm run check: types, lint and format, layers, unused code, published shape, habits; a line for each, all of them run.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { bin, ensureInstalled, nodeStep, root, step } from "./ensure.mjs";
import { treeFaults } from "./tree-rules.mjs";

/** The folders of the packages that are published. */
const published = readdirSync(join(root, "packages"))
  .map((name) => `packages/${name}`)
  .filter((folder) => existsSync(join(root, folder, "package.json")))
  .map((folder) => ({ folder, manifest: JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) }))
  .filter(({ manifest }) => !manifest.private);

const layered = ["packages", "bench", "examples", "torture"];

const steps = [
  // Builds too: the later steps look at what is published.
  () => nodeStep("types", [bin("typescript", "tsc"), "-b", "tsconfig.json"]),
  () =>
    nodeStep("lint", [
      bin("@biomejs/biome"),
      "check",
      "--error-on-warnings",
      "--diagnostic-level=warn",
      "--max-diagnostics=50",
    ]),
  () => nodeStep("layers", [bin("dependency-cruiser", "depcruise"), "--config", ".dependency-cruiser.cjs", ...layered]),
  () => nodeStep("unused", [bin("knip"), "--no-progress"]),
  ...published.flatMap(({ folder, manifest }) => [
    () => nodeStep("package", [bin("publint"), folder, "--strict", "--pack", "npm"]),
    // Types matter where something can be imported; a package of commands has nothing to resolve.
    ...(manifest.exports?.["."] === undefined
      ? []
      : [() => nodeStep("exports", [bin("@arethetypeswrong/cli", "attw"), "--pack", folder, "--profile", "esm-only"])]),
  ]),
  () =>
    step("habits", async () => {
      const faults = treeFaults();
      return { ok: faults.length === 0, output: faults.join("\n") };
    }),
];

let ok = await ensureInstalled();
if (ok) for (const run of steps) ok = (await run()) && ok;
process.exitCode = ok ? 0 : 1;
