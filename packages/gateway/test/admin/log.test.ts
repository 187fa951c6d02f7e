import { expect, test } from "vitest";
import { createLogger, type LogOptions } from "../../src/log.js";
import { shortKey } from "../../src/redaction.js";

function collect(options: Partial<LogOptions> = {}): {
  readonly log: ReturnType<typeof createLogger>;
  readonly text: () => string;
} {
  const lines: string[] = [];
  const to = { write: (line: string) => void lines.push(line) };
  return {
    log: createLogger({ level: "debug", format: "json", colour: false, to, ...options }),
    text: () => lines.join(""),
  };
}

const SECRET = "hunter2hunter2";

test.each(["json", "pretty"] as const)("9.2 credentials never reach the log, wherever they are put: %s", (format) => {
  const { log, text } = collect({ format });
  log.info(
    { headers: { authorization: SECRET, Cookie: SECRET, "X-Api-Key": SECRET, "set-cookie": [SECRET] } },
    "object",
  );
  log.info(
    {
      headers: [
        ["Authorization", SECRET],
        ["Proxy-Authorization", SECRET],
        ["Accept", "*/*"],
      ],
    },
    "list",
  );
  log.info(
    { config: { adminToken: SECRET, account: { secret: SECRET, accountKey: SECRET }, encryption: [{ key: SECRET }] } },
    "config",
  );
  log.info(
    { store: `postgres://user:${SECRET}@db.test/x`, password: SECRET, token: SECRET },
    `at redis://:${SECRET}@cache.test:6379`,
  );
  const error = new Error(`cannot reach mysql://root:${SECRET}@db`, { cause: new Error(`amqp://a:${SECRET}@b`) });
  log.error(error);
  log.error({ err: error }, "failed");
  log.child({ authorization: SECRET }).warn({ map: new Map([["cookie", SECRET]]) }, "child");
  log.child({ part: "a" }).child({ cookie: SECRET }).warn("grandchild");
  expect(text()).toContain("db.test");
  expect(text()).toContain("*/*");
  expect(text()).not.toContain(SECRET);
});

test("9.2 idempotency keys are shortened", () => {
  const key = "8e03978e-40d5-43dd-bc93-6894a57f9324";
  const { log, text } = collect();
  log.info({ key, headers: [["Idempotency-Key", key]], idempotencyKey: key }, "keyed");
  expect(text()).not.toContain(key);
  expect(JSON.parse(text())).toMatchObject({ key: "8e03978e…" });
  expect(["", "ab", "abcdef", "a".repeat(300)].map(shortKey)).toEqual(["…", "…", "ab…", "aaaaaaaa…"]);
});

test("an error keeps what is needed to mend it: class, code, message, stack and cause", () => {
  const { log, text } = collect();
  log.error({ err: Object.assign(new TypeError("boom", { cause: new Error("why") }), { code: "E_BOOM" }) }, "failed");
  expect(JSON.parse(text())).toMatchObject({
    level: "error",
    msg: "failed",
    err: {
      type: "TypeError",
      code: "E_BOOM",
      message: "boom",
      stack: expect.stringContaining("log.test"),
      cause: { message: "why" },
    },
  });
});

test("what cannot be written as JSON does no harm", () => {
  const { log, text } = collect();
  const circle: Record<string, unknown> = { name: "x" };
  circle["self"] = circle;
  log.info({ circle, bytes: new Uint8Array(3), date: new Date(0), set: new Set([1]) }, "odd");
  expect(JSON.parse(text())).toMatchObject({ bytes: "[3 bytes]", date: "1970-01-01T00:00:00.000Z" });
});

test("lines for people are one entry each, whatever a client put into them", () => {
  const { log, text } = collect({ format: "pretty" });
  log.warn({ path: "/a\n2026 error forged", agent: "\u001b[31mred\u202e" }, "bad\r\nrequest");
  log.debug("quiet");
  const lines = text().trimEnd().split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}bad\\u000d\\u000arequest path=/);
  expect(text()).not.toContain("\u001b");
  expect(text()).not.toContain("\u202e");
  expect(collect({ format: "pretty", colour: true }).text()).toBe("");
});

test("the level is kept to, and silent says nothing", () => {
  const { log, text } = collect({ level: "warn" });
  log.info("no");
  log.warn("yes");
  expect(text()).not.toContain('"no"');
  expect(text()).toContain("yes");
  const silent = collect({ level: "silent" });
  silent.log.error("no");
  expect(silent.text()).toBe("");
});
