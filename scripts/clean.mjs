// npm run clean: removes what builds and coverage made, so that no output outlives its source.
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./ensure.mjs";

const places = [root, ...readdirSync(join(root, "packages")).map((name) => join(root, "packages", name))];
for (const place of places) {
  for (const made of ["dist", "coverage"]) rmSync(join(place, made), { recursive: true, force: true });
}
