// Policy options: every valid and invalid value, every contradiction, and each profile against SPEC §12's table.

import { describe, expect, test } from "vitest";
import { isIdempotencyError } from "../../src/core/errors.js";
import type { Policy, PolicyOptions, ProfileName } from "../../src/core/policy.js";
import { OPTIONS } from "../../src/core/policy-options.js";
import { checkPolicy, resolvePolicy, unsuitableStore } from "../../src/core/resolve-policy.js";

const LIBRARY = { surface: "library", hasRoutes: true } as const;
const GATEWAY = { surface: "gateway", hasRoutes: true } as const;
const DAY = 86_400_000;
const recover = async () => ({ outcome: "unknown" }) as const;
const compute = () => "f";

function messages(options: object, context: Parameters<typeof checkPolicy>[1] = GATEWAY): string[] {
  return checkPolicy(options, context).map(({ path, message }) => `${path.join(".")}: ${message}`);
}

/** Valid values and what they resolve to, and invalid ones. */
const VALUES: {
  [Name in keyof PolicyOptions]-?: { field: keyof Policy; valid: [unknown, unknown][]; invalid: unknown[] };
} = {
  profile: {
    field: "profile",
    valid: [
      ["stripe", "stripe"],
      ["ietf", "ietf"],
    ],
    invalid: ["Stripe", "", 1, null],
  },
  header: {
    field: "header",
    valid: [
      ["X-Key", "X-Key"],
      ["x!#$%&'*+-.^_`|~9", "x!#$%&'*+-.^_`|~9"],
    ],
    invalid: [
      "",
      "a b",
      "a:",
      "ä",
      1,
      null,
      "Authorization",
      "cookie",
      "Host",
      "Content-Length",
      "Connection",
      "Onceward-Key",
    ],
  },
  required: {
    field: "required",
    valid: [
      [true, true],
      [false, false],
    ],
    invalid: ["true", 1, null],
  },
  methods: {
    field: "methods",
    valid: [
      ["all", "all"],
      [["put"], new Set(["PUT"])],
      [["POST", "DELETE"], new Set(["POST", "DELETE"])],
    ],
    invalid: ["POST", [], ["HEAD"], ["options"], ["TRACE"], ["CONNECT"], [""], [1], null],
  },
  keyMaxLength: {
    field: "keyMaxLength",
    valid: [
      [1, 1],
      [8192, 8192],
    ],
    invalid: [0, 8193, 1.5, "10", Number.NaN],
  },
  strict: { field: "strict", valid: [[true, true]], invalid: ["no"] },
  scope: { field: "scope", valid: [["account+operation", "account+operation"]], invalid: ["operation", 1] },
  retention: {
    field: "retentionMs",
    valid: [
      ["24h", DAY],
      ["400d", 400 * DAY],
      [1, 1],
      ["1.5s", 1_500],
      [" 2m ", 120_000],
      ["3 h", 10_800_000],
    ],
    invalid: ["401d", 0, -1, "1w", "h", "", "-1h", "1e3s", 1.5, Number.POSITIVE_INFINITY, null],
  },
  expiration: {
    field: "expiration",
    valid: [
      ["off", null],
      [
        { header: "X-Until", min: "1h", max: "2d" },
        { header: "X-Until", minMs: 3_600_000, maxMs: 2 * DAY },
      ],
    ],
    invalid: [
      "on",
      { header: "X-Until", min: "2h", max: "1h" },
      { header: "X-Until", min: "1h" },
      { header: "X-Until", min: "1h", max: "2h", more: 1 },
      { header: "a b", min: "1h", max: "2h" },
      { header: "X-Until", min: "0s", max: "2h" },
      { header: "X-Until", min: "1h", max: "401d" },
      { header: "Date", min: "1h", max: "2h" },
      null,
      [],
    ],
  },
  fingerprint: {
    field: "fingerprint",
    valid: [
      ["exact", "exact"],
      ["json", "json"],
      ["off", "off"],
      [
        ["a.b", "/a~1b/0"],
        ["a.b", "/a~1b/0"],
      ],
    ],
    invalid: ["Exact", [], [""], [1], ["a..b"], [".a"], ["/a~2"], 1, null],
  },
  onMismatch: {
    field: "onMismatch",
    valid: [
      ["reject", "reject"],
      ["replay", "replay"],
    ],
    invalid: ["ignore"],
  },
  duplicates: {
    field: "duplicates",
    valid: [
      ["reject", "reject"],
      ["replay", "replay"],
    ],
    invalid: [true],
  },
  whileRunning: {
    field: "waitMs",
    valid: [
      ["reject", 0],
      [{ wait: "5s" }, 5_000],
      [{ wait: "10m" }, 600_000],
    ],
    invalid: ["wait", { wait: "11m" }, { wait: 0 }, { wait: "1s", more: 1 }, {}, null],
  },
  retryAfter: { field: "retryAfterMs", valid: [["5s", 5_000]], invalid: [0, "2h"] },
  onInterrupted: {
    field: "onInterrupted",
    valid: [
      ["hold", "hold"],
      ["rerun", "rerun"],
      [{ ask: "http://h/{key}" }, { ask: "http://h/{key}" }],
    ],
    invalid: ["recover", { ask: "ftp://h" }, { ask: "/path" }, { ask: 1 }, {}, null],
  },
  lease: {
    field: "leaseMs",
    valid: [
      [100, 100],
      ["1h", 3_600_000],
    ],
    invalid: [99, "2h"],
  },
  onStoreError: { field: "onStoreError", valid: [["bypass", "bypass"]], invalid: ["allow"] },
  notStarted: {
    field: "notStarted",
    valid: [
      [[], new Set()],
      [[400, 599], new Set([400, 599])],
    ],
    invalid: [[199], [600], ["400"], 400, null],
  },
  unknownStatuses: { field: "unknownStatuses", valid: [[[502, 504], new Set([502, 504])]], invalid: [[100], "502"] },
  maxRequestBody: {
    field: "maxRequestBodyBytes",
    valid: [
      ["1MiB", 1_048_576],
      [0, 0],
      ["2 KB", 2_000],
    ],
    invalid: [-1, "1mb", "x"],
  },
  errorFormat: {
    field: "errorFormat",
    valid: [
      ["stripe", "stripe"],
      ["problem", "problem"],
    ],
    invalid: ["json"],
  },
  mode: { field: "mode", valid: [["observe", "observe"]], invalid: ["off"] },
  marker: {
    field: "marker",
    valid: [
      [false, false],
      ["X-Again", "X-Again"],
    ],
    invalid: [true, "a b", "Set-Cookie", "Transfer-Encoding", "onceward-replayed"],
  },
  keepSetCookie: { field: "keepSetCookie", valid: [[true, true]], invalid: [1] },
  keepDate: { field: "keepDate", valid: [[true, true]], invalid: ["yes"] },
  maxBody: {
    field: "maxBodyBytes",
    valid: [
      ["2MiB", 2_097_152],
      [0, 0],
    ],
    invalid: ["2 PB", -1],
  },
  announceIgnored: { field: "announceIgnored", valid: [[true, true]], invalid: [null] },
  streamingTypes: {
    field: "streamingTypes",
    valid: [
      [["a/b"], new Set(["a/b"])],
      [[], new Set()],
    ],
    invalid: [["text"], ["A/B"], "a/b"],
  },
  forwardKey: { field: "forwardKey", valid: [[false, false]], invalid: ["no"] },
};

