// A server whose operations are transactions, or steps with calls to another service, and that dies at a given statement.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { singleTenant } from "onceward/accounts";
import { idempotency } from "onceward/node";
import { DATABASES } from "./databases.mjs";
import { fuse } from "./fuse.mjs";

const { database, url, port, at, moment, downstream } = JSON.parse(process.argv[2]);
const { store, transactions, write } = DATABASES[database](url, fuse({ at, moment }));
const common = { store, account: singleTenant, required: true, lease: "600ms", background: false };

/** The writes and the recorded answer are one transaction (SPEC §7.1). */
const inTransaction = idempotency({ ...common, transactional: true });
const transfer = inTransaction(async (_request, _response, claim) => {
  const effect = randomUUID();
  const answer = { status: 201, body: { effect } };
  await claim.transaction(transactions, (tx) => {
    const written = write(tx, claim.key, effect);
    return transactions.synchronous ? answer : written.then(() => answer);
  });
});

/** Two calls to another service, each a recorded step (SPEC §7.2). */
const inSteps = idempotency({ ...common, onInterrupted: "rerun" });
const steps = inSteps(async (_request, response, claim) => {
  const results = [];
  for (const name of ["reserve", "charge"]) {
    results.push(
      await claim.step(name, async ({ idempotencyKey }) => {
        const called = { step: name, operation: claim.key, idempotencyKey };
        const answer = await fetch(downstream, { method: "POST", body: JSON.stringify(called) });
        return answer.text();
      }),
    );
  }
  response.writeHead(201).end(JSON.stringify(results));
});

await Promise.all([inTransaction.ready(), inSteps.ready()]);
createServer((request, response) => (request.url === "/steps" ? steps : transfer)(request, response)).listen(
  port,
  "127.0.0.1",
  () => console.log("ready"),
);
