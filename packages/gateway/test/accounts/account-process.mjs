// A gateway's process, as far as accounts go: prints the account of one credential. Started by keyring.test.ts.
import { sqliteStore } from "onceward/stores/sqlite";
import { createAccounts } from "../../dist/accounts/accounts.js";

const store = sqliteStore({ path: process.argv[2] });
await store.open();
const config = { from: "credential", changingCredentials: "reject", anonymous: "reject", secret: null };
const accounts = await createAccounts(config, store, { longestRetentionMs: 86_400_000 });
const { account } = await accounts.resolve([["Authorization", "Bearer sk_live_1"]]);
process.stdout.write(`${account}\n`);
await store.close();
