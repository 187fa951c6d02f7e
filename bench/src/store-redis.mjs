// How much gathering gains on Redis: claim+complete pairs a second of the store, against GET + SETNX + SET of the same client.
//
// node bench/src/store-redis.mjs [--seconds 2] [--rounds 5] [--callers 64,256] [--client ioredis,node-redis]
//                                [--topology one,cluster] [--fsync no|everysec|always]
//
// Only the ratios carry over to other machines, and those only where nothing else runs. The reference is what idempotency
// libraries do: read the key, set a lock where it is absent, and overwrite it with the answer; it has neither a fence, nor a
// lease that is judged by the server, nor listings, limits or a purge. Where the machine is busy, compare what a pair costs
// this process and the server in time of a processor.

import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { redisCommand, startRedis, startRedisCluster } from "@onceward/services";
import { Cluster, Redis } from "ioredis";
import { redisStore } from "onceward/stores/redis";
import { createClient, createCluster } from "redis";

const { values: flags } = parseArgs({
  options: {
    seconds: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    callers: { type: "string", default: "64,256" },
    client: { type: "string", default: "ioredis,node-redis" },
    topology: { type: "string", default: "one,cluster" },
    fsync: { type: "string", default: "no" },
  },
});
const seconds = Number(flags.seconds);
const PAYLOAD = randomBytes(500);
const LABELS = { account: "acme", key: "key", operation: "POST /v1/transfers", runId: "run" };
const DAY_MS = 86_400_000;
const PLAIN = "GET + SETNX + SET";

const random = randomBytes(65_536);
let drawn = 0;

/** Digits that nobody drew before. Drawing them one by one would cost as much as a command. */
function digits(byteCount) {
  const at = (drawn * 7) % (random.length - 64);
  random.writeUInt32BE(++drawn, at);
  return random.toString("hex", at, at + byteCount);
}

/**
 * Runs `pair` from so many callers for the time given: pairs a second, how long the slowest in a hundred took, and what a
 * pair cost this process and the servers, in microseconds.
 */
async function measure(callers, pair, serverMicros) {
  const until = performance.now() + seconds * 1_000;
  const latencies = [];
  const serverBefore = await serverMicros();
  const before = process.cpuUsage();
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
  const { user, system } = process.cpuUsage(before);
  const server = (await serverMicros()) - serverBefore;
  const count = latencies.length;
  latencies.sort((a, b) => a - b);
  const p99 = latencies[Math.floor(count * 0.99)] ?? 0;
  return { pairs: count / elapsed, p99, client: (user + system) / count, server: server / count };
}

async function ofStore(client, callers, gathering, serverMicros) {
  const store = redisStore({ client, prefix: `${randomBytes(4).toString("hex")}:`, gathering, onWarning() {} });
  await store.open();
  const pair = async () => {
    const id = digits(32);
    const fence = digits(16);
    const retention = { forMs: DAY_MS };
    const request = { id, fence, fingerprint: `exact:${id}`, ageMs: 0, retention, leaseMs: 30_000, labels: LABELS };
    const { outcome } = await store.claim(request);
    if (outcome !== "claimed") throw new Error(`A new key was answered ${outcome}.`);
    if (!(await store.complete(id, fence, { status: 200, payload: PAYLOAD }))) throw new Error("A claim was lost.");
  };
  const result = await measure(callers, pair, serverMicros);
  await store.close();
  return result;
}

function ofPlainCommands({ get, setLock, setAnswer }, callers, serverMicros) {
  const pair = async () => {
    const key = `plain:${digits(32)}`;
    if ((await get(key)) !== null) throw new Error("A new key was there.");
    await setLock(key);
    await setAnswer(key);
  };
  return measure(callers, pair, serverMicros);
}

/** What the processors have spent on all these servers, in microseconds. */
function timeOf(servers) {
  return async () => {
    const infos = await Promise.all(servers.map((server) => redisCommand(server, "INFO", "cpu")));
    const seconds = infos.flatMap((info) => [...String(info).matchAll(/used_cpu_(?:user|sys):([\d.]+)/g)]);
    return seconds.reduce((sum, [, value]) => sum + Number(value) * 1_000_000, 0);
  };
}

/** Connects, and says how the reference is written with this client. */
async function connect(kind, topology, urls) {
  if (kind === "ioredis") {
    const client = topology === "one" ? new Redis(urls[0]) : new Cluster(urls);
    const plain = {
      get: (key) => client.getBuffer(key),
      setLock: (key) => client.set(key, LABELS.runId, "PX", DAY_MS, "NX"),
      setAnswer: (key) => client.set(key, PAYLOAD, "PX", DAY_MS),
    };
    return { client, plain, end: () => client.disconnect() };
  }
  const client =
    topology === "one" ? createClient({ url: urls[0] }) : createCluster({ rootNodes: urls.map((url) => ({ url })) });
  await client.connect();
  const plain = {
    get: (key) => client.get(key),
    setLock: (key) => client.set(key, LABELS.runId, { PX: DAY_MS, NX: true }),
    setAnswer: (key) => client.set(key, PAYLOAD, { PX: DAY_MS }),
  };
  return { client, plain, end: () => client.destroy() };
}

/** Rounds of all of them alternate, and of each the median counts. */
async function medians(contenders) {
  const results = Object.fromEntries(Object.keys(contenders).map((what) => [what, []]));
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const [what, run] of Object.entries(contenders)) results[what].push(await run());
  }
  const median = (all) => all.sort((one, other) => one.pairs - other.pairs)[Math.floor(all.length / 2)];
  return Object.fromEntries(Object.entries(results).map(([what, all]) => [what, median(all)]));
}

const settings = flags.fsync === "no" ? { appendonly: "no" } : { appendfsync: flags.fsync };
const rows = [];
for (const topology of flags.topology.split(",")) {
  const servers = topology === "one" ? await startRedis({ settings }) : await startRedisCluster({ settings });
  const urls = topology === "one" ? [servers.url] : servers.servers.slice(0, 3).map(({ url }) => url);
  const serverMicros = timeOf(topology === "one" ? [servers] : servers.servers.slice(0, 3));
  try {
    for (const kind of flags.client.split(",")) {
      const { client, plain, end } = await connect(kind, topology, urls);
      for (const callers of flags.callers.split(",").map(Number)) {
        const contenders = {
          [PLAIN]: () => ofPlainCommands(plain, callers, serverMicros),
          "store, one operation a call": () => ofStore(client, callers, { maxBatch: 1 }, serverMicros),
          "store, gathered": () => ofStore(client, callers, {}, serverMicros),
        };
        const measured = await medians(contenders);
        for (const [what, { pairs, p99, client: spent, server }] of Object.entries(measured)) {
          rows.push({
            topology,
            client: kind,
            callers,
            what,
            "pairs/s": Math.round(pairs),
            "× plain": Number((pairs / measured[PLAIN].pairs).toFixed(2)),
            "p99 ms": Number(p99.toFixed(1)),
            "client µs": Number(spent.toFixed(1)),
            "server µs": Number(server.toFixed(1)),
          });
        }
      }
      end();
    }
  } finally {
    await servers.remove();
  }
}
console.log(
  `Node ${process.version}; claim+complete pairs, ${PAYLOAD.length} bytes of answer; ${seconds} s each; fsync ${flags.fsync}`,
);
console.table(rows);
