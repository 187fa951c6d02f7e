// Hono: POST /transfers runs once for each Idempotency-Key, whatever is repeated, crashes or races.
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { accountFromAuthorization } from "onceward/accounts";
import { idempotency } from "onceward/hono";
import { sqliteStore } from "onceward/stores/sqlite";

const once = idempotency({
  store: sqliteStore({ path: process.env.STORE ?? "./onceward.db" }),
  // Credentials are kept as digests under this secret; the same one on every node.
  account: accountFromAuthorization({ secret: process.env.ACCOUNT_SECRET ?? "only-for-this-example" }),
  required: true,
});

const transfers = [];

const app = new Hono()
  .post("/transfers", once, async (c) => {
    const { from, to, amount } = await c.req.json();
    if (!(amount > 0)) {
      // Nothing was done: the answer is not recorded, and the key stays unused.
      c.var.idempotency.notStarted();
      return c.json({ error: "amount must be more than 0" }, 422);
    }
    const transfer = { id: transfers.length + 1, from, to, amount };
    transfers.push(transfer);
    return c.json(transfer, 201);
  })
  .get("/transfers", (c) => c.json(transfers));

const options = { fetch: app.fetch, port: Number(process.env.PORT ?? 3000), hostname: "127.0.0.1" };
const server = serve(options, ({ port }) => console.log(`http://127.0.0.1:${port}`));

process.once("SIGTERM", () => server.close(() => once.close()));
