// `onceward purge`: deletes expired records now instead of when a gateway gets to it (SPEC §4.10).

import type { Command } from "commander";
import { print, printJson } from "./output.js";
import { addStoreFlags, type StoreFlags, withStore } from "./settings.js";

/** Small, so that a gateway that runs on the store is not held up. */
const BATCH = 500;

export function addPurge(program: Command): void {
  addStoreFlags(program.command("purge").description("delete expired records now"))
    .option("--json", "for machines")
    .action(purge);
}

async function purge(flags: StoreFlags & { readonly json?: boolean }): Promise<void> {
  const purged = await withStore(flags, async (store) => {
    let total = 0;
    for (;;) {
      const count = await store.purge(BATCH);
      total += count;
      if (process.stderr.isTTY) process.stderr.write(`${total} …\r`);
      if (count === 0) return total;
    }
  });
  if (flags.json === true) return printJson({ purged });
  print(`${purged} expired ${purged === 1 ? "record" : "records"} purged`);
}
