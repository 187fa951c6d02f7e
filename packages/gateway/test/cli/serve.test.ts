import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { sqliteStore } from "onceward/stores/sqlite";
import { expect, onTestFinished, test } from "vitest";
import { folder, onceward, type Started, start } from "./help.js";

/** An upstream that answers each path in its own way; `/slow` never. */
async function upstream(): Promise<string> {
  const server = createServer((request, response) => {
    if (request.url !== "/slow") response.end(`${request.method} ${request.url}\n`);
  });
  return `http://127.0.0.1:${await listen(server)}`;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function ready(serve: Started): Promise<string> {
  const [line] = await serve.says(/^\{.*"msg":"listening".*\}$/m);
  return `http://${(JSON.parse(line) as { listen: string }).listen}`;
}

const FREE = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

test("14.1 and 14.5 serve: proxies, replays over a restart, and stops on SIGTERM with exit code 0", async () => {
  const cwd = folder({ "onceward.yaml": `upstream: ${await upstream()}\naccount: single\n` });
  const once = async (): Promise<{ marker: string | null; date: string | null; text: string }> => {
    const serve = start(["serve", ...FREE], { cwd });
    const url = await ready(serve);
    const response = await fetch(`${url}/transfers`, {
      method: "POST",
      headers: { "Idempotency-Key": "k" },
      body: "1",
    });
    const text = await response.text();
    serve.child.kill("SIGTERM");
    expect(await serve.ended).toEqual({ code: 0, signal: null });
    expect(serve.output()).toContain('"msg":"stopped"');
    return { marker: response.headers.get("idempotent-replayed"), date: null, text };
  };
  expect(await once()).toMatchObject({ marker: null, text: "POST /transfers\n" });
  expect(await once()).toMatchObject({ marker: "true", text: "POST /transfers\n" });
});

test("14.5 a second signal stops at once what the first one waits for", async () => {
  const cwd = folder();
  const serve = start(["serve", "-u", await upstream(), "--store", "memory:", ...FREE], { cwd });
  const url = await ready(serve);
  const hanging = fetch(`${url}/slow`).catch(() => "cut off");
  await new Promise((resolve) => setTimeout(resolve, 200));
  serve.child.kill("SIGINT");
  await serve.says(/stopping; one more signal stops at once/);
  // Not right away: two signals in one moment are one Ctrl-C that came twice.
  const pressing = setInterval(() => serve.child.kill("SIGINT"), 400);
  const ended = await serve.ended;
  clearInterval(pressing);
  expect(ended).toEqual({ code: 1, signal: null });
  expect(await hanging).toBe("cut off");
});

test("14.5 one Ctrl-C that comes twice, as under npm start, is still graceful", async () => {
  const serve = start(["serve", "-u", await upstream(), "--store", "memory:", ...FREE], { cwd: folder() });
  await ready(serve);
  serve.child.kill("SIGINT");
  serve.child.kill("SIGINT");
  expect(await serve.ended).toEqual({ code: 0, signal: null });
});

test("14.5 SIGHUP reads the file again; a bad one is reported and the old configuration stays", async () => {
  const [first, second] = [await upstream(), await upstream()];
  const cwd = folder();
  const file = join(cwd, "onceward.yaml");
  const write = (upstreamUrl: string, more = ""): void =>
    writeFileSync(
      file,
      `upstream: ${upstreamUrl}\nstore: "memory:"\nroutes:\n  - match: /a\n    enabled: false\n${more}`,
    );
  write(first);
  const serve = start(["serve", ...FREE], { cwd });
  const url = await ready(serve);
  expect(await (await fetch(`${url}/a`)).text()).toBe("GET /a\n");
  write(first, "    lease: 3x\n");
  serve.child.kill("SIGHUP");
  await serve.says(/onceward\.yaml:6:5 {2}routes\[0\]\.lease is/);
  await serve.says(/was not reloaded; the one before stays/);
  expect(await (await fetch(`${url}/a`)).text()).toBe("GET /a\n");
  write(second, "  - match: /b\n    enabled: false\n");
  serve.child.kill("SIGHUP");
  await serve.says(/the configuration was reloaded/);
  expect(await (await fetch(`${url}/b`)).text()).toBe("GET /b\n");
});

test.each([
  ["--listen", "--admin"],
  ["--admin", "--listen"],
])("a port in use is one clear line that names the address and %s", async (flag, other) => {
  const taken = await listen(createServer());
  const args = [
    "serve",
    "-u",
    "http://127.0.0.1:9",
    "--store",
    "memory:",
    flag,
    `127.0.0.1:${taken}`,
    other,
    "127.0.0.1:0",
  ];
  const result = await onceward(args, { cwd: folder() });
  expect(result.code).toBe(1);
  expect(result.stderr).toBe(
    `onceward: cannot listen on 127.0.0.1:${taken}: the port is in use; stop what uses it, or choose another with ${flag} HOST:PORT\n`,
  );
});

test("an address of another machine and an unknown host are one clear line", async () => {
  // TEST-NET-1 (RFC 5737) is nobody's.
  const args = [
    "serve",
    "-u",
    "http://127.0.0.1:9",
    "--store",
    "memory:",
    "--admin",
    "off",
    "--listen",
    "192.0.2.1:8080",
  ];
  const result = await onceward(args, { cwd: folder() });
  expect(result).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^onceward: cannot listen on 192\.0\.2\.1:8080: .*--listen HOST:PORT\n$/),
  });
});

