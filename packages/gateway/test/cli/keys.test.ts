// biome-ignore-all lint/suspicious/noTemplateCurlyInString: a variable of the configuration.
import { randomBytes } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import type { Run, Store } from "onceward";
import { decodeResponse, encodeResponse, hashedKey } from "onceward/http";
import { sqliteStore } from "onceward/stores/sqlite";
import { expect, test } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { markSealing } from "../../src/config/seal-mark.js";
import { openStore } from "../../src/stores/open-store.js";
import { folder, onceward } from "./help.js";

const OK = encodeResponse({
  status: 201,
  headers: [["Content-Type", "application/json"]],
  body: new TextEncoder().encode('{"id":1}\n'),
});

interface Sown {
  readonly id: string;
  readonly fence: string;
  readonly runId: string;
}

let runs = 0;

async function sow(
  store: Store,
  key: string,
  options: { readonly account?: string; readonly leaseMs?: number } = {},
): Promise<Sown> {
  const id = randomBytes(32).toString("hex");
  const fence = randomBytes(16).toString("hex");
  const runId = `run-${++runs}`;
  const account = options.account ?? "acme";
  const labels = { account, key, operation: "POST /v1/transfers", runId };
  await store.claim({
    id,
    fence,
    fingerprint: null,
    ageMs: 0,
    retention: { forMs: 3_600_000 },
    leaseMs: options.leaseMs ?? 600_000,
    labels,
  });
  const run: Run = {
    id: runId,
    at: Date.now(),
    recordId: id,
    account,
    key,
    method: "POST",
    path: "/v1/transfers",
    route: "POST /v1/transfers",
    status: null,
    durationMs: null,
    outcome: "running",
    code: null,
    steps: [],
    flags: [],
    replayOf: null,
  };
  await store.history?.putRuns([run]);
  return { id, fence, runId };
}

/** A store with a key in each state, closed again, as a stopped gateway leaves it. */
async function sown(): Promise<{
  readonly cwd: string;
  readonly path: string;
  readonly flags: string[];
  readonly keys: Record<string, Sown>;
}> {
  const cwd = folder();
  const path = join(cwd, "onceward.db");
  const store = sqliteStore({ path });
  await store.open();
  const done = await sow(store, "done-1");
  await store.complete(done.id, done.fence, { status: 201, payload: OK });
  const unknown = await sow(store, "unknown-1");
  await store.interrupt(unknown.id, unknown.fence, 502, "owner");
  const running = await sow(store, "running-1");
  const lapsed = await sow(store, "lapsed-1", { leaseMs: 1 });
  const shared = await sow(store, "shared-1", { account: "acme" });
  const other = await sow(store, "shared-1", { account: "umbrella" });
  for (;;) {
    const found = await store.find(lapsed.id);
    if (found !== null && found.record.leaseUntil <= found.now) break;
  }
  await store.close();
  return { cwd, path, flags: ["--store", `sqlite:${path}`], keys: { done, unknown, running, lapsed, shared, other } };
}

async function inspect<T>(path: string, look: (store: Store) => Promise<T>): Promise<T> {
  const store = sqliteStore({ path });
  await store.open();
  try {
    return await look(store);
  } finally {
    await store.close();
  }
}

test("14.1 keys list: states, filters, pages, JSON without fence or answer", async () => {
  const { cwd, flags } = await sown();
  const all = await onceward(["keys", "list", ...flags], { cwd });
  expect(all).toMatchObject({ code: 0, stderr: "" });
  const rows = all.stdout.trimEnd().split("\n");
  expect(rows[0]).toMatch(/^KEY +STATE +STATUS +OPERATION +ACCOUNT +BEGAN +EXPIRES$/);
  expect(rows).toHaveLength(7);
  expect(all.stdout).toMatch(/^done-1 +done +201 +POST \/v1\/transfers +acme +\d+ s ago +in 60 min$/m);
  expect(all.stdout).toMatch(/^unknown-1 +unknown +\(502\) /m);
  expect(all.stdout).toMatch(/^running-1 +running +– /m);
  expect(all.stdout).toMatch(/^lapsed-1 +lapsed +– /m);
  const unknown = await onceward(["keys", "list", "--state", "unknown", "--json", ...flags], { cwd });
  const page = JSON.parse(unknown.stdout) as { items: Record<string, unknown>[]; next: unknown };
  expect(page.items.map(({ key }) => key)).toEqual(["unknown-1"]);
  expect(Object.keys(page.items[0] ?? {})).not.toContain("fence");
  expect(Object.keys(page.items[0] ?? {})).not.toContain("payload");
  const first = JSON.parse((await onceward(["keys", "list", "--limit", "4", "--json", ...flags], { cwd })).stdout) as {
    items: unknown[];
    next: string;
  };
  const second = JSON.parse(
    (await onceward(["keys", "list", "--limit", "4", "--json", "--cursor", first.next, ...flags], { cwd })).stdout,
  ) as { items: unknown[]; next: null };
  expect([first.items.length, second.items.length, second.next]).toEqual([4, 2, null]);
  expect(await onceward(["keys", "list", "--account", "nobody", ...flags], { cwd })).toMatchObject({
    code: 0,
    stdout: "",
    stderr: "no keys\n",
  });
});

