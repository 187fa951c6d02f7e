// A process that claims and completes keys as fast as it can, and says on its output what was acknowledged.

import { randomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import { sqliteStore } from "onceward/stores/sqlite";

const [path = "", callers = "16"] = process.argv.slice(2);
const store = sqliteStore({ path });
await store.open();
// Written at once and not through a stream, so that a line that was said has left this process when it is killed.
const say = (line) => writeSync(1, `${line}\n`);
say("ready");
process.stdin.on("end", () => process.exit(7)).resume();

const work = async () => {
  for (;;) {
    const id = randomBytes(32).toString("hex");
    const fence = randomBytes(16).toString("hex");
    const labels = { account: `account-${id.charCodeAt(0) % 3}`, key: id, operation: "POST /v1/transfers", runId: "r" };
    const request = { id, fence, fingerprint: id, ageMs: 0, retention: { forMs: 3_600_000 }, leaseMs: 60_000, labels };
    const { outcome } = await store.claim(request);
    if (outcome !== "claimed") throw new Error(`A new key was answered ${outcome}.`);
    say(`claimed ${id} ${fence}`);
    const payload = randomBytes(20 + Math.floor(Math.random() * 8_000));
    if (!(await store.complete(id, fence, { status: 200, payload }))) throw new Error("A claim was lost.");
    say(`done ${id} ${payload.toString("base64")}`);
  }
};
await Promise.all(Array.from({ length: Number(callers) }, work));
