// Express on PostgreSQL: the balances and the recorded answer change in one transaction, so each key moves money once.
import express from "express";
import { accountFromAuthorization } from "onceward/accounts";
import { idempotency } from "onceward/express";
import { postgresStore } from "onceward/stores/postgres";
import { pgTransactions } from "onceward/transactions";
import pg from "pg";

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL ?? "postgres://postgres@127.0.0.1:5432/postgres",
});
await pool.query(`
  CREATE TABLE IF NOT EXISTS balances (name text PRIMARY KEY, amount bigint NOT NULL CHECK (amount >= 0));
  CREATE TABLE IF NOT EXISTS transfers (id bigserial PRIMARY KEY, source text, target text, amount bigint NOT NULL);
  INSERT INTO balances VALUES ('alice', 1000), ('bob', 0) ON CONFLICT DO NOTHING;
`);

const database = pgTransactions(pool);
const once = idempotency({
  store: postgresStore({ client: pool }),
  // Credentials are kept as digests under this secret; the same one on every node.
  account: accountFromAuthorization({ secret: process.env.ACCOUNT_SECRET ?? "only-for-this-example" }),
  required: true,
  // What a crash interrupts is rolled back, so that the client's retry may run it again.
  transactional: true,
  lease: process.env.LEASE ?? "30s",
});

const app = express();

app.post("/transfers", once, express.json(), async (req, res) => {
  const { from, to, amount } = req.body ?? {};
  if (!(amount > 0)) {
    // Nothing was done: the answer is not recorded, and the key stays unused.
    req.idempotency.notStarted();
    return res.status(422).json({ error: "amount must be more than 0" });
  }
  // What this returns is recorded together with the writes, and sent when both are committed.
  await req.idempotency.transaction(database, async (client) => {
    const taken = await client.query(
      "UPDATE balances SET amount = amount - $2 WHERE name = $1 AND amount >= $2 RETURNING amount",
      [from, amount],
    );
    if (taken.rowCount === 0) return { status: 402, body: { error: `${from} has less than ${amount}` } };
    await client.query("UPDATE balances SET amount = amount + $2 WHERE name = $1", [to, amount]);
    const made = await client.query("INSERT INTO transfers (source, target, amount) VALUES ($1, $2, $3) RETURNING id", [
      from,
      to,
      amount,
    ]);
    return { status: 201, body: { id: Number(made.rows[0].id), from, to, amount } };
  });
});

app.get("/transfers", async (_req, res) => {
  const { rows } = await pool.query(
    'SELECT id::int, source AS "from", target AS "to", amount::int FROM transfers ORDER BY id',
  );
  res.json(rows);
});

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

process.once("SIGTERM", () => server.close(() => once.close().then(() => pool.end())));
