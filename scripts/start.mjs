// npm start: from a clean clone to the running demo.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureBuilt, root } from "./ensure.mjs";

const PARENT_CHECK_MS = 250;

/** npm hands a SIGTERM to the shell between it and us, which dies of it alone: the gateway would hold its ports on. */
function stopWithNpm() {
  if (process.env.npm_lifecycle_event !== "start") return;
  const shell = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(timer);
    process.kill(process.pid, "SIGTERM");
  }, PARENT_CHECK_MS);
  timer.unref();
}

stopWithNpm();
if (await ensureBuilt()) {
  // In this very process, so that a signal reaches the gateway directly and no child is left behind.
  const launcher = join(root, "packages/gateway/bin/onceward.js");
  process.argv.splice(1, 1, launcher, "demo");
  await import(pathToFileURL(launcher).href);
} else {
  process.exitCode = 1;
}
