import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { describe, expect, onTestFinished, test } from "vitest";
import { post, until } from "./support/client.js";
import { gateway, temporaryFolder } from "./support/gateway.js";
import { upstream } from "./support/upstream.js";

/** Keeps every other writer of a database out, as a stuck process or a backup would. */
function block(path: string): () => void {
  const database = new DatabaseSync(path);
  database.exec("BEGIN IMMEDIATE");
  let held = true;
  const free = (): void => {
    if (!held) return;
    held = false;
    database.exec("ROLLBACK");
    database.close();
  };
  onTestFinished(free);
  return free;
}

const settings = (path: string) => ({ store: `sqlite:${path}`, timeouts: { store: "300ms" } });

describe("SPEC §4.11: the store out of reach", () => {
  test("at the claim: 503 store_unavailable with Retry-After, nothing runs, and the key works afterwards", async () => {
    const path = join(temporaryFolder(), "store.db");
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, ...settings(path) });
    const free = block(path);
    const refused = await post(port, "k");
    expect([refused.status, refused.json().code]).toEqual([503, "store_unavailable"]);
    expect(refused.header("Retry-After")).toBeDefined();
    expect(behind.seen).toHaveLength(0);
    free();
    // A claim that took effect after all is undone (SPEC §4.12), and does not wedge the key.
    await until(async () => (await post(port, "k")).status === 200);
    expect(behind.seen).toHaveLength(1);
  });

  test("onStoreError: bypass lets it through unprotected, body and all", async () => {
    const path = join(temporaryFolder(), "store.db");
    const behind = await upstream();
    const { port } = await gateway({
      upstream: behind.url,
      ...settings(path),
      onStoreError: "bypass",
      limits: { spoolAbove: 1_000 },
    });
    block(path);
    const small = await post(port, "k", { body: "amount=1" });
    const large = await post(port, "l", { body: Buffer.alloc(500_000, 2) });
    expect([small.status, large.status]).toEqual([200, 200]);
    expect(behind.seen.map(({ body }) => body.length)).toEqual([8, 500_000]);
    expect(behind.seen[0]?.body.toString()).toBe("amount=1");
  });

  test("at the recording under hold: the client gets the answer, which is recorded as soon as it can be", async () => {
    const path = join(temporaryFolder(), "store.db");
    let free: () => void = () => undefined;
    const behind = await upstream((_, response) => {
      free = block(path);
      response.end("paid");
    });
    const { port } = await gateway({ upstream: behind.url, ...settings(path) });
    const first = await post(port, "k");
    expect([first.status, first.body.toString()]).toEqual([200, "paid"]);
    free();
    await until(async () => (await post(port, "k")).header("Idempotent-Replayed") === "true");
    expect(behind.seen).toHaveLength(1);
  });

  test("at the recording under rerun: 503 outcome_unknown, since a take-over may answer otherwise", async () => {
    const path = join(temporaryFolder(), "store.db");
    let free: () => void = () => undefined;
    const behind = await upstream((_, response) => {
      if (behind.seen.length === 1) free = block(path);
      response.end("paid");
    });
    const { port } = await gateway({ upstream: behind.url, ...settings(path), onInterrupted: "rerun", lease: "1s" });
    const first = await post(port, "k");
    expect([first.status, first.json().code]).toEqual([503, "outcome_unknown"]);
    free();
  });
});
