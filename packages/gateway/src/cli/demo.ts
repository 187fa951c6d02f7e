// `onceward demo`: the gateway in front of a small bank, and requests to try.

import { relative, resolve, sep } from "node:path";
import type { Command } from "commander";
import { addressText } from "../config/addresses.js";
import type { Address } from "../config/config.js";
import { readAddress } from "../config/leaf.js";
import { readFault } from "../config/sources.js";
import type { Transfer } from "../demo/ledger.js";
import { type DemoBank, demoConfig, startBank, tryListening } from "../demo/run.js";
import { welcome } from "../demo/welcome.js";
import { createLogger } from "../log.js";
import { CommandFailure, usage } from "./faults.js";
import { catchSignals, listenFailure, start } from "./listening.js";
import { paint, print } from "./output.js";

interface DemoFlags {
  readonly listen: string;
  readonly admin: string;
  readonly bank: string;
  readonly data: string;
}

export function addDemo(program: Command): void {
  program
    .command("demo")
    .description("try it: the gateway in front of a small bank, and requests to paste")
    .option("-l, --listen <host:port>", "where clients connect", "127.0.0.1:8080")
    .option("--admin <host:port>", "run history and metrics", "127.0.0.1:8081")
    .option("--bank <host:port>", "where the bank listens", "127.0.0.1:8082")
    .option("--data <folder>", "where money and keys are kept", "onceward-demo")
    .action(demo);
}

async function demo(flags: DemoFlags): Promise<void> {
  const bankAddress = addressOf("--bank", flags.bank);
  const listen = addressOf("--listen", flags.listen);
  const admin = addressOf("--admin", flags.admin);
  const folder = resolve(flags.data);
  const signals = catchSignals();
  // Where a demo runs already, all three are in use: the gateway's is the one that its users know.
  await tryListening(listen).catch((error: unknown) => {
    throw listenFailure(error, [{ flag: "--listen", address: listen }]);
  });
  await tryListening(admin).catch((error: unknown) => {
    throw listenFailure(error, [{ flag: "--admin", address: admin }]);
  });
  const bank = await openBank(folder, bankAddress);
  try {
    const config = demoConfig(folder, `http://${addressText(bank.address)}`, flags.listen, flags.admin);
    const log = createLogger(config.log);
    const gateway = await start(config, { log });
    const { transfers } = bank.ledger;
    const place = {
      gateway: gateway.address,
      admin: gateway.adminAddress,
      bank: bank.address,
      data: shown(folder),
      pid: process.pid,
    };
    print(welcome({ ...place, transfers: transfers.length }, paint));
    await signals.run(gateway, log);
  } finally {
    await bank.close();
  }
}

async function openBank(folder: string, listen: Address): Promise<DemoBank> {
  try {
    return await startBank(folder, listen, (transfer) => print(transferLine(transfer)));
  } catch (error) {
    const failure = listenFailure(error, [{ flag: "--bank", address: listen }]);
    if (failure instanceof CommandFailure) throw failure;
    throw new CommandFailure(`cannot keep data in ${folder}: ${readFault(error)}; name another folder with --data`);
  }
}

function transferLine({ id, from, to, amount }: Transfer): string {
  return `${paint("dim", "bank")}  ${id}: ${from} sends ${to} ${amount}`;
}

function addressOf(flag: string, text: string): Address {
  const address = readAddress(text);
  if (address === undefined)
    throw usage(`${flag} is ${JSON.stringify(text)}, but it must be HOST:PORT, such as 127.0.0.1:8080`);
  return address;
}

/** As the user may type it. */
function shown(folder: string): string {
  const way = relative(process.cwd(), folder);
  return way === "" || way.startsWith("..") ? folder : `.${sep}${way}`;
}
