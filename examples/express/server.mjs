// Express: POST /transfers runs once for each Idempotency-Key, whatever is repeated, crashes or races.
import express from "express";
import { accountFromAuthorization } from "onceward/accounts";
import { idempotency } from "onceward/express";
import { sqliteStore } from "onceward/stores/sqlite";

const once = idempotency({
  store: sqliteStore({ path: process.env.STORE ?? "./onceward.db" }),
  // Credentials are kept as digests under this secret; the same one on every node.
  account: accountFromAuthorization({ secret: process.env.ACCOUNT_SECRET ?? "only-for-this-example" }),
  required: true,
});

const app = express();
const transfers = [];

app.post("/transfers", once, express.json(), (req, res) => {
  const { from, to, amount } = req.body ?? {};
  if (!(amount > 0)) {
    // Nothing was done: the answer is not recorded, and the key stays unused.
    req.idempotency.notStarted();
    return res.status(422).json({ error: "amount must be more than 0" });
  }
  const transfer = { id: transfers.length + 1, from, to, amount };
  transfers.push(transfer);
  res.status(201).json(transfer);
});

app.get("/transfers", (_req, res) => res.json(transfers));

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

process.once("SIGTERM", () => server.close(() => once.close()));
