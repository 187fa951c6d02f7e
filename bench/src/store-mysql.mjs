// How much gathering gains: claim+complete pairs a second of the MySQL store, against the naive three statements.
//
// node bench/src/store-mysql.mjs [--seconds 3] [--callers 64,256] [--rounds 3] [--accounts 100] [--bytes 500]
//   [--replays 0] [--client mysql2|mariadb]
//
// Only the ratios carry over to other machines. Rounds of both alternate, and the median counts. The naive form is what
// most middleware does: SELECT the key, INSERT it where it is absent, UPDATE it with the answer, each in a round trip and
// a commit of its own, on a pool of 10 connections. `--replays` is how many times each key is claimed again.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startMariadb } from "@onceward/services";
import mariadb from "mariadb";
import mysql from "mysql2/promise";
import { mysqlStore } from "onceward/stores/mysql";

const { values: flags } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    callers: { type: "string", default: "64,256" },
    rounds: { type: "string", default: "3" },
    accounts: { type: "string", default: "100" },
    bytes: { type: "string", default: "500" },
    replays: { type: "string", default: "0" },
    client: { type: "string", default: "mysql2" },
  },
});
const seconds = Number(flags.seconds);
const payload = randomBytes(Number(flags.bytes));
const accounts = Number(flags.accounts);
const replays = Number(flags.replays);

/** CPU time that the server has used, in µs; Linux only, elsewhere NaN. A tick is 10 ms. */
function serverCpu() {
  try {
    const pid = readFileSync(join(server.folder, "pid"), "utf8").trim();
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  } catch {
    return Number.NaN;
  }
}

/** Runs `pair` from so many callers for the time given; pairs a second, the slowest in a hundred, and CPU time a pair. */
async function measure(callers, pair) {
  const before = { node: process.cpuUsage(), server: serverCpu() };
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
  const count = latencies.length;
  const p99 = latencies[Math.floor(latencies.length * 0.99)] ?? 0;
  const server = (serverCpu() - before.server) / count;
  return { pairs: count / elapsed, p99, node: (user + system) / count, server };
}

async function storePair(store) {
  const [id, fence] = [randomBytes(32).toString("hex"), randomBytes(16).toString("hex")];
  const account = `account-${Math.floor(Math.random() * accounts)}`;
  const request = {
    ...{ id, fence, fingerprint: `exact:${id}`, ageMs: 0, retention: { forMs: 86_400_000 }, leaseMs: 30_000 },
    labels: { account, key: id.slice(0, 36), operation: "POST /v1/transfers", runId: id.slice(0, 36) },
  };
  const { outcome } = await store.claim(request);
  if (outcome !== "claimed") throw new Error(`A new key was answered ${outcome}.`);
  if (!(await store.complete(id, fence, { status: 200, payload }))) throw new Error("A claim was lost.");
  for (let replay = 0; replay < replays; replay++) {
    const found = await store.claim({ ...request, fence: randomBytes(16).toString("hex") });
    if (found.outcome !== "found") throw new Error(`A recorded key was answered ${found.outcome}.`);
  }
}

async function naivePair(pool) {
  const key = randomBytes(32).toString("hex");
  const look = async () => (await pool.query("SELECT status, body FROM naive WHERE id = ?", [key]))[0];
  if ((await look()).length > 0) throw new Error("A new key was there.");
  await pool.query("INSERT INTO naive (id, fingerprint, created_at) VALUES (?, ?, NOW())", [key, `exact:${key}`]);
  await pool.query("UPDATE naive SET status = 200, body = ? WHERE id = ?", [payload, key]);
  for (let replay = 0; replay < replays; replay++) await look();
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

const server = await startMariadb({ settings: { "innodb-buffer-pool-size": "512M", "innodb-log-file-size": "512M" } });
try {
  const { port } = new URL(server.url);
  const options = { host: "127.0.0.1", port: Number(port), user: "root", database: "test", connectionLimit: 10 };
  const naive = mysql.createPool(options);
  const own = flags.client === "mariadb" ? mariadb.createPool(options) : mysql.createPool(options);
  const store = mysqlStore({ pool: own });
  await store.open();
  await naive.query(
    "CREATE TABLE naive (id VARCHAR(64) PRIMARY KEY, fingerprint VARCHAR(80), created_at DATETIME, status INT, body LONGBLOB)",
  );
  const forms = { "naive, three statements": () => naivePair(naive), "store, gathered": () => storePair(store) };
  const rows = [];
  for (const callers of flags.callers.split(",").map(Number)) {
    const measured = Object.fromEntries(Object.keys(forms).map((name) => [name, []]));
    for (let round = 0; round < Number(flags.rounds); round++) {
      for (const [name, pair] of Object.entries(forms)) measured[name].push(await measure(callers, pair));
    }
    const reference = median(measured["naive, three statements"].map(({ pairs }) => pairs));
    for (const [what, results] of Object.entries(measured)) {
      const pairs = median(results.map((result) => result.pairs));
      rows.push({
        callers,
        what,
        "pairs/s": Math.round(pairs),
        "× naive": Number((pairs / reference).toFixed(2)),
        "p99 ms": Number(median(results.map(({ p99 }) => p99)).toFixed(1)),
        "client CPU µs": Math.round(median(results.map(({ node }) => node))),
        "server CPU µs": Math.round(median(results.map(({ server }) => server))),
      });
    }
  }
  const [[{ version }]] = await naive.query("SELECT VERSION() AS version");
  console.log(
    `Node ${process.version}, ${version}, ${flags.client}; ${payload.length} bytes of answer; ${seconds} s each`,
  );
  console.table(rows);
  await store.close();
  await own.end();
  await naive.end();
} finally {
  await server.remove();
}
