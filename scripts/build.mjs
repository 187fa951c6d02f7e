// npm run build: installs where needed and builds every package.
import { ensureBuilt } from "./ensure.mjs";

process.exitCode = (await ensureBuilt()) ? 0 : 1;