describe("SPEC §13 values", () => {
  test("every option is covered here", () => {
    expect(Object.keys(VALUES).sort()).toEqual(Object.keys(OPTIONS).sort());
  });

  test.each(Object.entries(VALUES))("%s", (name, { field, valid, invalid }) => {
    for (const [value, resolved] of valid) {
      expect(messages({ [name]: value })).toEqual([]);
      expect([value, resolvePolicy({ [name]: value }, GATEWAY)[field]]).toEqual([value, resolved]);
    }
    for (const value of invalid) {
      const issues = checkPolicy({ [name]: value }, GATEWAY);
      expect([value, issues.map(({ path }) => path)]).toEqual([value, [[name]]]);
      // What, where, and what it may be.
      expect(issues[0]?.message).toContain(`${name} is `);
      expect(issues[0]?.message).toContain("but it must be ");
    }
  });

  test("undefined is the same as left out", () => {
    const undefinedOnes = Object.fromEntries(Object.keys(OPTIONS).map((name) => [name, undefined]));
    expect(resolvePolicy(undefinedOnes, LIBRARY)).toEqual(resolvePolicy({}, LIBRARY));
  });

  test("functions work in the library only, `ask` and `forwardKey` in the gateway only", () => {
    expect(resolvePolicy({ onInterrupted: recover }, LIBRARY).onInterrupted).toBe(recover);
    expect(resolvePolicy({ fingerprint: compute }, LIBRARY).fingerprint).toBe(compute);
    expect(messages({ onInterrupted: recover, fingerprint: compute })).toEqual([
      expect.stringMatching(/^onInterrupted: .*library only.*ask/),
      expect.stringMatching(/^fingerprint: .*library only/),
    ]);
    expect(messages({ onInterrupted: { ask: "http://h/" }, forwardKey: true }, LIBRARY)).toEqual([
      expect.stringMatching(/^onInterrupted: .*gateway only/),
      expect.stringMatching(/^forwardKey: .*gateway only/),
    ]);
  });

  test.each([
    ["Retention", "retention"],
    ["key-max-length", "keyMaxLength"],
    ["retenton", "retention"],
    ["on_store_error", "onStoreError"],
    ["fingerprints", "fingerprint"],
  ])("an unknown option %s is refused with what was probably meant", (name, meant) => {
    expect(messages({ [name]: 1 })).toEqual([`${name}: unknown option "${name}"; did you mean "${meant}"?`]);
  });

  test.each(["zzz", "", "constructor", "__proto__"])("an unknown option %j is refused without a guess", (name) => {
    expect(messages(JSON.parse(`{${JSON.stringify(name)}: 1}`) as object)).toEqual([
      `${name}: unknown option "${name}"`,
    ]);
  });

  test("all faults are told at once, in one error with code, places and messages", () => {
    const failed = (() => {
      try {
        return resolvePolicy({ lease: 1, mode: "off", nope: 1 } as never, LIBRARY);
      } catch (error) {
        return error;
      }
    })();
    if (!isIdempotencyError(failed, "config_invalid")) throw failed;
    expect(failed.details["issues"]).toHaveLength(3);
    expect(failed.message).toMatch(/lease is 1.*mode is "off".*unknown option "nope"/);
  });
});

