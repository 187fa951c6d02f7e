// Serves the handler on Node. On Bun it is `Bun.serve({ fetch: handler })`, on Deno `Deno.serve(handler)`.
import { serve } from "@hono/node-server";
import { sqliteStore } from "onceward/stores/sqlite";
import { createHandler } from "./handler.mjs";

const store = sqliteStore({ path: process.env.STORE ?? "./onceward.db" });
const { handler, close } = createHandler(store, process.env.ACCOUNT_SECRET ?? "only-for-this-example");

const options = { fetch: handler, port: Number(process.env.PORT ?? 3000), hostname: "127.0.0.1" };
const server = serve(options, ({ port }) => console.log(`http://127.0.0.1:${port}`));

process.once("SIGTERM", () => server.close(() => close()));
