// `onceward keys`: looks at records and settles them, in the store itself, so that it works while no gateway runs.

import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { RecordState, Store, StoredRecord } from "onceward";
import { decodeResponse, type HttpResponse } from "onceward/http";
import { sealingKeyOf } from "onceward/stores/sealed";
import { type ChangeResult, releaseRecord, type Settlement, settleRecord } from "../admin/settle.js";
import type { StoreConfig } from "../config/load.js";
import { sealFault } from "../config/seal-mark.js";
import { readFault } from "../config/sources.js";
import { CommandFailure, usage } from "./faults.js";
import { listing, note, paint, print, printable, printJson } from "./output.js";
import { findRecord, recordItem, recordPairs, recordTable } from "./records.js";
import { addStoreFlags, type StoreFlags, wholeNumber, withStore } from "./settings.js";

interface ListFlags extends StoreFlags {
  readonly state?: RecordState;
  readonly account?: string;
  readonly key?: string;
  readonly limit: number;
  readonly cursor?: string;
  readonly ids?: boolean;
  readonly json?: boolean;
}

interface OneFlags extends StoreFlags {
  readonly account?: string;
  readonly json?: boolean;
}

interface SettleFlags extends OneFlags {
  readonly neverHappened?: boolean;
  readonly status?: number;
  readonly header: readonly (readonly [string, string])[];
  readonly bodyFile?: string;
  readonly reason: string;
}

interface ReleaseFlags extends OneFlags {
  readonly force?: boolean;
  readonly reason: string;
}

export function addKeys(program: Command): void {
  const keys = program
    .command("keys")
    .description("look at keys, and settle or release what is unknown")
    .helpCommand(false);
  const one = (name: string, about: string): Command =>
    addStoreFlags(keys.command(name).description(about))
      .argument("<key>", "the key, or the record's id")
      .option("--account <account>", "whose key it is, where several accounts use it")
      .option("--json", "for machines");
  addStoreFlags(keys.command("list").description("list keys, newest first"))
    .addOption(new Option("--state <state>", "only these").choices(["running", "done", "unknown"]))
    .option("--account <account>", "only this account's")
    .option("--key <key>", "only this key")
    .option("--limit <n>", "at most so many", wholeNumber(1, 1000), 50)
    .option("--cursor <cursor>", "go on where the page before ended")
    .option("--ids", "show the records' ids too")
    .option("--json", "for machines")
    .action(list);
  one("show", "show one key and its answer")
    .option("--body", "write the recorded body alone to standard output")
    .action(show);
  one("settle", "say what became of an operation whose outcome is unknown")
    .option("--never-happened", "it took no effect: the key is unused again")
    .option("--status <status>", "it took effect, and this is its answer's status", wholeNumber(200, 599))
    .option(
      "--header <field>",
      'a field of that answer, such as "Content-Type: application/json"; repeatable',
      header,
      [],
    )
    .option("--body-file <file>", "that answer's body; - for standard input")
    .requiredOption("--reason <text>", "why, for the audit trail (required)")
    .action(settle);
  one("release", "free a key, so that a retry starts its operation again")
    .option("--force", "also while it is running: its operation may then happen twice")
    .requiredOption("--reason <text>", "why, for the audit trail (required)")
    .action(release);
}

async function list(flags: ListFlags): Promise<void> {
  const { state, account, key, limit, cursor } = flags;
  const page = await withStore(flags, (store) =>
    store.list({
      limit,
      ...(state === undefined ? {} : { state }),
      ...(account === undefined ? {} : { account }),
      ...(key === undefined ? {} : { key }),
      ...(cursor === undefined ? {} : { cursor }),
    }),
  );
  if (flags.json === true) return printJson({ items: page.items.map(recordItem), next: page.next });
  if (page.items.length === 0) return note("no keys");
  print(recordTable(page.items, Date.now(), flags.ids === true));
  if (page.next !== null) note(`more: --cursor ${page.next}`);
}

