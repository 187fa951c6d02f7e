#!/usr/bin/env node
// Starts the built command line, and says what to do where it is not built.
import { existsSync } from "node:fs";

const entry = new URL("../dist/cli/main.js", import.meta.url);

if (existsSync(entry)) {
  const { main } = await import(entry.href);
  process.exitCode = await main(process.argv.slice(2));
} else {
  process.stderr.write(
    "onceward: the gateway is not built yet.\n" +
      "  In a clone of the repository: npm run build (npm start builds and starts the demo).\n",
  );
  process.exitCode = 1;
}