describe("SPEC §13 contradictions", () => {
  const refused: [string, object, RegExp][] = [
    ["whileRunning", { duplicates: "reject", whileRunning: { wait: "1s" } }, /nothing to wait for/],
    ["onMismatch", { fingerprint: "off", onMismatch: "reject" }, /nothing is compared/],
    ["onMismatch", { profile: "glyue", onMismatch: "reject" }, /nothing is compared.*fingerprint: exact/],
    ["unknownStatuses", { unknownStatuses: [404] }, /404 cannot both/],
    ["unknownStatuses", { notStarted: [418], unknownStatuses: [418] }, /418 cannot both/],
    ["marker", { marker: "idempotency-key" }, /marker of a replay/],
    ["marker", { header: "idempotent-replayed" }, /marker of a replay/],
    ["expiration", { header: "X-K", expiration: { header: "x-k", min: "1h", max: "1h" } }, /header of the key/],
    ["expiration", { header: "X-Idempotency-Expiration", profile: "fyno" }, /header of the key/],
  ];
  test.each(refused)("%s: %j", (place, options, message) => {
    const issues = checkPolicy(options, GATEWAY);
    expect(issues.map(({ path }) => path)).toEqual([[place]]);
    expect(issues[0]?.message).toMatch(message);
    // How to mend it.
    expect(issues[0]?.message).toMatch(/: .*(remove|set|name|give)/);
  });

  test.each([
    { profile: "glyue", onMismatch: "reject", fingerprint: "exact" },
    { profile: "glyue", onMismatch: "replay" },
    { fingerprint: "off", onMismatch: "replay" },
    { fingerprint: "off" },
    { unknownStatuses: [502, 504] },
    { unknownStatuses: [404], notStarted: [] },
    { duplicates: "replay", whileRunning: { wait: "1s" } },
    { duplicates: "reject", whileRunning: "reject" },
    { marker: false, header: "Idempotent-Replayed" },
  ])("no contradiction: %j", (options) => {
    expect(messages(options)).toEqual([]);
  });

  test("in the library no status means not started unless the policy says so, so none contradicts", () => {
    expect(messages({ unknownStatuses: [404] }, LIBRARY)).toEqual([]);
    expect(messages({ unknownStatuses: [404], notStarted: [404] }, LIBRARY)).toHaveLength(1);
  });

  test("fyno without routes is refused (SPEC §12)", () => {
    expect(messages({ profile: "fyno" }, { surface: "gateway", hasRoutes: false })).toEqual([
      expect.stringMatching(/^profile: .*routes/),
    ]);
    expect(messages({ profile: "fyno" }, LIBRARY)).toEqual([]);
  });
});

