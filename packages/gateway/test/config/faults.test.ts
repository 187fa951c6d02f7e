// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested.
import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { faultsOf, load } from "./help.js";

const UPSTREAM = "upstream: http://127.0.0.1:3000\n";

/** What follows an upstream in line 1, and the one line that refuses it. */
const CASES: readonly (readonly [about: string, text: string, line: string | RegExp])[] = [
  // Names.
  ["an unknown option", "listne: 127.0.0.1:1", '2:1  unknown option "listne"; did you mean "listen"?'],
  [
    "an option in another case",
    "Trusted-Proxies: []",
    '2:1  unknown option "Trusted-Proxies"; did you mean "trustedProxies"?',
  ],
  [
    "an unknown policy option in a route",
    "routes:\n  - match: POST /a\n    retension: 1h",
    '4:5  unknown option "retension" in routes[0]; did you mean "retention"?',
  ],
  ["a limit at the top", "maxInFlight: 4", '2:1  unknown option "maxInFlight"; maxInFlight stands under `limits`'],
  [
    "a policy option among the limits",
    "limits:\n  retention: 1h",
    '3:3  unknown option "retention" in limits; retention stands at the top of the file',
  ],
  [
    "an unknown option in account",
    "account:\n  from: cookie\n  name: sid\n  anonymus: share",
    '5:3  unknown option "anonymus" in account; did you mean "anonymous"?',
  ],
  [
    "an unknown limit",
    "limits: { maxHedders: 3 }",
    '2:11  unknown option "maxHedders" in limits; did you mean "maxHeaders"?',
  ],
  [
    "an unknown timeout",
    "timeouts: { zzz: 3 }",
    /^onceward\.yaml:2:13 {2}unknown option "zzz" in timeouts; there are headers, body, /,
  ],
  ["nothing like anything", "zzz: 3", /^onceward\.yaml:2:1 {2}unknown option "zzz"; remove it/],
  // Values.
  [
    "a duration",
    "routes:\n  - match: POST /a\n  - match: POST /b\n    lease: 3x",
    '5:5  routes[1].lease is "3x", but it must be a duration such as "30s" or "24h", or milliseconds, from 100 ms to an hour',
  ],
  [
    "a timeout",
    "timeouts: { store: soon }",
    /^onceward\.yaml:2:13 {2}timeouts\.store is "soon", but it must be a duration/,
  ],
  [
    "a size",
    "limits: { maxBuffer: 12 }",
    /^onceward\.yaml:2:11 {2}limits\.maxBuffer is 12, but it must be a size such as "1MiB", or bytes, of at least 1048576/,
  ],
  ["an empty value", "profile:", /^onceward\.yaml:2:1 {2}profile is empty, but it must be ietf or /],
  ["a map where a list belongs", "routes: { match: /a }", '2:1  routes is {"match":"/a"}, but it must be a list'],
  ["a string where a map belongs", "limits: none", '2:1  limits is "none", but it must be a map of settings'],
  ["a listener", "listen: 8080", /^onceward\.yaml:2:1 {2}listen is 8080, but it must be HOST:PORT/],
  ["a listener's address", "listen: 127.0.0.300:80", /^onceward\.yaml:2:1 {2}listen is "127\.0\.0\.300:80", but/],
  [
    "a condition",
    "routes:\n  - match: POST /a\n    when: { header: X-Env }",
    '4:5  routes[0].when is {"header":"X-Env"}, but it must be `{ header, equals }` or `{ host }`, with strings',
  ],
  [
    "a path",
    "routes:\n  - match: POST v1/transfers/*.json",
    '3:5  routes[0].match: in "/transfers/*.json" * is only a part of a segment; it stands for a whole one',
  ],
  [
    "a match without a path",
    "routes:\n  - match: POST",
    '3:5  routes[0].match: "POST" has no path; write a method and a path, such as POST /v1/transfers',
  ],
  [
    "a route without match",
    "routes:\n  - required: true",
    /^onceward\.yaml:3:5 {2}routes\[0\]\.match is missing: it must be a path/,
  ],
  [
    "a proxy",
    "trustedProxies: [10.0.0.0/8, 10.0.0.0/33]",
    '2:30  trustedProxies[1] is "10.0.0.0/33", but it must be an IP address or a range such as 10.0.0.0/8',
  ],
  [
    "a pattern to redact",
    "redactPaths: [users]",
    /^onceward\.yaml:2:15 {2}redactPaths\[0\] is "users", but it must be a path pattern/,
  ],
  [
    "an environment",
    "environment: { header: 'X Env' }",
    /^onceward\.yaml:2:1 {2}environment is \{"header":"X Env"\}, but it must be a name/,
  ],
  [
    "a log level",
    "log: { level: loud }",
    '2:8  log.level is "loud", but it must be debug or info or warn or error or silent',
  ],
  [
    "an upstream with a query",
    "routes:\n  - match: /a\n    upstream: http://h/?a=b",
    "4:5  routes[0].upstream holds a query (?…), but requests have their own; remove it",
  ],
  [
    "an upstream with a password",
    "routes:\n  - match: /a\n    upstream: http://u:hunter2@h",
    "4:5  routes[0].upstream holds a user name or password, which are not sent; remove them from the URL",
  ],
  // Accounts.
  [
    "an unknown kind of account",
    "account: { from: heder }",
    '2:12  account.from is "heder", but it must be credential, header, cookie, basic, single, jwt',
  ],
  [
    "an account header without name",
    "account: { from: header }",
    /^onceward\.yaml:2:1 {2}account\.name is missing: it must be a header name/,
  ],
  [
    "a token without keys",
    "account: { from: jwt, issuer: i, audience: a }",
    "2:1  account: tokens are verified with one of jwks, secret and publicKey, but none is given",
  ],
  [
    "a token with two kinds of keys",
    "account: { from: jwt, issuer: i, audience: a, jwks: 'https://h', secret: x }",
    "2:66  account: tokens are verified with one of jwks, secret and publicKey, but jwks and secret are given",
  ],
  [
    "a public key that is none",
    "account: { from: jwt, issuer: i, audience: a, publicKey: hello }",
    /^onceward\.yaml:2:47 {2}account\.publicKey is no public key; it must be PEM/,
  ],
  [
    "a short account key",
    "account: { accountKey: short }",
    "2:12  account.accountKey is too short to be a secret: give it at least 16 characters, at random",
  ],
  [
    "a secret's file that is gone",
    "account: { accountKey: { file: gone } }",
    /^onceward\.yaml:2:26 {2}account\.accountKey\.file names .*gone, which cannot be read: there is no such file$/,
  ],
  [
    "a secret's variable that is not set",
    "adminToken: { env: GONE }",
    "2:15  adminToken.env names the environment variable GONE, which is not set; set it",
  ],
  [
    "an empty token",
    'adminToken: ""',
    "2:1  adminToken must be a string such as ${VARIABLE}, { file: PATH } or { env: VARIABLE }, and not empty",
  ],
  // Encryption.
  [
    "a key of another length",
    "encryption: [{ id: a, key: c2hvcnQ= }]",
    "2:23  encryption[0].key has 5 bytes, but it must have 32 bytes in base64 or hexadecimal (openssl rand -base64 32 makes one)",
  ],
  [
    "a key that is no bytes",
    "encryption: [{ id: a, key: '%%%' }]",
    /^onceward\.yaml:2:23 {2}encryption\[0\]\.key is neither base64 nor hexadecimal/,
  ],
  [
    "two keys of one name",
    `encryption: [{ id: a, key: ${"0a".repeat(32)} }, { id: a, key: ${"1b".repeat(32)} }]`,
    /encryption\[1\]\.id is that of another key too/,
  ],
  // Stores.
  [
    "a store of a server without a database",
    "store: postgres://u:hunter2@h",
    '2:1  store "postgres://u:***@h" names no database; write postgres://user@host/database',
  ],
  [
    "a store without scheme",
    "store: ./x.db",
    '2:1  store "./x.db" has no scheme; write memory, sqlite:PATH, postgres://…, mysql://…, redis://…, nats://… or dynamodb://TABLE, such as sqlite:./onceward.db',
  ],
  ["a store on a host", "store: sqlite://host/x.db", /names a host, and a database file has none/],
  ["sqlite in memory", "store: 'sqlite::memory:'", /is kept in memory only; write memory for that/],
  // Contradictions.
  [
    "admin on the listener's port",
    "admin: 127.0.0.1:8080",
    "2:1  admin is 127.0.0.1:8080, where clients connect already (listen is 127.0.0.1:8080): give it another port",
  ],
  [
    "admin on the listener's port of every interface",
    "listen: 0.0.0.0:8081",
    /^onceward\.yaml:\d:1 {2}admin is 127\.0\.0\.1:8081, where clients connect already/,
  ],
  [
    "9.5 admin for all without a token",
    "admin: 0.0.0.0:8081",
    /^onceward\.yaml:2:1 {2}admin is 0\.0\.0\.0:8081, which others can reach, and there is no token: set `adminToken`/,
  ],
  [
    "an upstream that is the gateway",
    "routes:\n  - match: /a\n    upstream: http://localhost:8080",
    "4:5  routes[0].upstream is http://localhost:8080, which is the gateway's own address (listen): name the service behind it",
  ],
  [
    "an upstream that is the admin listener",
    "routes:\n  - match: /a\n    upstream: 'http://[::1]:8081'",
    /routes\[0\]\.upstream .* own address \(admin\)/,
  ],
  [
    "a certificate without key",
    "tls: { cert: a.pem }",
    /^onceward\.yaml:2:1 {2}tls\.key is missing: it must be a string/,
  ],
  [
    "a certificate that is gone",
    "upstreamTls: { ca: gone.pem }",
    /^onceward\.yaml:2:16 {2}upstreamTls\.ca names .*gone\.pem, which cannot be read: there is no such file/,
  ],
  [
    "a client certificate without key",
    "upstreamTls: { cert: a.pem }",
    "2:16  upstreamTls.key is missing: a certificate needs its private key",
  ],
  [
    "12 fyno without routes",
    "profile: fyno",
    '2:1  profile fyno covers only the Event, Event Bulk and Automations APIs of its source, in the live environment: list them under `routes` and set it there, such as { match: "POST /v1/:workspace/event", profile: fyno, when: { header: X-Environment, equals: live } }',
  ],
  [
    "13 a contradiction in a route",
    "routes:\n  - match: POST /a\n    duplicates: reject\n    whileRunning: { wait: 5s }",
    /^onceward\.yaml:5:5 {2}routes\[0\]\.whileRunning: duplicates that are refused have nothing to wait for/,
  ],
  [
    "13 a contradiction of a route with the file",
    "fingerprint: off\nroutes:\n  - match: POST /a\n    onMismatch: reject",
    /^onceward\.yaml:5:5 {2}routes\[0\]\.onMismatch: with `fingerprint: off` nothing is compared/,
  ],
  [
    "P4 a route whose method its policy leaves alone",
    "routes:\n  - match: PUT /a",
    "3:5  routes[0].match names PUT, but its policy covers POST, PATCH: add `methods: [PUT]`, or `enabled: false` to let it pass unprotected",
  ],
  [
    "a route that is never reached",
    "routes:\n  - match: POST,PATCH /a\n  - match: PATCH,POST /a",
    '4:5  routes[1].match "PATCH,POST /a" is never reached: routes[0] matches the same; remove one',
  ],
  [
    "a route behind a catch-all",
    "routes:\n  - match: /**\n  - match: POST /x",
    '4:5  routes[1].match "POST /x" is never reached: the first match wins, and routes[0] (/**) matches all that it does; move it before that one, or remove it',
  ],
  [
    "a route behind one with a name where it has a word",
    "routes:\n  - match: POST,PATCH /v1/:thing/**\n  - match: POST /v1/%61/b\n    when: { host: x }",
    /^onceward\.yaml:4:5 {2}routes\[1\]\.match "POST \/v1\/%61\/b" is never reached: the first match wins, and routes\[0\]/,
  ],
  [
    "a method that is none",
    "routes:\n  - match: PSOT /x",
    '3:5  routes[0].match: "PSOT" is no method that the gateway takes, so no request ever has it; did you mean POST?',
  ],
  [
    "a method that nobody knows",
    "routes:\n  - match: POST,FOO /x\n    methods: all",
    '3:5  routes[0].match: "FOO" is no method that the gateway takes, so no request ever has it; remove it',
  ],
  [
    "a method that is none in the policy",
    "methods: [POST, ptach]",
    '2:1  methods: "PTACH" is no method that the gateway takes, so no request ever has it; did you mean PATCH?',
  ],
  [
    "an address of keys that is none",
    "account: { from: jwt, issuer: i, audience: a, jwks: login.example.com }",
    '2:47  account.jwks is "login.example.com", but it must be an http or https URL, such as https://login.example.com/.well-known/jwks.json',
  ],
];

