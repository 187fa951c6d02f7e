// Resolvers on a memory store, for the tests of accounts.
import type { Store } from "onceward";
import type { AccountReading, HeaderList } from "onceward/http";
import { memoryStore } from "onceward/stores/memory";
import { type Accounts, type AccountsOptions, createAccounts } from "../../src/accounts/accounts.js";
import type { AccountConfig } from "../../src/config/config.js";

export const HOUR_MS = 3_600_000;

export async function openMemory(): Promise<Store> {
  const store = memoryStore();
  await store.open();
  return store;
}

/** Options of a configuration, without the ones that nearly every test leaves alone. */
type Written = AccountConfig extends infer C
  ? C extends AccountConfig
    ? Omit<C, "anonymous" | "secret"> & Partial<Pick<C, "anonymous" | "secret">>
    : never
  : never;

function accountConfig(written: Written): AccountConfig {
  return { anonymous: "reject", secret: null, ...written } as AccountConfig;
}

export async function accountsOf(
  written: Written,
  options: Partial<AccountsOptions> & { readonly store?: Store } = {},
): Promise<Accounts> {
  const { store = await openMemory(), ...rest } = options;
  return createAccounts(accountConfig(written), store, { longestRetentionMs: 24 * HOUR_MS, ...rest });
}

/** The account of a request with these fields; fails where it is refused. */
export async function accountFor(
  accounts: Accounts,
  headers: HeaderList,
): Promise<Extract<AccountReading, { kind: "account" }>> {
  const reading = await accounts.resolve(headers);
  if (reading.kind !== "account") throw new Error(`refused: ${reading.detail}`);
  return reading;
}

/** Why a request with these fields is refused; fails where it is not. */
export async function refusalFor(
  accounts: Accounts,
  headers: HeaderList,
): Promise<Extract<AccountReading, { kind: "refused" }>> {
  const reading = await accounts.resolve(headers);
  if (reading.kind !== "refused") throw new Error(`not refused: ${reading.account}`);
  return reading;
}
