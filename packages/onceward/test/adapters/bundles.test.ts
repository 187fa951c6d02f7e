// What the importer of one adapter gets with it: nothing of other adapters, of stores or of frameworks.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, test } from "vitest";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));
/** Those for platforms other than Node, which have node:crypto (Workers under `nodejs_compat`) and little else. */
const ANYWHERE = ["fetch", "hono", "next"];
/** Of the minified bundle; what an adapter takes today and some room. */
const MAX_GZIPPED_BYTES = 45_000;

const { exports } = JSON.parse(readFileSync(`${PACKAGE}/package.json`, "utf8")) as {
  readonly exports: Readonly<Record<string, { readonly default?: string }>>;
};
const adapters = Object.values(exports).flatMap(
  (entry) => /^\.\/dist\/adapters\/(.+)\.js$/.exec(entry.default ?? "")?.slice(1) ?? [],
);

test.each(adapters)(
  "an importer of onceward/%s pulls in nothing of other adapters, of stores or of frameworks",
  async (name) => {
    const { metafile, outputFiles } = await build({
      absWorkingDir: PACKAGE,
      entryPoints: [`src/adapters/${name}.ts`],
      bundle: true,
      write: false,
      metafile: true,
      minify: true,
      format: "esm",
      platform: "neutral",
      external: ["node:*"],
    });
    const inputs = Object.keys(metafile.inputs);
    const own = new RegExp(`^src/(core/|http/|adapters/${name}(/|\\.ts$))`);
    expect(inputs.filter((input) => !own.test(input))).toEqual([]);
    const external = new Set(
      Object.values(metafile.inputs).flatMap(({ imports }) =>
        imports.filter((one) => one.external).map(({ path }) => path),
      ),
    );
    if (ANYWHERE.includes(name)) expect([...external]).toEqual(["node:crypto"]);
    else expect([...external].filter((path) => !path.startsWith("node:"))).toEqual([]);
    expect(gzipSync(outputFiles[0]?.contents ?? "").length).toBeLessThan(MAX_GZIPPED_BYTES);
  },
);
