// Fastify on SQLite: the balances and the recorded answer change in one transaction, so each key moves money once.
import { DatabaseSync } from "@photostructure/sqlite";
import fastify from "fastify";
import { accountFromAuthorization } from "onceward/accounts";
import { idempotency } from "onceward/fastify";
import { sqliteStore } from "onceward/stores/sqlite";
import { sqliteTransactions } from "onceward/transactions";

// One connection for the app and the store, since a transaction is of one connection. node:sqlite's does as well.
const db = new DatabaseSync(process.env.STORE ?? "./bank.db");
db.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS balances (name TEXT PRIMARY KEY, amount INTEGER NOT NULL CHECK (amount >= 0));
  CREATE TABLE IF NOT EXISTS transfers (id INTEGER PRIMARY KEY, source TEXT, target TEXT, amount INTEGER NOT NULL);
  INSERT OR IGNORE INTO balances VALUES ('alice', 1000), ('bob', 0);
`);

const database = sqliteTransactions(db);
const app = fastify();

await app.register(
  idempotency({
    store: sqliteStore({ database: db }),
    // Credentials are kept as digests under this secret; the same one on every node.
    account: accountFromAuthorization({ secret: process.env.ACCOUNT_SECRET ?? "only-for-this-example" }),
    required: true,
    // What a crash interrupts is rolled back, so that the client's retry may run it again.
    transactional: true,
    lease: process.env.LEASE ?? "30s",
  }),
);

// Refused by the schema, a request has claimed nothing: its key stays unused.
const schema = {
  body: {
    type: "object",
    required: ["from", "to", "amount"],
    properties: { from: { type: "string" }, to: { type: "string" }, amount: { type: "integer", exclusiveMinimum: 0 } },
  },
};

app.post("/transfers", { schema, schemaErrorFormatter, errorHandler }, (request) => {
  const { from, to, amount } = request.body;
  // It must not wait: a connection of SQLite has one transaction at a time, and all requests share it.
  return request.idempotency.transaction(database, () => {
    const taken = db
      .prepare("UPDATE balances SET amount = amount - ?1 WHERE name = ?2 AND amount >= ?1")
      .run(amount, from);
    if (Number(taken.changes) === 0) return { status: 402, body: { error: `${from} has less than ${amount}` } };
    db.prepare("UPDATE balances SET amount = amount + ? WHERE name = ?").run(amount, to);
    const { lastInsertRowid } = db
      .prepare("INSERT INTO transfers (source, target, amount) VALUES (?, ?, ?)")
      .run(from, to, amount);
    return { status: 201, body: { id: Number(lastInsertRowid), from, to, amount } };
  });
});

function schemaErrorFormatter() {
  return new Error("amount must be more than 0");
}

function errorHandler(error, _request, reply) {
  reply.code(error.validation ? 422 : 500).send({ error: error.message });
}

app.get("/transfers", () =>
  db.prepare('SELECT id, source AS "from", target AS "to", amount FROM transfers ORDER BY id').all(),
);

await app.listen({ port: Number(process.env.PORT ?? 3000), host: "127.0.0.1" });
console.log(`http://127.0.0.1:${app.server.address().port}`);

process.once("SIGTERM", () => app.close().then(() => db.close()));
