import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { initialFile, schemaSeenFrom } from "../../src/cli/init-file.js";
import { folder, onceward } from "./help.js";

const cwd = (): string => folder();

test.each([
  [["--help"], "serve [options]"],
  [["serve", "--help"], "--upstream <url>"],
  [["demo", "--help"], "--bank <host:port>"],
  [["init", "--help"], "onceward.yaml"],
  [["config", "--help"], "check [options]"],
  [["config", "check", "--help"], "--json"],
  [["keys", "--help"], "settle [options] <key>"],
  [["keys", "settle", "--help"], "--never-happened"],
  [["keys", "release", "--help"], "why, for the audit trail (required)"],
  [["--help"], "Exit codes: 0 done, 2 the command line is wrong"],
  [["purge", "--help"], "--store <url>"],
  [["audit", "list", "--help"], "--limit <n>"],
  [
    ["--version"],
    (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }).version,
  ],
])("14.1 onceward %s: exit code 0, on standard output", async (args, text) => {
  const result = await onceward(args, { cwd: cwd() });
  expect(result).toMatchObject({ code: 0, stderr: "", stdout: expect.stringContaining(text) });
});

test.each([
  [[], "Usage: onceward"],
  [["srve"], "(Did you mean serve?)"],
  [["serve", "--upsteam", "http://h"], "(Did you mean --upstream?)"],
  [["serve", "http://h"], "too many arguments"],
  [["keys"], "Usage: onceward keys"],
  [["keys", "show"], "missing required argument 'key'"],
  [["keys", "list", "--state", "gone"], "Allowed choices are running, done, unknown"],
  [["keys", "list", "--limit", "many"], "It must be a whole number from 1 to 1000."],
  [["keys", "release", "k"], "required option '--reason <text>' not specified"],
  [["keys", "settle", "k", "--reason", "r"], "say either --never-happened, or --status"],
  [
    ["keys", "settle", "k", "--reason", "r", "--never-happened", "--status", "200"],
    "say either --never-happened, or --status",
  ],
  [
    ["keys", "settle", "k", "--reason", "r", "--never-happened", "--header", "A: b"],
    "--header and --body-file belong to --status",
  ],
  [["keys", "settle", "k", "--reason", "r", "--status", "99"], "It must be a whole number from 200 to 599."],
  [["keys", "settle", "k", "--reason", "r", "--status", "200", "--header", "nonsense"], 'Write it as "Name: value".'],
  [["init", "onceward.json"], "JSON has no comments"],
  [["demo", "--bank", "8082"], 'onceward: --bank is "8082", but it must be HOST:PORT'],
  [["serve", "--listen", "8080", "-u", "http://h"], 'onceward: --listen: listen is "8080", but it must be HOST:PORT'],
  [["serve", "--store", "sqlite:."], 'onceward: --store: store "sqlite:." has no path'],
  [["config", "check", "--profile", "ieft", "-u", "http://h"], "; did you mean ietf?"],
  [["purge", "--sotre", "x"], "onceward: unknown option '--sotre'"],
  [["audit", "list", "more"], "too many arguments"],
])("14.1 onceward %s: exit code 2, the reason on standard error alone", async (args, reason) => {
  const result = await onceward(args, { cwd: cwd() });
  expect(result).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(reason) });
});

test("14.1 init writes a file that config check understands, and never over one that is there", async () => {
  const home = cwd();
  const first = await onceward(["init"], { cwd: home });
  expect(first).toMatchObject({ code: 0, stdout: "onceward.yaml written; set `upstream`, then: onceward serve\n" });
  const check = await onceward(["config", "check"], { cwd: home });
  expect(check).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/^file {6}onceward\.yaml\n/) });
  writeFileSync(join(home, "onceward.yaml"), "upstream: http://mine\n");
  const second = await onceward(["init"], { cwd: home });
  expect(second).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(/^onceward: onceward\.yaml is there already and was left as it is; .*\n$/),
  });
  expect(readFileSync(join(home, "onceward.yaml"), "utf8")).toBe("upstream: http://mine\n");
  expect(await onceward(["init", "gone/x.yaml"], { cwd: home })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("cannot write gone/x.yaml"),
  });
  expect((await onceward(["init", "--stdout"], { cwd: home })).stdout).toBe(initialFile(null));
});

test("14.2 the file names its schema for editors only where a relative path leads to it", () => {
  const home = cwd();
  const schema = join(home, "node_modules/@onceward/gateway/schema/onceward.schema.json");
  expect(schemaSeenFrom(home, schema)).toBeNull();
  mkdirSync(join(schema, ".."), { recursive: true });
  writeFileSync(schema, "{}");
  const line = initialFile(schemaSeenFrom(home, schema)).split("\n")[0] ?? "";
  expect(line).toBe("# yaml-language-server: $schema=./node_modules/@onceward/gateway/schema/onceward.schema.json");
  expect(existsSync(join(home, line.split("=")[1] ?? ""))).toBe(true);
  expect(schemaSeenFrom(join(home, "deploy"), schema)).toBeNull();
  expect(initialFile(null)).not.toContain("$schema");
});