test("14.1 keys show: by key, by id, the body byte for byte; a key of several accounts is asked about", async () => {
  const { cwd, flags, keys } = await sown();
  const shown = await onceward(["keys", "show", "done-1", ...flags], { cwd });
  expect(shown.stdout).toContain("state      done, answered 201");
  expect(shown.stdout).toContain("Content-Type: application/json");
  expect((await onceward(["keys", "show", "done-1", "--body", ...flags], { cwd })).stdout).toBe('{"id":1}\n');
  const byId = await onceward(["keys", "show", keys["unknown"]?.id ?? "", "--json", ...flags], { cwd });
  expect(JSON.parse(byId.stdout)).toMatchObject({ key: "unknown-1", state: "unknown", answer: null });
  const several = await onceward(["keys", "show", "shared-1", ...flags], { cwd });
  expect(several.code).toBe(1);
  expect(several.stderr).toContain(keys["shared"]?.id);
  expect(several.stderr).toContain(keys["other"]?.id);
  const one = await onceward(["keys", "show", "shared-1", "--account", "umbrella", "--json", ...flags], { cwd });
  expect(JSON.parse(one.stdout)).toMatchObject({ id: keys["other"]?.id });
  expect(await onceward(["keys", "show", "gone", ...flags], { cwd })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('there is no record of key "gone"'),
  });
});

test("4.14 settle --status: the answer every duplicate gets, with the audit trail saying who and why", async () => {
  const { cwd, path, flags, keys } = await sown();
  writeFileSync(join(cwd, "answer.json"), new Uint8Array([0, 255, 10]));
  const args = [
    "--status",
    "201",
    "--header",
    "Content-Type: application/octet-stream",
    "--header",
    "X-A: 1",
    "--header",
    "X-A: 2",
    "--body-file",
    "answer.json",
  ];
  const settled = await onceward(["keys", "settle", "unknown-1", ...args, "--reason", "the bank says so", ...flags], {
    cwd,
  });
  expect(settled).toMatchObject({ code: 0, stdout: "unknown-1: settled as done with status 201\n", stderr: "" });
  const { id = "", runId = "" } = keys["unknown"] ?? {};
  await inspect(path, async (store) => {
    const found = await store.find(id);
    expect(found?.record).toMatchObject({ state: "done", status: 201 });
    const answer = decodeResponse(201, found?.record.payload ?? new Uint8Array());
    expect(answer.headers).toEqual([
      ["Content-Type", "application/octet-stream"],
      ["X-A", "1"],
      ["X-A", "2"],
    ]);
    expect([...(answer.body ?? [])]).toEqual([0, 255, 10]);
    expect(await store.history?.getRun(runId)).toMatchObject({ outcome: "recorded", status: 201 });
    const audit = await store.history?.listAudit({ limit: 10 });
    expect(audit?.items).toEqual([
      expect.objectContaining({
        action: "settle",
        who: userInfo().username,
        reason: "the bank says so",
        recordId: id,
        key: "unknown-1",
      }),
    ]);
  });
  const again = await onceward(["keys", "settle", "unknown-1", "--never-happened", "--reason", "x", ...flags], { cwd });
  expect(again).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringContaining("A recorded answer is never changed"),
  });
  const trail = await onceward(["audit", "list", ...flags], { cwd });
  expect(trail.stdout).toMatch(/unknown-1 +acme +settled as done with status 201 +the bank says so/);
  expect(await onceward(["audit", ...flags], { cwd })).toEqual(trail);
  const page = JSON.parse((await onceward(["audit", "--json", "--limit", "1", ...flags], { cwd })).stdout);
  expect(page).toMatchObject({ items: [{ key: "unknown-1", action: "settle" }], next: null });
});

