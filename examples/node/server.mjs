// Node's own http: POST /transfers runs once for each Idempotency-Key, whatever is repeated, crashes or races.
import { createServer } from "node:http";
import { accountFromAuthorization } from "onceward/accounts";
import { idempotency } from "onceward/node";
import { sqliteStore } from "onceward/stores/sqlite";

const once = idempotency({
  store: sqliteStore({ path: process.env.STORE ?? "./onceward.db" }),
  // Credentials are kept as digests under this secret; the same one on every node.
  account: accountFromAuthorization({ secret: process.env.ACCOUNT_SECRET ?? "only-for-this-example" }),
  required: true,
});

const transfers = [];

const listener = once(async (request, response, claim) => {
  if (request.url !== "/transfers") return json(response, 404, { error: "there is nothing here" });
  if (request.method === "GET") return json(response, 200, transfers);
  if (request.method !== "POST") return json(response, 405, { error: "GET or POST" });
  const { from, to, amount } = JSON.parse(await text(request));
  if (!(amount > 0)) {
    // Nothing was done: the answer is not recorded, and the key stays unused.
    claim.notStarted();
    return json(response, 422, { error: "amount must be more than 0" });
  }
  const transfer = { id: transfers.length + 1, from, to, amount };
  transfers.push(transfer);
  json(response, 201, transfer);
});

function json(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
}

async function text(stream) {
  let body = "";
  for await (const chunk of stream.setEncoding("utf8")) body += chunk;
  return body || "null";
}

const server = createServer(listener).listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

process.once("SIGTERM", () => server.close(() => once.close()));
