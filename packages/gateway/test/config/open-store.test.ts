import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isIdempotencyError } from "onceward";
import { encodeResponse } from "onceward/http";
import { expect, test } from "vitest";
import { openStore } from "../../src/config/open-store.js";
import { folder } from "./help.js";

const LABELS = { account: "a", key: "k", operation: "POST /x", runId: "r" };
const claim = (id: string, account = "a") => ({
  id: id.padEnd(64, "0"),
  fence: randomBytes(16).toString("hex"),
  fingerprint: null,
  ageMs: 0,
  retention: { forMs: 60_000 },
  leaseMs: 1_000,
  labels: { ...LABELS, account },
});

test.each([
  ["", "has no scheme"],
  ["onceward.db", "has no scheme"],
  ["sqlite:", "has no path"],
  ["sqlite:///", "has no path"],
  ["sqlite:./folder/", "is a folder"],
  ["sqlite:x.db?mode=ro", "has options"],
  ["memory:x", "has something after memory:; write memory alone"],
  ["memroy:", "did you mean memory?"],
  ["memroy", "has no scheme; write memory or sqlite:PATH"],
  ["redis://:hunter2@h", "is not in this build"],
  ["nats://h", "is not in this build"],
  ["dynamodb://T", "is not in this build"],
  ["mysql://h/d", "is not in this build"],
])("14.2 the store %s is refused: %s", (url, what) => {
  let error: unknown;
  try {
    openStore(url);
  } catch (thrown) {
    error = thrown;
  }
  expect(isIdempotencyError(error, "store_url_invalid")).toBe(true);
  expect((error as Error).message).toContain(what);
  expect((error as Error).message).not.toMatch(/\n|hunter2/);
});

test("9.4 limits reach the store, of either kind", async () => {
  for (const url of ["memory:", "memory", `sqlite:${join(folder(), "x.db")}`]) {
    const store = openStore(url, { limits: { maxRecordsPerAccount: 1, maxRecords: 2, maxRuns: 10 } });
    await store.open();
    expect(await store.claim(claim("1"))).toMatchObject({ outcome: "claimed" });
    expect(await store.claim(claim("2"))).toEqual({ outcome: "full", limit: "account" });
    await store.close();
  }
});

test("9.1 with encryption keys what is recorded is sealed in the file and opened with the key alone", async () => {
  const path = join(folder(), "x.db");
  const key = new Uint8Array(randomBytes(32));
  const sealed = openStore(`sqlite:${path}`, { encryption: [{ id: "k1", key }] });
  await sealed.open();
  const request = claim("1");
  await sealed.claim(request);
  const payload = encodeResponse({
    status: 200,
    headers: [],
    body: new TextEncoder().encode("the balance is 975"),
  });
  expect(await sealed.complete(request.id, request.fence, { status: 200, payload })).toBe(true);
  expect((await sealed.find(request.id))?.record.payload).toEqual(payload);
  await sealed.close();
  expect(readFileSync(path).includes("the balance is 975")).toBe(false);
  const other = openStore(`sqlite:${path}`, { encryption: [{ id: "k1", key: new Uint8Array(randomBytes(32)) }] });
  await other.open();
  await expect(other.find(request.id)).rejects.toThrow();
  await other.close();
});

test("a place that cannot be a database is one clear line with its path (bad input)", async () => {
  const cwd = folder({ "foreign.db": "this is a text file, and somebody wants to keep it\n".repeat(200) });
  const cases = [
    [join(cwd, "gone", "x.db"), "store_inaccessible"],
    [cwd, "store_inaccessible"],
    [join(cwd, "foreign.db"), "store_foreign"],
  ] as const;
  for (const [path, code] of cases) {
    const store = openStore(`sqlite:${path}`);
    const error = await store.open().catch((thrown: unknown) => thrown);
    expect(isIdempotencyError(error, code)).toBe(true);
    expect((error as Error).message).toContain(path.replace(/\/x\.db$/, ""));
    expect((error as Error).message).not.toContain("\n");
    await store.close();
  }
  expect(readFileSync(join(cwd, "foreign.db"), "utf8")).toContain("somebody wants to keep it");
});
