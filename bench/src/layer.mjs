// What the layer costs: begin and finish over the memory store, against a bare loop of the same handler, in one run.
//
//   node bench/src/layer.mjs [seconds per round, default 2] [--history]
//
// Both do the same for a request: build its header list, read its body, and make an answer of 120 bytes. Only the ratio
// carries over to other machines. Build first (npm run build).

import { resolvePolicy } from "onceward";
import { createLayer } from "onceward/http";
import { memoryStore } from "onceward/stores/memory";

const seconds = Number(process.argv.find((argument) => /^\d+(\.\d+)?$/.test(argument)) ?? 2);
const history = process.argv.includes("--history");
const CONCURRENCY = 64;
const ROUNDS = 5;

const policy = resolvePolicy({}, { surface: "library", hasRoutes: true });
const body = new TextEncoder().encode(
  JSON.stringify({ amount: 12_050, currency: "EUR", to: "DE02120300000000202051" }),
);
const answer = new TextEncoder().encode(`{"id":"tr_1","state":"booked"}`.padEnd(120));
const account = { kind: "account", account: "acme" };

function headersOf(key) {
  return [
    ["Host", "bank.example"],
    ["Content-Type", "application/json"],
    ["Idempotency-Key", key],
    ["Authorization", "Bearer x"],
    ["User-Agent", "bench"],
  ];
}

function requestOf(key) {
  return {
    policy,
    route: "POST /v1/transfers",
    method: "POST",
    path: "/v1/transfers",
    query: "",
    headers: headersOf(key),
    namespace: "default",
    environment: "",
    account: async () => account,
    body: async (sink) => void sink(body),
  };
}

async function handler() {
  return { status: 201, headers: [["Content-Type", "application/json"]], body: answer };
}

let made = 0;
const { layer, store } = await (async () => {
  const store = memoryStore({ maxBytes: 8 * 2 ** 30 });
  await store.open();
  return { layer: createLayer({ store, history }), store };
})();

const loops = {
  async bare() {
    const request = requestOf(`key-${++made}`);
    await request.account();
    await request.body(() => {});
    await handler();
  },
  async "first run"() {
    const begun = await layer.begin(requestOf(`key-${++made}`));
    await begun.claim.finish(await handler());
  },
  async replay() {
    const begun = await layer.begin(requestOf("key-replayed"));
    if (begun.kind === "run") await begun.claim.finish(await handler());
  },
};

/** Requests a second of one loop, in a number of concurrent lanes. */
async function measure(one, ms) {
  const start = performance.now();
  let count = 0;
  const lane = async () => {
    while (performance.now() - start < ms) {
      for (let index = 0; index < 20; index++) await one();
      count += 20;
      // As a server would: I/O and timers get their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return (count * 1_000) / (performance.now() - start);
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const rates = Object.fromEntries(Object.keys(loops).map((name) => [name, []]));
for (const one of Object.values(loops)) await measure(one, 300);
for (let round = 1; round <= ROUNDS; round++) {
  process.stderr.write(`round ${round} of ${ROUNDS}\r`);
  // The loops take turns, so that a noisy moment meets all of them.
  for (const [name, one] of Object.entries(loops)) rates[name].push(await measure(one, (seconds * 1_000) / 3));
}
const bare = median(rates.bare);
console.log(
  `node ${process.version}, ${CONCURRENCY} lanes, median of ${ROUNDS} rounds, history ${history ? "on" : "off"}`,
);
for (const [name, all] of Object.entries(rates)) {
  const rate = median(all);
  const costs =
    name === "bare"
      ? ""
      : `  ${(1e6 / rate - 1e6 / bare).toFixed(1)} µs more than bare (${(rate / bare).toFixed(3)} of its rate)`;
  console.log(`${name.padEnd(10)} ${Math.round(rate).toLocaleString("en").padStart(12)} /s${costs}`);
}
await layer.drain(1_000);
await store.close();