test("14.1 without an upstream, and with a bad file: exit code 1 and the reason, nothing started", async () => {
  const none = await onceward(["serve"], { cwd: folder() });
  expect(none).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(/^onceward: there is no onceward\.yaml here, .*`onceward init`.* --upstream http/),
  });
  const bad = await onceward(["serve", "-c", "gone.yaml"], { cwd: folder() });
  expect(bad).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringContaining("cannot read the configuration gone.yaml: there is no such file"),
  });
});

/** A database of this store with something in it. */
async function database(path: string): Promise<void> {
  const store = sqliteStore({ path });
  await store.open();
  await store.setShared("x", new Uint8Array([1]), null);
  await store.close();
}

const DAMAGED: readonly (readonly [string, (path: string) => Promise<void> | void, string])[] = [
  [
    "foreign text",
    (path) => writeFileSync(path, "keep me\n".repeat(1000)),
    "is not an SQLite database and was left as it is",
  ],
  [
    "foreign database",
    (path) => {
      const db = new DatabaseSync(path);
      db.exec("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
      db.close();
    },
    "is the SQLite database of another program and was left as it is",
  ],
  [
    "newer database",
    async (path) => {
      await database(path);
      const db = new DatabaseSync(path);
      db.exec("PRAGMA user_version = 999");
      db.close();
    },
    "was written by a newer version of Onceward",
  ],
  [
    "corrupt database",
    async (path) => {
      await database(path);
      const bytes = readFileSync(path);
      bytes.fill(0x5a, 4096);
      writeFileSync(path, bytes);
    },
    "is damaged",
  ],
];

test.each(DAMAGED)(
  "a %s is refused in one line, by serve and keys alike, and left as it is",
  async (_name, make, reason) => {
    const cwd = folder();
    const path = join(cwd, "x.db");
    await make(path);
    const before = readFileSync(path);
    for (const args of [
      ["serve", "-u", "http://127.0.0.1:9", ...FREE],
      ["keys", "list"],
    ]) {
      const result = await onceward([...args, "--store", "sqlite:./x.db"], { cwd });
      expect(result.code).toBe(1);
      expect(result.stderr.trimEnd().split("\n")).toEqual([expect.stringContaining(reason)]);
      expect(result.stderr).toContain(path);
    }
    expect(readFileSync(path).equals(before)).toBe(true);
  },
);

test.each([
  ["a folder that is not there", "sqlite:gone/x.db", "does not exist"],
  ["a file in place of a folder", "sqlite:onceward.yaml/x.db", "onceward.yaml"],
  ["a device", "sqlite:/dev/null", "is not a regular file"],
])("an unusable path (%s) is one clear line", async (_name, store, reason) => {
  const result = await onceward(["serve", "-u", "http://127.0.0.1:9", "--store", store, ...FREE], {
    cwd: folder({ "onceward.yaml": "" }),
  });
  expect(result.code).toBe(1);
  expect(result.stderr.trimEnd().split("\n")).toEqual([expect.stringContaining(reason)]);
});

test("a folder and a file that this user may not write are one clear line", async () => {
  const cwd = folder();
  await database(join(cwd, "mine.db"));
  chmodSync(join(cwd, "mine.db"), 0o444);
  chmodSync(cwd, 0o555);
  // Root may write everywhere, so it tries as nobody.
  const uid = process.getuid?.() === 0 ? { uid: 65_534 } : {};
  for (const file of ["new.db", "mine.db"]) {
    const result = await onceward(["serve", "-u", "http://127.0.0.1:9", "--store", `sqlite:${file}`, ...FREE], {
      cwd,
      ...uid,
    });
    expect(result.code).toBe(1);
    expect(result.stderr.trimEnd().split("\n")).toEqual([expect.stringContaining("cannot be read and written")]);
    expect(result.stderr).toContain(cwd);
  }
  chmodSync(cwd, 0o755);
  expect(readdirSync(cwd)).toEqual(["mine.db"]);
});

test("9.1 encryption over a store in use: a warning at start, and acceptUnsealed replays what was recorded before", async () => {
  const cwd = folder();
  const behind = await upstream();
  const transfer = async (more: string): Promise<{ readonly status: number; readonly output: string }> => {
    writeFileSync(join(cwd, "onceward.yaml"), `upstream: ${behind}\naccount: single\n${more}`);
    const serve = start(["serve", ...FREE], { cwd });
    const url = await ready(serve);
    const { status } = await fetch(`${url}/t`, { method: "POST", headers: { "Idempotency-Key": "k" } });
    serve.child.kill("SIGTERM");
    await serve.ended;
    return { status, output: serve.output() };
  };
  const key = `encryption: [{ id: k1, key: "${"0a".repeat(32)}" }]\n`;
  expect(await transfer("")).toMatchObject({ status: 200 });
  const refused = await transfer(key);
  expect(refused).toMatchObject({ status: 500 });
  expect(refused.output).toMatch(
    /"level":"warn".*"msg":"the store holds answers from before `encryption` was set: .*`acceptUnsealed: true`/,
  );
  const accepted = await transfer(`${key}acceptUnsealed: true\n`);
  expect(accepted).toMatchObject({ status: 200 });
  expect(accepted.output).not.toContain('"level":"warn"');
});
