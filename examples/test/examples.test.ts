// Every example runs by its one command and keeps the promise.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { lookUp, POSTGRES, type PrivateServer, startPostgres } from "@onceward/services";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { folder, startExample } from "./running.js";

const transfer = { from: "alice", to: "bob", amount: 25 };

const root = fileURLToPath(new URL("..", import.meta.url));
const servers = readdirSync(root).filter((name) => existsSync(join(root, name, "server.mjs")));
const needsPostgres = (name: string): boolean => name.endsWith("-postgres");

describe.each(servers.filter((name) => !needsPostgres(name)))("examples/%s", (name) => {
  test("P1, P2, P3, 4.5: one run and one answer a key, another account apart, what was refused runs again", async () => {
    await keepsThePromise(name, { STORE: join(folder(), "store.db") });
  });
});

const source = lookUp(POSTGRES);
if (source.kind === "missing") console.error(source.reason);

describe.skipIf(source.kind === "missing")("examples/express-postgres", () => {
  let server: PrivateServer;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.remove());

  test("P1, P2, P3, 4.5, 7.1: one run and one answer a key, another account apart, what was refused runs again", async () => {
    await keepsThePromise("express-postgres", { DATABASE_URL: server.url });
  });
});

test("the examples with a database are among those that were tried", () => {
  expect(servers).toEqual(expect.arrayContaining(["express-postgres", "fastify-sqlite"]));
});

async function keepsThePromise(name: string, env: Readonly<Record<string, string>>): Promise<void> {
  const example = await startExample(name, env);
  const refused = await example.post("k-1", { ...transfer, amount: -1 });
  expect(refused.status).toBe(422);
  const answers = await Promise.all(Array.from({ length: 10 }, () => example.post("k-1", transfer)));
  const first = answers.filter(({ replayed, status }) => status === 201 && !replayed);
  expect(first).toHaveLength(1);
  expect(answers.every(({ status }) => status === 201 || status === 409)).toBe(true);
  const again = await example.post("k-1", transfer);
  expect(again).toEqual({ status: 201, text: first[0]?.text, replayed: true });
  expect((await example.post("k-1", { ...transfer, amount: 26 })).status).toBe(422);
  expect((await example.post("k-1", transfer, "token-of-carol")).status).toBe(201);
  expect(await example.transfers()).toHaveLength(2);

  await example.kill();
  const restarted = await startExample(name, env);
  expect(await restarted.post("k-1", transfer)).toEqual({ status: 201, text: first[0]?.text, replayed: true });
  expect(await restarted.stop()).toBe(0);
}