describe("SPEC §12 profiles, row by row", () => {
  const refusals = [400, 401, 403, 404, 405, 406, 409, 411, 413, 414, 415, 422, 425, 426, 428, 429, 431];
  const fyno = { header: "x-idempotency-expiration", minMs: DAY, maxMs: 365 * DAY };
  type Row = [
    methods: string[] | "all",
    keys: number,
    compared: Policy["fingerprint"],
    mismatch: Policy["onMismatch"],
    format: Policy["errorFormat"],
  ];
  const rows: Record<ProfileName, Row> = {
    ietf: [["POST", "PATCH"], 255, "exact", "reject", "problem"],
    stripe: [["POST"], 255, "exact", "reject", "stripe"],
    glyue: ["all", 64, "off", "replay", "problem"],
    fyno: [["POST"], 8192, "off", "replay", "problem"],
    apiture: [["POST", "PATCH"], 255, "off", "replay", "problem"],
    gains: [["POST", "PUT", "PATCH"], 255, "off", "replay", "problem"],
  };
  test.each(Object.entries(rows) as [ProfileName, Row][])(
    "%s",
    (profile, [methods, keyMaxLength, fingerprint, onMismatch, errorFormat]) => {
      const short = profile === "glyue" || profile === "apiture";
      const marked = profile === "ietf" || profile === "stripe";
      expect(resolvePolicy({ profile }, GATEWAY)).toEqual({
        profile,
        header: "Idempotency-Key",
        required: false,
        methods: methods === "all" ? "all" : new Set(methods),
        keyMaxLength,
        strict: false,
        scope: "account",
        retentionMs: DAY,
        expiration: profile === "fyno" ? fyno : null,
        fingerprint,
        onMismatch,
        duplicates: "replay",
        waitMs: 0,
        retryAfterMs: 1_000,
        onInterrupted: "hold",
        leaseMs: 30_000,
        onStoreError: "reject",
        notStarted: new Set(short ? [401, 403, 429] : refusals),
        busyNotStarted: !short,
        unknownStatuses: new Set(),
        maxRequestBodyBytes: 100 * 1_048_576,
        errorFormat,
        mode: "enforce",
        marker: marked ? "Idempotent-Replayed" : false,
        keepSetCookie: profile === "glyue",
        keepDate: profile === "glyue",
        maxBodyBytes: 1_048_576,
        announceIgnored: false,
        streamingTypes: new Set(["text/event-stream", "application/x-ndjson"]),
        forwardKey: true,
      } satisfies Policy);
      expect(resolvePolicy({ profile }, LIBRARY)).toMatchObject({ notStarted: new Set(), busyNotStarted: false });
    },
  );

  test("an option beats its profile", () => {
    const policy = resolvePolicy({ profile: "glyue", keyMaxLength: 10, marker: "X-Again", methods: ["POST"] }, GATEWAY);
    expect(policy).toMatchObject({
      keyMaxLength: 10,
      marker: "X-Again",
      methods: new Set(["POST"]),
      fingerprint: "off",
    });
  });
});

describe("SPEC §7.1 operations in transactions", () => {
  const transactional = { ...LIBRARY, transactional: true };

  test("are run again by default, under every profile", () => {
    expect(resolvePolicy({}, LIBRARY).onInterrupted).toBe("hold");
    expect(resolvePolicy({}, transactional).onInterrupted).toBe("rerun");
    for (const profile of ["stripe", "glyue", "fyno", "apiture", "gains"] as const)
      expect(resolvePolicy({ profile }, transactional).onInterrupted).toBe("rerun");
  });

  test("are held or asked about where the policy says so", () => {
    expect(resolvePolicy({ onInterrupted: "hold" }, transactional).onInterrupted).toBe("hold");
    expect(resolvePolicy({ onInterrupted: recover }, transactional).onInterrupted).toBe(recover);
  });
});

describe("what a store cannot honour", () => {
  const info = { name: "s", durability: "process", maxRetentionMs: DAY, shared: true, maxClockSkewMs: 0 } as const;
  test("a longer retention, a longer expiration, a skew as long as the lease", () => {
    expect(unsuitableStore(resolvePolicy({}, LIBRARY), info)).toBeNull();
    expect(unsuitableStore(resolvePolicy({ retention: "25h" }, LIBRARY), info)).toMatch(/24 h.*25 h.*retention/);
    expect(unsuitableStore(resolvePolicy({ profile: "fyno" }, LIBRARY), info)).toMatch(/expiration\.max/);
    expect(unsuitableStore(resolvePolicy({ lease: 500 }, LIBRARY), { ...info, maxClockSkewMs: 500 })).toMatch(/lease/);
  });
});