test("14.3 config check says all faults at once, on standard error, with exit code 1", async () => {
  const home = folder({ "onceward.yaml": "upstream: ftp://h\nroutes:\n  - match: POST /a\n    lease: 3x\n" });
  const result = await onceward(["config", "check"], { cwd: home });
  expect(result).toMatchObject({ code: 1, stdout: "" });
  expect(result.stderr.trimEnd().split("\n")).toEqual([
    expect.stringMatching(/^onceward\.yaml:1:1 {2}upstream is "ftp:\/\/h", but it must be an http or https URL/),
    expect.stringMatching(/^onceward\.yaml:4:5 {2}routes\[0\]\.lease is "3x", but it must be a duration/),
  ]);
});

const FILE = `upstream: http://127.0.0.1:3000
adminToken: \${TOKEN}
account: { from: header, name: X-Account, accountKey: { env: ACCOUNT_KEY } }
encryption:
  - { id: k1, key: { env: SEAL } }
routes:
  - match: POST /v1/transfers
    required: true
  - match: /v1/reports/**
    enabled: false
  - match: POST /v1/:workspace/event
    profile: fyno
    when: { header: X-Environment, equals: live }
`;
const SECRETS = {
  TOKEN: "hunter2-token",
  ACCOUNT_KEY: "hunter2-account-key",
  SEAL: Buffer.alloc(32, "hunter2").toString("base64"),
};

test("14.4 config check shows what was understood, and secrets as ***", async () => {
  const home = folder({ "onceward.yaml": FILE });
  const text = await onceward(["config", "check"], { cwd: home, env: SECRETS });
  expect(text).toMatchObject({ code: 0, stderr: "" });
  for (const line of [
    "admin     http://127.0.0.1:8081  (token ***)",
    "sealed    with key k1 ***; answers from before it: not replayed (acceptUnsealed: true does)",
    "account   from header X-Account, anonymous: reject, accountKey: ***",
    "scope     namespace default, environment live",
  ]) {
    expect(text.stdout.split("\n")).toContain(line);
  }
  expect(text.stdout).toMatch(
    /^POST \/v1\/transfers +ietf +POST +Idempotency-Key, required +24h +refused +hold +http:\/\/127\.0\.0\.1:3000$/m,
  );
  expect(text.stdout).toMatch(/^\/v1\/reports\/\*\* +not protected/m);
  expect(text.stdout).toMatch(
    /^POST \/v1\/:workspace\/event \(X-Environment: live\) +fyno +POST +Idempotency-Key +24h +first answer/m,
  );
  expect(text.stdout.trimEnd().split("\n").at(-1)).toMatch(
    /^anything else +not protected +http:\/\/127\.0\.0\.1:3000$/,
  );
  const json = await onceward(["config", "check", "--json"], { cwd: home, env: SECRETS });
  expect(JSON.parse(json.stdout)).toMatchObject({
    adminToken: "***",
    account: { secret: "***" },
    encryption: [{ id: "k1", key: "***" }],
  });
  for (const { stdout } of [text, json]) {
    expect(stdout).not.toContain("hunter2");
    expect(stdout).not.toContain(SECRETS.SEAL);
    // Output that is piped has no colours.
    expect(stdout).not.toContain("\u001b");
  }
});

test("what is allowed and dangerous is warned about", async () => {
  for (const store of ["memory:", "memory"]) {
    const result = await onceward(["config", "check", "--store", store, "-u", "http://h"], { cwd: cwd() });
    expect(result).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("warning: the memory store forgets every key when the gateway stops"),
    });
    expect(result.stdout).not.toContain("anything else");
  }
  const file =
    "upstream: http://h\nlisten: 0.0.0.0:8080\naccount: single\nstore: memory\nroutes:\n  - match: POST,PUT /a\n";
  const shared = await onceward(["config", "check"], { cwd: folder({ "onceward.yaml": file }) });
  expect(shared.stderr).toContain("warning: account: single makes everybody who can reach 0.0.0.0:8080 one account");
  expect(shared.stderr).toContain("warning: POST,PUT /a: PUT passes unprotected, since the policy covers POST, PATCH");
});

test("14.2 config schema prints the published schema", async () => {
  const { stdout } = await onceward(["config", "schema"], { cwd: cwd() });
  const published = readFileSync(new URL("../../schema/onceward.schema.json", import.meta.url), "utf8");
  expect(JSON.parse(stdout)).toEqual(JSON.parse(published));
});