test("4.14 settle --never-happened frees the key, also of an owner whose lease has lapsed, never of a live one", async () => {
  const { cwd, path, flags, keys } = await sown();
  for (const key of ["unknown-1", "lapsed-1"]) {
    const result = await onceward(["keys", "settle", key, "--never-happened", "--reason", "looked it up", ...flags], {
      cwd,
    });
    expect(result).toMatchObject({ code: 0, stdout: `${key}: settled as never happened\n` });
  }
  const live = await onceward(["keys", "settle", "running-1", "--never-happened", "--reason", "x", ...flags], { cwd });
  expect(live).toMatchObject({ code: 1, stderr: expect.stringContaining("Its owner is alive") });
  await inspect(path, async (store) => {
    expect(await store.find(keys["unknown"]?.id ?? "")).toBeNull();
    expect(await store.find(keys["lapsed"]?.id ?? "")).toBeNull();
    expect((await store.find(keys["running"]?.id ?? ""))?.record.state).toBe("running");
  });
});

test("4.14 release: a running one only with --force, a done one never", async () => {
  const { cwd, path, flags, keys } = await sown();
  const refused = await onceward(["keys", "release", "running-1", "--reason", "stuck", ...flags], { cwd });
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/: wait for it, or release it with --force\.\n$/),
  });
  const lapsed = await onceward(["keys", "release", "lapsed-1", "--reason", "stuck", ...flags], { cwd });
  expect(lapsed.stderr).toMatch(/: settle it, or release it with --force\.\n$/);
  const forced = await onceward(["keys", "release", "running-1", "--force", "--reason", "stuck", "--json", ...flags], {
    cwd,
  });
  expect(JSON.parse(forced.stdout)).toMatchObject({
    entry: { action: "release", reason: "stuck", detail: "released with force while running" },
  });
  expect(await onceward(["keys", "release", "unknown-1", "--reason", "r", ...flags], { cwd })).toMatchObject({
    code: 0,
  });
  expect(await onceward(["keys", "release", "done-1", "--force", "--reason", "r", ...flags], { cwd })).toMatchObject({
    code: 1,
  });
  await inspect(path, async (store) => {
    expect(await store.find(keys["running"]?.id ?? "")).toBeNull();
    expect(await store.find(keys["unknown"]?.id ?? "")).toBeNull();
    expect((await store.find(keys["done"]?.id ?? ""))?.record.state).toBe("done");
  });
});

test("9.1 and 9.2: sealed answers are opened and sealed with the configured key, hashed keys found by either form", async () => {
  const seal = randomBytes(32);
  const cwd = folder({
    "onceward.yaml": "store: sqlite:./sealed.db\nhashKeys: true\nencryption:\n  - id: k1\n    key: ${SEAL}\n",
  });
  const env = { SEAL: seal.toString("base64") };
  const open = async (): Promise<Store> => {
    const encryption = [{ id: "k1", key: new Uint8Array(seal) }];
    return (await openStore(`sqlite:${join(cwd, "sealed.db")}`, { encryption })).store;
  };
  const store = await open();
  const done = await sow(store, hashedKey("secret-key"));
  await store.complete(done.id, done.fence, { status: 201, payload: OK });
  const unknown = await sow(store, hashedKey("other-key"));
  await store.interrupt(unknown.id, unknown.fence, 502, "owner");
  await store.close();
  expect((await onceward(["keys", "show", "secret-key", "--body"], { cwd, env })).stdout).toBe('{"id":1}\n');
  writeFileSync(join(cwd, "body"), "settled by hand");
  const settled = await onceward(
    ["keys", "settle", "other-key", "--status", "200", "--body-file", "body", "--reason", "r"],
    { cwd, env },
  );
  expect(settled).toMatchObject({ code: 0 });
  await inspect(join(cwd, "sealed.db"), async (raw) => {
    const payload = (await raw.find(unknown.id))?.record.payload ?? new Uint8Array();
    expect(Buffer.from(payload).includes("settled by hand")).toBe(false);
  });
  expect((await onceward(["keys", "show", "other-key", "--body"], { cwd, env })).stdout).toBe("settled by hand");

  // Without the configuration the answers are not to be had, and none is recorded that the gateway cannot open.
  const plain = { cwd: folder() };
  const flags = ["--store", `sqlite:${join(cwd, "sealed.db")}`];
  const shown = await onceward(["keys", "show", "secret-key", ...flags], plain);
  expect(shown).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('(its answer is sealed with the key "k1"; set `encryption`'),
  });
  const json = await onceward(["keys", "show", "secret-key", "--json", ...flags], plain);
  expect(JSON.parse(json.stdout)).toMatchObject({ state: "done", answer: null, sealedWith: "k1" });
  expect(await onceward(["keys", "show", "secret-key", "--body", ...flags], plain)).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringContaining("onceward: its answer is sealed with the key"),
  });
});

