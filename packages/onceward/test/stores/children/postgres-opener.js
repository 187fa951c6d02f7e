// A process that opens the store on a database that others open at the same time, makes a record, and ends.

import { randomBytes } from "node:crypto";
import { postgresStore } from "onceward/stores/postgres";
import pg from "pg";

const { url, schema } = JSON.parse(process.argv[2] ?? "{}");
const client = new pg.Pool({ connectionString: url });
const store = postgresStore({ client, schema });
await store.open();
const labels = { account: "a", key: "k", operation: "POST /", runId: "r" };
const [id, fence] = [randomBytes(32).toString("hex"), randomBytes(16).toString("hex")];
const request = { id, fence, fingerprint: null, ageMs: 0, retention: { forMs: 60_000 }, leaseMs: 30_000, labels };
const { outcome } = await store.claim(request);
await store.close();
await client.end();
process.exitCode = outcome === "claimed" ? 0 : 1;
