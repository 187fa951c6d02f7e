// How much gathering gains: claim+complete pairs a second of the PostgreSQL store, against the naive three statements.
//
// node bench/src/store-postgres.mjs [--seconds 3] [--callers 64,256] [--rounds 3] [--accounts 100] [--bytes 500]
//   [--records 0] [--client pg|postgres.js]
//
// Only the ratios carry over to other machines. Rounds of both alternate, and the median counts. The naive form is what
// most middleware does: SELECT the key, INSERT it where it is absent, UPDATE it with the answer, each in a round trip and
// a commit of its own. `--records` fills the table first with so many records, to see what growth costs.

import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startPostgres } from "@onceward/services";
import { postgresStore } from "onceward/stores/postgres";
import pg from "pg";
import postgres from "postgres";

const { values: flags } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    callers: { type: "string", default: "64,256" },
    rounds: { type: "string", default: "3" },
    accounts: { type: "string", default: "100" },
    bytes: { type: "string", default: "500" },
    records: { type: "string", default: "0" },
    client: { type: "string", default: "pg" },
  },
});
const seconds = Number(flags.seconds);
const payload = randomBytes(Number(flags.bytes));
const accounts = Number(flags.accounts);

/** CPU time that the server's processes have used, in µs; Linux only, elsewhere NaN. A tick is 10 ms. */
function serverCpu() {
  const [main] = readFileSync(join(server.folder, "data", "postmaster.pid"), "utf8").split("\n");
  let ticks = 0;
  try {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      const stat = readStat(pid);
      if (pid === main || stat[1] === main) ticks += Number(stat[11]) + Number(stat[12]);
    }
  } catch {
    return Number.NaN;
  }
  return ticks * 10_000;
}

function readStat(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    // It has ended.
    return [];
  }
}

/** Runs `pair` from so many callers for the time given; pairs a second, the slowest in a hundred, and CPU time a pair. */
async function measure(callers, pair) {
  const before = { server: serverCpu(), node: process.cpuUsage() };
  const until = performance.now() + seconds * 1_000;
  const latencies = [];
  const started = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < until) {
        const begun = performance.now();
        await pair();
        latencies.push(performance.now() - begun);
      }
    }),
  );
  const elapsed = (performance.now() - started) / 1_000;
  latencies.sort((a, b) => a - b);
  const { user, system } = process.cpuUsage(before.node);
  return {
    pairs: latencies.length / elapsed,
    p99: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    node: (user + system) / latencies.length,
    server: (serverCpu() - before.server) / latencies.length,
  };
}

function pairOf(store) {
  return async () => {
    const id = randomBytes(32).toString("hex");
    const fence = randomBytes(16).toString("hex");
    const account = `account-${Math.floor(Math.random() * accounts)}`;
    const labels = { account, key: fence, operation: "POST /v1/transfers", runId: id.slice(0, 36) };
    const retention = { forMs: 86_400_000 };
    const request = { id, fence, fingerprint: `exact:${id}`, ageMs: 0, retention, leaseMs: 30_000, labels };
    const { outcome } = await store.claim(request);
    if (outcome !== "claimed") throw new Error(`A new key was answered ${outcome}.`);
    if (!(await store.complete(id, fence, { status: 200, payload }))) throw new Error("A claim was lost.");
  };
}

function naivePairOf(pool) {
  return async () => {
    const key = randomBytes(32).toString("hex");
    const { rows } = await pool.query("SELECT status, response FROM naive WHERE key = $1", [key]);
    if (rows.length > 0) throw new Error("A new key was there.");
    await pool.query("INSERT INTO naive (key, fingerprint, created_at) VALUES ($1, $2, now())", [key, `exact:${key}`]);
    await pool.query("UPDATE naive SET status = 200, response = $2 WHERE key = $1", [key, payload]);
  };
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

/** So many records, as old as if they had come one after the other. */
async function fill(pool, records) {
  const store = postgresStore({ client: pool });
  await store.open();
  const sql = `INSERT INTO onceward_records (created_at, expires_at, lease_until, ended_at, state, status, id, fence, account,
    key, operation, run_id, fingerprint, payload)
  SELECT now, now + 86400000, 0, now, 1, 200, sha256(i::text::bytea), decode(md5(i::text), 'hex'), 'account-' || i % $2,
    md5(i::text), 'POST /v1/transfers', md5(i::text), 'exact:' || md5(i::text), $3::bytea
  FROM generate_series($1::bigint, $1 + 9999) i, (SELECT floor(extract(epoch FROM now()) * 1000)::bigint AS now) clock`;
  for (let made = 0; made < records; made += 10_000) await pool.query(sql, [made, accounts, payload]);
  await pool.query("VACUUM ANALYZE onceward_records");
  await pool.query("CHECKPOINT");
  await store.close();
}

const server = await startPostgres();
const pool = new pg.Pool({ connectionString: server.url, max: 20 });
const sql = flags.client === "postgres.js" ? postgres(server.url, { max: 20 }) : undefined;
try {
  await pool.query(
    "CREATE TABLE naive (key text PRIMARY KEY, fingerprint text, created_at timestamptz, status int, response bytea)",
  );
  await fill(pool, Number(flags.records));
  const store = postgresStore({ client: sql ?? pool });
  await store.open();
  const forms = { naive: naivePairOf(pool), store: pairOf(store) };
  const rows = [];
  for (const callers of flags.callers.split(",").map(Number)) {
    const measured = { naive: [], store: [] };
    for (const pair of Object.values(forms)) await pair();
    for (let round = 0; round < Number(flags.rounds); round++) {
      for (const [form, pair] of Object.entries(forms)) measured[form].push(await measure(callers, pair));
    }
    const middle = (form, of) => median(measured[form].map((result) => result[of]));
    for (const form of Object.keys(forms)) {
      rows.push({
        callers,
        form,
        "pairs/s": Math.round(middle(form, "pairs")),
        "× naive": Number((middle(form, "pairs") / middle("naive", "pairs")).toFixed(2)),
        "p99 ms": Number(middle(form, "p99").toFixed(1)),
        "client CPU µs": Math.round(middle(form, "node")),
        "server CPU µs": Math.round(middle(form, "server")),
      });
    }
  }
  await store.close();
  const { rows: version } = await pool.query("SHOW server_version");
  console.log(
    `Node ${process.version}, PostgreSQL ${version[0].server_version}, ${flags.client}; claim+complete pairs, ` +
      `${payload.length} bytes of answer, ${flags.records} records before; median of ${flags.rounds} rounds of ${seconds} s`,
  );
  console.table(rows);
} finally {
  await sql?.end();
  await pool.end();
  await server.remove();
}
