import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findConfigFile, loadConfig, loadStoreConfig } from "../../src/config/load.js";
import { faults, faultsOf, folder, load } from "./help.js";

const UPSTREAM = "upstream: http://127.0.0.1:3000\n";

test("14.1 nothing but an upstream is needed: every limit and timeout has its default (9.3, 9.4)", () => {
  const cwd = folder();
  const config = loadConfig({ flags: { upstream: "http://127.0.0.1:3000" }, cwd });
  expect(config).toMatchObject({
    listen: { host: "127.0.0.1", port: 8080 },
    admin: { host: "127.0.0.1", port: 8081 },
    adminToken: null,
    tls: null,
    store: `sqlite:${join(cwd, "onceward.db")}`,
    account: { from: "credential", anonymous: "reject", changingCredentials: "reject", secret: null },
    namespace: "default",
    environment: { from: "value", value: "live" },
    encryption: [],
    trustedProxies: [],
    hashKeys: false,
    redactPaths: [],
    log: { level: "info", format: "json" },
  });
  expect(config.limits).toEqual({
    maxHeaderBytes: 16_384,
    maxHeaders: 200,
    maxConnections: 10_000,
    maxInFlight: 10_000,
    maxBufferBytes: 256 * 1_048_576,
    maxSpoolBytes: 4 * 1_073_741_824,
    spoolAboveBytes: 1_048_576,
    maxWaitersPerKey: 100,
    maxWaiters: 10_000,
    maxRecordsPerAccount: 1_000_000,
    maxRecords: 10_000_000,
    newKeysPerSecond: null,
    maxRuns: 100_000,
  });
  expect(config.timeouts).toEqual({
    headersMs: 10_000,
    bodyMs: 60_000,
    keepAliveMs: 65_000,
    connectMs: 5_000,
    upstreamHeadersMs: 60_000,
    upstreamBodyMs: 60_000,
    storeMs: 5_000,
    shutdownMs: 25_000,
    purgeMs: 10_000,
  });
});

test("14.2 where there are no routes one covers every path and method", () => {
  const [route, ...others] = load(UPSTREAM).routes;
  expect(others).toEqual([]);
  expect(route).toMatchObject({
    methods: null,
    when: null,
    upstream: "http://127.0.0.1:3000",
    policy: { profile: "ietf" },
  });
  expect(route?.matches("/any/thing")).toBe(true);
});

test("14.1 a flag beats the environment beats the file", () => {
  const cwd = folder({
    "onceward.yaml":
      "upstream: http://file\nlisten: 127.0.0.1:1\nadmin: 127.0.0.1:2\nstore: 'memory:'\nprofile: stripe\n",
  });
  const env = {
    ONCEWARD_UPSTREAM: "http://env",
    ONCEWARD_LISTEN: "127.0.0.1:11",
    ONCEWARD_ADMIN: "",
    ONCEWARD_PROFILE: "glyue",
    ONCEWARD_ADMIN_TOKEN: "from-the-environment",
    ONCEWARD_LOG_LEVEL: "debug",
  };
  const config = loadConfig({ file: "onceward.yaml", cwd, env, flags: { upstream: "http://flag", profile: "gains" } });
  expect(config.upstream).toBe("http://flag");
  expect(config.listen.port).toBe(11);
  expect(config.admin?.port).toBe(2);
  expect(config.routes[0]?.policy?.profile).toBe("gains");
  expect(config.adminToken).toBe("from-the-environment");
  expect(config.log.level).toBe("debug");
});

