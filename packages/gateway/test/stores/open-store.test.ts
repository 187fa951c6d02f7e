import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isIdempotencyError } from "onceward";
import { encodeResponse } from "onceward/http";
import { expect, test } from "vitest";
import { absoluteStoreUrl, parseStoreUrl, showStoreUrl } from "../../src/config/store-url.js";
import { openStore } from "../../src/stores/open-store.js";
import { folder } from "../config/help.js";

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
  ["memroy", "has no scheme; write memory, sqlite:PATH, postgres://…"],
  ["redsi://h", "did you mean redis?"],
  ["redis:h", "names no server; write redis://host"],
  ["postgres://u:hunter2@h", "names no database; write postgres://user@host/database"],
  ["postgres://u:hunter2@h1,h2/db", "names several servers, but takes one"],
  ["postgres://u:hunter2@h:99999/db", 'has "h:99999" where a host is to be'],
  ["mysql://u:hunter2%@h/db", "write a percent sign as %25"],
  [
    "mysql://h/db?sslmode=require",
    'has an unknown parameter "sslmode"; it takes tls, ca, cert, key, prefix, connections',
  ],
  ["postgres://h/db?sslmode=prefer", "has sslmode=prefer; write disable, require or verify-full"],
  ["postgres://h/db?shema=x", "did you mean schema?"],
  ["postgres://h/db?connections=many", "write a whole number from 1 to 9999"],
  ["postgres://h/db?prefix=a&prefix=b", "has prefix twice"],
  ["postgres://h/db?password=hunter2", 'has an unknown parameter "password"'],
  ["rediss://h?tls=off", "write redis without the second s"],
  ["redis+sentinel://h", "names no primary; write redis+sentinel://host1,host2/primary"],
  ["nats://h?replicas=2", "write 1, 3 or 5"],
  ["nats://h?skew=far", "write a duration such as 2s"],
  ["redis://h?durability=good", "write process, crash, power-loss"],
  ["nats://h?tls=yes", "write on, off or insecure"],
  ["dynamodb://T/x", "has something after its table"],
])("14.2 the store %s is refused: %s", async (url, what) => {
  const error = await openStore(url).catch((thrown: unknown) => thrown);
  expect(isIdempotencyError(error, "store_url_invalid")).toBe(true);
  expect((error as Error).message).toContain(what);
  expect((error as Error).message).not.toMatch(/\n|hunter2/);
});

test("9.4 limits reach the store, of either kind", async () => {
  for (const url of ["memory:", "memory", `sqlite:${join(folder(), "x.db")}`]) {
    const { store } = await openStore(url, { limits: { maxRecordsPerAccount: 1, maxRecords: 2, maxRuns: 10 } });
    expect(await store.claim(claim("1"))).toMatchObject({ outcome: "claimed" });
    expect(await store.claim(claim("2"))).toEqual({ outcome: "full", limit: "account" });
    await store.close();
  }
});

test("9.1 with encryption keys what is recorded is sealed in the file and opened with the key alone", async () => {
  const path = join(folder(), "x.db");
  const key = new Uint8Array(randomBytes(32));
  const { store: sealed } = await openStore(`sqlite:${path}`, { encryption: [{ id: "k1", key }] });
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
  const { store: other } = await openStore(`sqlite:${path}`, {
    encryption: [{ id: "k1", key: new Uint8Array(randomBytes(32)) }],
  });
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
    const error = await openStore(`sqlite:${path}`).catch((thrown: unknown) => thrown);
    expect(isIdempotencyError(error, code)).toBe(true);
    expect((error as Error).message).toContain(path.replace(/\/x\.db$/, ""));
    expect((error as Error).message).not.toContain("\n");
  }
  expect(readFileSync(join(cwd, "foreign.db"), "utf8")).toContain("somebody wants to keep it");
});

test("14.2 the address of a server is read whole: servers, credentials, name, TLS and what is the store's own", () => {
  expect(
    parseStoreUrl(
      "postgres://o%40x:p%2Fw@db.internal:6432/pay?sslmode=verify-full&sslrootcert=ca.pem&schema=s",
      "/etc",
    ),
  ).toEqual({
    kind: "postgres",
    topology: "single",
    hosts: [{ host: "db.internal", port: 6432 }],
    user: "o@x",
    password: "p/w",
    name: "pay",
    tls: "on",
    ca: "/etc/ca.pem",
    cert: null,
    key: null,
    prefix: null,
    connections: null,
    skewMs: null,
    more: { schema: "s" },
  });
  expect(parseStoreUrl("rediss+cluster://:pw@a,b:7001,[::1]:7002?prefix=x:", "/")).toMatchObject({
    topology: "cluster",
    hosts: [
      { host: "a", port: 6379 },
      { host: "b", port: 7001 },
      { host: "::1", port: 7002 },
    ],
    user: null,
    password: "pw",
    tls: "on",
    prefix: "x:",
  });
  expect(parseStoreUrl("dynamodb://keys?region=eu-central-1&endpoint=http://127.0.0.1:8000", "/")).toMatchObject({
    hosts: [],
    name: "keys",
    more: { region: "eu-central-1", endpoint: "http://127.0.0.1:8000" },
  });
  expect(parseStoreUrl("mysql://h/db?tls=insecure&connections=4", "/")).toMatchObject({
    tls: "insecure",
    connections: 4,
  });
});

test("14.2 paths of certificates mean the same from every folder, and passwords are never shown", () => {
  expect(absoluteStoreUrl("postgres://h/db?sslrootcert=./ca.pem", "/etc/onceward")).toBe(
    "postgres://h/db?sslrootcert=%2Fetc%2Fonceward%2Fca.pem",
  );
  expect(showStoreUrl("postgres://u:a:b@c@h/db")).toBe("postgres://u:***@h/db");
  expect(showStoreUrl("redis://:hunter2@h1,h2")).toBe("redis://:***@h1,h2");
  expect(showStoreUrl("postgres://h/db?sslpassword=hunter2&schema=x")).toBe("postgres://h/db?sslpassword=***&schema=x");
});
