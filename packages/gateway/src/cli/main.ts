// The command line's entry: `main` is what bin/onceward.js calls.

import { readFileSync } from "node:fs";
import { Command } from "commander";
import { addAudit } from "./audit.js";
import { addConfig } from "./config-check.js";
import { addDemo } from "./demo.js";
import { report } from "./faults.js";
import { addInit } from "./init.js";
import { addKeys } from "./keys.js";
import { addPurge } from "./purge.js";
import { addServe } from "./serve.js";

/** Runs one command and resolves to its exit code: 0, 1 (failed) or 2 (usage) (SPEC §14.1). */
export async function main(args: readonly string[]): Promise<number> {
  // A reader that has seen enough, such as `head`, is no fault.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(0);
      throw error;
    });
  }
  try {
    await program().parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    return report(error);
  }
}

function program(): Command {
  const root = new Command("onceward")
    .description("An idempotency layer in front of an HTTP API: one key, one run, one answer.")
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand(false)
    .showHelpAfterError("(--help shows what there is)")
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "onceward: ")) })
    .addHelpText(
      "after",
      `
onceward demo shows what it does; onceward init writes a configuration to start from.

Exit codes: 0 done, 2 the command line is wrong (an unknown or missing flag, or a value that it cannot have),
1 anything else. What went wrong is on standard error: "onceward: …", or a line for each fault of a
configuration file, "FILE:LINE:COLUMN  …".`,
    );
  addServe(root);
  addDemo(root);
  addInit(root);
  addConfig(root);
  addKeys(root);
  addPurge(root);
  addAudit(root);
  return root;
}

function version(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}