test("14.1 a fault in a flag or a variable names it", () => {
  const env = { ONCEWARD_ADMIN: "nowhere", ONCEWARD_PROFILE: "ieft" };
  const flags = { upstream: "localhost:3000", listen: "127.0.0.1:99999", store: "sqlte:x" };
  expect(faults(() => loadConfig({ cwd: folder(), env, flags })).sort()).toEqual([
    expect.stringMatching(/^--listen: listen is "127.0.0.1:99999", but it must be HOST:PORT/),
    '--store: store "sqlte:x" has an unknown scheme; did you mean sqlite:PATH?',
    expect.stringMatching(/^--upstream: upstream is "localhost:3000", but it must be an http or https URL/),
    expect.stringMatching(/^ONCEWARD_ADMIN \(environment\): admin is "nowhere", but it must be off, or HOST:PORT/),
    expect.stringMatching(/^ONCEWARD_PROFILE \(environment\): profile is "ieft", but .*; did you mean ietf\?$/),
  ]);
});

test("14.1 a missing upstream is said together with all else, and needed by the gateway alone", () => {
  const missing =
    "upstream is missing: it is the service to protect, such as http://127.0.0.1:3000; set `upstream`, --upstream or ONCEWARD_UPSTREAM";
  expect(faults(() => loadConfig({ cwd: folder() }))).toEqual([
    "there is no onceward.yaml here, and no upstream is given: `onceward init` writes one; or name the service to protect with --upstream, such as --upstream http://127.0.0.1:3000",
  ]);
  expect(faultsOf("lease: 3x\n")).toEqual([expect.stringContaining("lease is"), `onceward.yaml:1:1  ${missing}`]);
  expect(loadStoreConfig({ cwd: folder(), flags: { store: "memory:" } }).store).toBe("memory:");
});

test("14.1 ONCEWARD_CONFIG and the names that are looked for", () => {
  const cwd = folder({ "onceward.yaml": UPSTREAM });
  expect(findConfigFile(undefined, {}, cwd)).toBe("onceward.yaml");
  expect(findConfigFile(undefined, { ONCEWARD_CONFIG: "other.yaml" }, cwd)).toBe("other.yaml");
  expect(findConfigFile("named.yaml", { ONCEWARD_CONFIG: "other.yaml" }, cwd)).toBe("named.yaml");
  expect(findConfigFile(undefined, {}, folder())).toBeUndefined();
  const two = folder({ "onceward.yaml": "", "onceward.json": "" });
  expect(faults(() => findConfigFile(undefined, {}, two)).join()).toContain("holds onceward.yaml and onceward.json");
});

test("14.2 a store in memory is `memory` or `memory:`, in the file, a flag and the environment", () => {
  for (const store of ["memory", '"memory:"', "Memory", "memory://"])
    expect(load(`${UPSTREAM}store: ${store}\n`).store).toBe("memory:");
  for (const store of ["memory", "memory:"]) {
    expect(load(UPSTREAM, { flags: { store } }).store).toBe("memory:");
    expect(load(UPSTREAM, { env: { ONCEWARD_STORE: store } }).store).toBe("memory:");
  }
});

test("14.2 a relative store in the file is relative to the file, in a flag to the command's folder", () => {
  const cwd = folder({ "onceward.yaml": `${UPSTREAM}store: sqlite:./x.db\n` });
  const elsewhere = folder();
  const file = join(cwd, "onceward.yaml");
  expect(loadConfig({ file, cwd: elsewhere }).store).toBe(`sqlite:${join(cwd, "x.db")}`);
  expect(loadConfig({ file, cwd: elsewhere, flags: { store: "sqlite:y.db" } }).store).toBe(
    `sqlite:${join(elsewhere, "y.db")}`,
  );
  expect(loadStoreConfig({ file, cwd: elsewhere }).store).toBe(`sqlite:${join(cwd, "x.db")}`);
});