test.each(CASES)("14.3 %s is refused in one line with place and fix", (_about, text, line) => {
  const lines = faultsOf(`${UPSTREAM}${text}\n`);
  expect(lines).toEqual([typeof line === "string" ? `onceward.yaml:${line}` : expect.stringMatching(line)]);
  expect(lines.join()).not.toContain("hunter2");
});

test("14.3 all faults are said at once, in the order of the file", () => {
  const lines = faultsOf(
    "upstream: ftp://h\nlease: 3x\naccount: { from: header }\nroutes:\n  - match: POST\n  - match: POST /b\n    retention: 0s\n",
  );
  expect(lines.map((line) => line.split("  ")[0])).toEqual(
    ["1:1", "2:1", "3:1", "5:5", "7:5"].map((at) => `onceward.yaml:${at}`),
  );
});

test("a private key is no public key, and a key must belong to its certificate", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const files = { "a.pem": pem, "b.pem": "hello" };
  expect(
    faultsOf(`${UPSTREAM}account: { from: jwt, issuer: i, audience: a, publicKey: { file: a.pem } }\n`, {}, files),
  ).toEqual([expect.stringContaining("account.publicKey is a private key; give the public one")]);
  expect(faultsOf(`${UPSTREAM}tls: { cert: b.pem, key: a.pem }\n`, {}, files)).toEqual([
    "onceward.yaml:2:8  tls.cert names a file that holds no certificate; it must be PEM",
  ]);
});

