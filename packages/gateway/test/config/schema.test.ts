// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { initialFile } from "../../src/cli/init-file.js";
import { configJsonSchema } from "../../src/config/json-schema.js";
import { load } from "./help.js";

const published = JSON.parse(
  readFileSync(new URL("../../schema/onceward.schema.json", import.meta.url), "utf8"),
) as z.core.JSONSchema.JSONSchema;
const validator = z.fromJSONSchema(published);
const accepts = (text: string): boolean => validator.safeParse(parse(text)).success;

test("14.2 the published schema is what the declarations say (else: onceward config schema > …, then format it)", () => {
  expect(published).toEqual(JSON.parse(JSON.stringify(configJsonSchema())));
});

/** SPEC §14.2's own example, but for the comments. */
const EXAMPLE = `listen: 127.0.0.1:8080
admin: 127.0.0.1:8081
upstream: http://127.0.0.1:3000
store: sqlite:./onceward.db
profile: ietf
account:
  from: credential
routes:
  - match: POST /v1/transfers
    required: true
    onInterrupted: hold
  - match: /v1/reports/**
    enabled: false
  - match: POST /v1/:workspace/event
    profile: fyno
    when: { header: X-Environment, equals: live }
namespace: default
limits: { }
`;

/** The commented settings of the initial file, one set at a time, since they are alternatives in places. */
const UNCOMMENTED = initialFile(null)
  .split("\n")
  .filter((line) => /^# [a-z]\w*: /.test(line) && !line.includes("tls:") && !line.includes("upstreamTls:"))
  .map((line) => line.slice(2).replace(/\s+#.*$/, ""));

test("14.2 examples are valid by the schema and load: the specification's, the initial file, each of its defaults", () => {
  expect(UNCOMMENTED.length).toBeGreaterThan(10);
  const env = { ONCEWARD_ADMIN_TOKEN: "a token" };
  for (const text of [EXAMPLE, initialFile(null), ...UNCOMMENTED.map((line) => `upstream: http://h\n${line}\n`)]) {
    expect({ text, valid: accepts(text) }).toEqual({ text, valid: true });
    expect(load(text, { env }).routes.length).toBeGreaterThan(0);
  }
});

test("the initial file's commented defaults are the defaults", () => {
  const plain = load("upstream: http://127.0.0.1:3000\n");
  for (const line of UNCOMMENTED.filter((text) => !/^(adminToken|trustedProxies|redactPaths)/.test(text))) {
    const { store, ...config } = load(`upstream: http://127.0.0.1:3000\n${line}\n`);
    const { store: _store, ...expected } = plain;
    expect({ line, config: JSON.stringify(config) }).toEqual({ line, config: JSON.stringify(expected) });
    expect(store).toContain("onceward.db");
  }
  // Those that stand below a heading.
  const block = initialFile(null).match(/# limits:\n(# {3}.*\n)+# timeouts:\n(# {3}.*\n)+/)?.[0] ?? "";
  const { limits, timeouts } = load(`upstream: http://h\n${block.replaceAll(/^# /gm, "")}`);
  expect({ limits, timeouts }).toEqual({ limits: plain.limits, timeouts: plain.timeouts });
  expect(block.split("\n").length).toBeGreaterThan(20);
});

test.each([
  "required: ${REQUIRED:-false}",
  "limits:\n  maxRecords: ${MAX}",
  "account: single",
  "admin: off",
  "whileRunning: { wait: 5s }",
])("14.4 the schema takes %s", (text) => {
  expect(accepts(text)).toBe(true);
});

test.each([
  "listne: 127.0.0.1:1",
  "required: maybe",
  "routes: [{ mtach: /a }]",
  "account: { from: jwt }",
  "limits: { maxRecords: 0 }",
  "profile: ieft",
])("14.3 the schema refuses %s", (text) => {
  expect(accepts(text)).toBe(false);
});
