// The demo bank's ledger: one line of JSON for each transfer, on the disk before it is acknowledged.

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";

export interface Transfer {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly amount: number;
  readonly at: string;
}

export const OPENING_BALANCE = 1000;
const ACCOUNTS: readonly string[] = ["alice", "bob"];

/** Deliberately knows nothing of idempotency: every call of `transfer` moves money. */
export class Ledger {
  readonly #file: number;
  readonly #transfers: Transfer[];
  readonly #balances = new Map(ACCOUNTS.map((name) => [name, OPENING_BALANCE]));

  /** @throws Error of the file system, or where the file holds something else. */
  constructor(path: string) {
    this.#transfers = existsSync(path) ? readTransfers(path) : [];
    for (const transfer of this.#transfers) this.#apply(transfer);
    this.#file = openSync(path, "a", 0o600);
  }

  get transfers(): readonly Transfer[] {
    return this.#transfers;
  }

  /** undefined where there is no such account. */
  balance(account: string): number | undefined {
    return this.#balances.get(account);
  }

  /** Moves money. Accounts and amount have been checked. */
  transfer(from: string, to: string, amount: number): Transfer {
    const transfer = { id: `t-${this.#transfers.length + 1}`, from, to, amount, at: new Date().toISOString() };
    writeSync(this.#file, `${JSON.stringify(transfer)}\n`);
    fsyncSync(this.#file);
    this.#transfers.push(transfer);
    this.#apply(transfer);
    return transfer;
  }

  close(): void {
    closeSync(this.#file);
  }

  #apply({ from, to, amount }: Transfer): void {
    this.#balances.set(from, (this.#balances.get(from) ?? 0) - amount);
    this.#balances.set(to, (this.#balances.get(to) ?? 0) + amount);
  }
}

function readTransfers(path: string): Transfer[] {
  const text = readFileSync(path, "utf8");
  const end = text.lastIndexOf("\n") + 1;
  // What follows the last line break was being written when the bank was killed, and was never acknowledged.
  if (end < text.length) truncateSync(path, Buffer.byteLength(text.slice(0, end)));
  const lines = text
    .slice(0, end)
    .split("\n")
    .filter((line) => line !== "");
  return lines.map((line, index) => {
    try {
      const { id, from, to, amount, at } = JSON.parse(line) as Transfer;
      if (typeof from === "string" && typeof to === "string" && Number.isSafeInteger(amount))
        return { id, from, to, amount, at };
    } catch {
      // Said below, with the place.
    }
    throw new Error(`${path}:${index + 1} is no transfer`);
  });
}