test("9.5 an admin listener for all is taken with a token, and one port of two addresses is not one port", () => {
  const guarded = `${UPSTREAM}admin: 0.0.0.0:8081\nadminToken: \${T}\n`;
  const token = "sixteen letters!";
  expect(load(guarded, { env: { T: token } })).toMatchObject({ adminToken: token });
  expect(faultsOf(guarded, { env: { T: "fifteen letters" } })).toEqual([
    "onceward.yaml:3:1  adminToken is too short for a listener that others can reach (0.0.0.0:8081): give it at least 16 characters, at random (openssl rand -base64 32 makes some)",
  ]);
  expect(load(`${UPSTREAM}adminToken: short\n`)).toMatchObject({ adminToken: "short" });
  expect(load(`${UPSTREAM}listen: 10.0.0.5:8081\n`).listen.host).toBe("10.0.0.5");
});

test("14.2 routes that overlap and can each be reached are taken", () => {
  for (const [first, second] of [
    ["POST /x", "/**"],
    ["/a/*", "/a/**"],
    ["/a/**", "/*/b"],
    ["/a/b", "/a/:b"],
    ["POST /a", "POST,PATCH /a"],
    ["/a/*/**", "/a"],
    ["PROPFIND /a", "M-SEARCH /a"],
  ] as const) {
    const text = `${UPSTREAM}methods: all\nroutes:\n  - match: ${first}\n  - match: ${second}\n`;
    expect(load(text).routes.map(({ name }) => name)).toEqual([first, second]);
  }
  const conditions =
    "routes:\n  - { match: /a, when: { host: x } }\n  - { match: /a, when: { host: y } }\n  - match: /a\n";
  expect(load(UPSTREAM + conditions).routes).toHaveLength(3);
});
