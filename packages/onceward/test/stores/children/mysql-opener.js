// Opens a MySQL store, claims one key and ends: one of several processes that start at once.

import { randomBytes } from "node:crypto";
import { createStore } from "./mysql-store.js";

const store = createStore(process.argv[2]);
await store.open();
const hex = (bytes) => randomBytes(bytes).toString("hex");
const labels = { account: "acme", key: "key", operation: "POST /", runId: "run" };
const times = { ageMs: 0, retention: { forMs: 60_000 }, leaseMs: 1_000 };
const { outcome } = await store.claim({ id: hex(32), fence: hex(16), fingerprint: null, ...times, labels });
if (outcome !== "claimed") throw new Error(`A new key was answered ${outcome}.`);
await store.close();
