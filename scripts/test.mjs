// npm test: installs and builds where needed, then runs vitest; its arguments are vitest's.
import { bin, ensureBuilt, node } from "./ensure.mjs";

if (await ensureBuilt()) {
  const { code } = await node([bin("vitest"), "run", ...process.argv.slice(2)]);
  process.exitCode = code;
} else {
  process.exitCode = 1;
}