test("9.1 on a store whose gateway seals no answer is settled without its key", async () => {
  const { cwd, path, flags, keys } = await sown();
  const seal = { id: "k1", key: new Uint8Array(randomBytes(32)) };
  const { routes } = loadConfig({ text: "upstream: http://h\n" });
  await inspect(path, (store) => markSealing(store, { encryption: [seal], acceptUnsealed: true, routes }));
  const args = ["keys", "settle", "unknown-1", "--status", "200", "--reason", "r", ...flags];
  expect(await onceward(args, { cwd })).toMatchObject({
    code: 1,
    stderr:
      'onceward: answers in this store are sealed with the key "k1", which is not given here; set `encryption`, or name the gateway\'s configuration with --config\n',
  });
  await inspect(path, async (store) =>
    expect((await store.find(keys["unknown"]?.id ?? ""))?.record.state).toBe("unknown"),
  );
  const config = `encryption: [{ id: k1, key: "${Buffer.from(seal.key).toString("hex")}" }]\n`;
  writeFileSync(join(cwd, "onceward.yaml"), config);
  expect(await onceward(args, { cwd })).toMatchObject({
    code: 0,
    stdout: "unknown-1: settled as done with status 200\n",
  });
});

test("4.10 purge deletes what has expired and nothing else", async () => {
  const { cwd, path, flags } = await sown();
  await inspect(path, async (store) => {
    for (let n = 0; n < 3; n += 1) {
      const id = randomBytes(32).toString("hex");
      const labels = { account: "acme", key: `old-${n}`, operation: "POST /x", runId: "r" };
      const fence = randomBytes(16).toString("hex");
      await store.claim({ id, fence, fingerprint: null, ageMs: 60_000, retention: { forMs: 1 }, leaseMs: 1, labels });
    }
    // Expired once the lease has lapsed too.
    for (;;) if ((await store.list({ limit: 100 })).items.every(({ key }) => !key.startsWith("old-"))) break;
  });
  expect(await onceward(["purge", ...flags], { cwd })).toMatchObject({ code: 0, stdout: "3 expired records purged\n" });
  expect(JSON.parse((await onceward(["purge", "--json", ...flags], { cwd })).stdout)).toEqual({ purged: 0 });
  expect((await onceward(["keys", "list", ...flags], { cwd })).stdout.trimEnd().split("\n")).toHaveLength(7);
});

test("keys of a store that is not there say so and make none", async () => {
  const cwd = folder();
  const gone = await onceward(["keys", "list", "--store", "sqlite:gone.db"], { cwd });
  expect(gone).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(
      /^onceward: there is no database at .*gone\.db; name the gateway's with --store or --config\n$/,
    ),
  });
  expect(readdirSync(cwd)).toEqual([]);
  const memory = await onceward(["keys", "list", "--store", "memory:"], { cwd });
  expect(memory).toMatchObject({ code: 1, stderr: expect.stringContaining("lives inside its gateway's process") });
  const later = await onceward(["keys", "list", "--store", "redis://:hunter2@h?x=1"], { cwd });
  expect(later).toMatchObject({ code: 2, stderr: expect.stringContaining('unknown parameter "x"') });
  expect(later.stderr).not.toContain("hunter2");
});
