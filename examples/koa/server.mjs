// Koa: POST /transfers runs once for each Idempotency-Key, whatever is repeated, crashes or races.
import Koa from "koa";
import { accountFromAuthorization } from "onceward/accounts";
import { idempotency } from "onceward/koa";
import { sqliteStore } from "onceward/stores/sqlite";

const once = idempotency({
  store: sqliteStore({ path: process.env.STORE ?? "./onceward.db" }),
  // Credentials are kept as digests under this secret; the same one on every node.
  account: accountFromAuthorization({ secret: process.env.ACCOUNT_SECRET ?? "only-for-this-example" }),
  required: true,
});

const app = new Koa();
const transfers = [];

app.use(once);
app.use(async (ctx) => {
  if (ctx.path !== "/transfers") return;
  if (ctx.method === "GET") ctx.body = transfers;
  if (ctx.method !== "POST") return;
  const { from, to, amount } = JSON.parse(await text(ctx.req));
  if (!(amount > 0)) {
    // Nothing was done: the answer is not recorded, and the key stays unused.
    ctx.idempotency.notStarted();
    ctx.status = 422;
    ctx.body = { error: "amount must be more than 0" };
    return;
  }
  const transfer = { id: transfers.length + 1, from, to, amount };
  transfers.push(transfer);
  ctx.status = 201;
  ctx.body = transfer;
});

async function text(stream) {
  let body = "";
  for await (const chunk of stream.setEncoding("utf8")) body += chunk;
  return body || "null";
}

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

process.once("SIGTERM", () => server.close(() => once.close()));
