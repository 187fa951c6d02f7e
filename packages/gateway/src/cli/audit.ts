// `onceward audit`: what operators changed, who, when and why (SPEC §4.14, §9.5).

import type { Command } from "commander";
import { CommandFailure } from "./faults.js";
import { instant, note, print, printable, printJson, table } from "./output.js";
import { addStoreFlags, type StoreFlags, wholeNumber, withStore } from "./settings.js";

interface AuditFlags extends StoreFlags {
  readonly limit: number;
  readonly cursor?: string;
  readonly json?: boolean;
}

export function addAudit(program: Command): void {
  const audit = program
    .command("audit")
    .description("read the audit trail: without more it is listed")
    .helpCommand(false);
  addStoreFlags(audit.command("list", { isDefault: true }).description("list what operators changed, newest first"))
    .option("--limit <n>", "at most so many", wholeNumber(1, 1000), 50)
    .option("--cursor <cursor>", "go on where the page before ended")
    .option("--json", "for machines")
    .action(list);
}

async function list(flags: AuditFlags): Promise<void> {
  const { limit, cursor } = flags;
  const page = await withStore(flags, async (store) => {
    if (store.history === undefined) throw new CommandFailure(`the ${store.info.name} store keeps no audit trail`);
    return store.history.listAudit({ limit, ...(cursor === undefined ? {} : { cursor }) });
  });
  if (flags.json === true) return printJson(page);
  if (page.items.length === 0) return note("no changes");
  const rows = page.items.map((entry) => [
    instant(entry.at),
    printable(entry.who),
    printable(entry.key),
    printable(entry.account),
    printable(entry.detail),
    printable(entry.reason),
  ]);
  print(table(["WHEN", "WHO", "KEY", "ACCOUNT", "WHAT", "WHY"], rows));
  if (page.next !== null) note(`more: --cursor ${page.next}`);
}