test("13 routes build on the file's options; a route with a profile of its own starts from that alone (12)", () => {
  const text = `${UPSTREAM}retention: 2h\nrequired: true\nprofile: stripe
routes:
  - match: POST /a
    retention: 3h
  - match: POST /v1/:workspace/event
    profile: fyno
    when: { header: X-Environment, equals: live }
  - match: /reports/**
    enabled: false
  - match: POST,PATCH /c
    methods: all
    upstream: http://10.0.0.1:8080/base/
    authorize: { url: "http://10.0.0.1:8080/me" }
`;
  const [a, fyno, reports, c] = load(text).routes;
  expect(a?.policy).toMatchObject({ profile: "stripe", retentionMs: 3 * 3_600_000, required: true });
  expect(fyno?.policy).toMatchObject({ profile: "fyno", retentionMs: 24 * 3_600_000, required: false, marker: false });
  expect(fyno?.when).toEqual({ header: "X-Environment", equals: "live" });
  expect(fyno?.matches("/v1/acme/event")).toBe(true);
  expect(fyno?.matches("/v1/acme/events")).toBe(false);
  expect(reports?.policy).toBeNull();
  expect(c).toMatchObject({ upstream: "http://10.0.0.1:8080/base", authorizeUrl: "http://10.0.0.1:8080/me" });
  expect(c?.methods).toEqual(new Set(["POST", "PATCH"]));
});

test("S3 and 14.3: accounts, in long and short form", () => {
  const account = (text: string, files = {}) =>
    load(`${UPSTREAM}account: ${text}\n`, { env: { SECRET: "s".repeat(40) } }, files).account;
  expect(account("single")).toMatchObject({ from: "single" });
  expect(account("basic")).toMatchObject({ from: "basic", anonymous: "reject" });
  expect(account("{ from: header, name: X-Account, anonymous: share }")).toMatchObject({
    from: "header",
    name: "X-Account",
    anonymous: "share",
  });
  expect(account("{ changingCredentials: accept }")).toMatchObject({
    from: "credential",
    changingCredentials: "accept",
  });
  expect(account("{ from: cookie, name: sid, accountKey: { env: SECRET } }")).toMatchObject({
    from: "cookie",
    secret: "s".repeat(40),
  });
  expect(account("{ from: jwt, issuer: i, audience: a, jwks: 'https://i/keys' }")).toMatchObject({
    claim: "sub",
    keys: { kind: "jwks", url: "https://i/keys" },
  });
  expect(
    account("{ from: jwt, issuer: i, audience: a, claim: c, secret: { file: s.txt } }", { "s.txt": "shared secret\n" }),
  ).toMatchObject({
    claim: "c",
    keys: { kind: "secret", secret: "shared secret" },
  });
});

test("9.1 encryption keys: base64, base64url and hexadecimal, from strings, files and variables", () => {
  const key = randomBytes(32);
  const text = `${UPSTREAM}encryption:
  - { id: new, key: { env: NEW } }
  - { id: old, key: { file: old.key } }
  - id: oldest
    key: \${OLDEST}
`;
  const env = { NEW: key.toString("base64"), OLDEST: key.toString("base64url") };
  const { encryption } = load(text, { env }, { "old.key": `${key.toString("hex")}\n` });
  expect(encryption.map(({ id }) => id)).toEqual(["new", "old", "oldest"]);
  for (const each of encryption) expect(Buffer.from(each.key)).toEqual(key);
});

test("S5 environment and namespace", () => {
  const environment = (text: string) => load(`${UPSTREAM}environment: ${text}\n`).environment;
  expect(environment("test")).toEqual({ from: "value", value: "test" });
  expect(environment("{ header: X-Env }")).toEqual({ from: "header", header: "X-Env" });
  expect(environment("host")).toEqual({ from: "host" });
});

test("14.2 admin off; sizes and durations as people write them", () => {
  const config = load(
    `${UPSTREAM}admin: off\nlimits: { maxBuffer: 64MiB, maxSpool: 1.5GB, newKeysPerSecond: 20 }\ntimeouts: { store: 1500, purge: 1 m }\n`,
  );
  expect(config.admin).toBeNull();
  expect(config.limits).toMatchObject({
    maxBufferBytes: 67_108_864,
    maxSpoolBytes: 1_500_000_000,
    newKeysPerSecond: 20,
  });
  expect(config.timeouts).toMatchObject({ storeMs: 1500, purgeMs: 60_000 });
});
