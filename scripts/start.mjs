// npm start: from a clean clone to the running demo.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureBuilt, root } from "./ensure.mjs";

if (await ensureBuilt()) {
  // In this very process, so that a signal reaches the gateway directly and no child is left behind.
  const launcher = join(root, "packages/gateway/bin/onceward.js");
  process.argv.splice(1, 1, launcher, "demo");
  await import(pathToFileURL(launcher).href);
} else {
  process.exitCode = 1;
}
