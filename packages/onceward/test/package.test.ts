import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const subpaths = Object.keys(manifest.exports).filter((subpath) => !subpath.endsWith(".json"));

test.each(subpaths)("the public subpath %s can be imported by its name", async (subpath) => {
  await expect(import(`onceward${subpath.slice(1)}`)).resolves.toBeTypeOf("object");
});

test("the library has no runtime dependency", () => {
  expect(manifest.dependencies ?? {}).toEqual({});
});