async function show(key: string, flags: OneFlags & { readonly body?: boolean }): Promise<void> {
  const { record, now } = await withStore(flags, async (store) => {
    const { id } = await findRecord(store, key, flags.account);
    const found = await store.find(id);
    if (found === null) throw new CommandFailure("it has just expired or been released");
    return found;
  });
  const { payload, status } = record;
  const sealedWith = payload === null ? null : sealingKeyOf(payload);
  const answer = payload === null || status === null || sealedWith !== null ? null : decodeResponse(status, payload);
  if (flags.body === true) {
    if (sealedWith !== null) throw new CommandFailure(sealedText(sealedWith));
    if (answer?.body === null || answer === null) throw new CommandFailure("it has no recorded body");
    process.stdout.write(answer.body);
    return;
  }
  if (flags.json === true) {
    const body = answer?.body ?? null;
    const shown =
      answer === null ? null : { ...answer, body: body === null ? null : Buffer.from(body).toString("base64") };
    return printJson({ ...recordItem(record), now, answer: shown, ...(sealedWith === null ? {} : { sealedWith }) });
  }
  print(listing(recordPairs(record, now)));
  if (sealedWith !== null) print(`\n(${sealedText(sealedWith)})`);
  if (answer === null) return;
  print();
  for (const [name, value] of answer.headers) print(`${paint("dim", `${printable(name)}:`)} ${printable(value)}`);
  if (answer.body === null) print("(body not kept)");
  else print(`(${answer.body.length} bytes of body; --body writes them)`);
}

function sealedText(key: string): string {
  return `its answer is sealed with the key ${JSON.stringify(key)}; set \`encryption\`, or name the gateway's configuration with --config`;
}

async function settle(key: string, flags: SettleFlags): Promise<void> {
  const decision = decisionOf(flags);
  await change(key, flags, async (store, record, { encryption }) => {
    // What is recorded here is the gateway's to open.
    const fault = decision.outcome === "done" ? await sealFault(store, encryption) : null;
    if (fault !== null) throw new CommandFailure(fault);
    return await settleRecord(store, record.id, decision, whoAmI(), flags.reason);
  });
}

async function release(key: string, flags: ReleaseFlags): Promise<void> {
  const force = flags.force === true;
  await change(key, flags, (store, record) => releaseRecord(store, record.id, { force }, whoAmI(), flags.reason));
}

async function change(
  key: string,
  flags: OneFlags,
  act: (store: Store, record: StoredRecord, config: StoreConfig) => Promise<ChangeResult>,
): Promise<void> {
  const result = await withStore(flags, async (store, config) =>
    act(store, await findRecord(store, key, flags.account), config),
  );
  // The admin API says the same in its own terms.
  if (result.kind !== "changed") throw new CommandFailure(result.detail.replaceAll(/\bwith force\b/g, "with --force"));
  if (flags.json === true) return printJson({ entry: result.entry, amended: result.amended });
  print(`${printable(result.entry.key)}: ${result.entry.detail}`);
}

function decisionOf(flags: SettleFlags): Settlement {
  const { neverHappened, status, header: headers, bodyFile } = flags;
  if ((neverHappened === true) === (status !== undefined)) {
    throw usage("say either --never-happened, or --status with the answer that duplicates are to get");
  }
  if (status === undefined) {
    if (headers.length > 0 || bodyFile !== undefined) throw usage("--header and --body-file belong to --status");
    return { outcome: "never-happened" };
  }
  const response: HttpResponse = {
    status,
    headers,
    body: bodyFile === undefined ? new Uint8Array() : readBody(bodyFile),
  };
  return { outcome: "done", response };
}

function readBody(file: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(file === "-" ? 0 : file));
  } catch (error) {
    throw new CommandFailure(`cannot read --body-file ${file}: ${readFault(error)}`);
  }
}

function header(field: string, before: readonly (readonly [string, string])[]): readonly (readonly [string, string])[] {
  const colon = field.indexOf(":");
  if (colon <= 0) throw new InvalidArgumentError('Write it as "Name: value".');
  return [...before, [field.slice(0, colon).trim(), field.slice(colon + 1).trim()]];
}

/** Who changes something, for the audit trail: the system's user, or its number where it has no name. */
function whoAmI(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? "unknown"}`;
  }
}
