// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested.
import { expect, test } from "vitest";
import { substitute } from "../../src/config/substitution.js";
import { faultsOf, load } from "./help.js";

test.each([
  ["${A}", "one"],
  ["x${A}y${B:-two}", "xoney" + "two"],
  ["${EMPTY}", ""],
  ["${EMPTY:-fallback}", "fallback"],
  ["${GONE:-}", ""],
  ["${GONE:-a:-b}", "a:-b"],
  ["$${A}", "${A}"],
  ["$A $ $$ 5$", "$A $ $$ 5$"],
  ["${NESTED}", "${A}"],
])("14.4 %s becomes %s", (text, expected) => {
  const result = substitute(text, { A: "one", EMPTY: "", NESTED: "${A}" });
  expect(result).toMatchObject({ ok: true, text: expected });
});

test.each([
  ["${GONE}", "the environment variable GONE is not set; set it, or write ${GONE:-default}"],
  ["${", "a ${ has no } after it"],
  ["${}", "${} is not a variable"],
  ["${A-b}", "${A-b} is not a variable"],
  ["${GONE:-${A}}", "they cannot be nested"],
])("14.4 %s is refused", (text, fault) => {
  expect(substitute(text, { A: "one" })).toMatchObject({ ok: false, fault: expect.stringContaining(fault) });
});

test("14.4 a missing variable is refused with line, column and setting, all of them at once", () => {
  expect(faultsOf("upstream: ${UP}\nroutes:\n  - match: POST /a\n    retention: ${KEEP}\n")).toEqual([
    "onceward.yaml:1:11  upstream: the environment variable UP is not set; set it, or write ${UP:-default}",
    "onceward.yaml:4:16  routes[0].retention: the environment variable KEEP is not set; set it, or write ${KEEP:-default}",
  ]);
});

test("14.4 variables are put in after parsing, so that they cannot add settings", () => {
  const config = load("upstream: http://h\nnamespace: ${N}\n", { env: { N: "a\nadmin: off" } });
  expect(config.namespace).toBe("a\nadmin: off");
  expect(config.admin).not.toBeNull();
});

test("14.4 an unquoted variable may give a number or a boolean, a quoted one is a string", () => {
  const text = "upstream: http://h\nrequired: ${R}\nlimits:\n  maxHeaders: ${N:-7}\nnamespace: ${D}\n";
  const config = load(text, { env: { R: "true", D: "12" } });
  expect([config.routes[0]?.policy?.required, config.limits.maxHeaders, config.namespace]).toEqual([true, 7, "12"]);
  expect(faultsOf('upstream: http://h\nrequired: "${R}"\n', { env: { R: "true" } })).toEqual([
    'onceward.yaml:2:1  required is "${R}", but it must be true or false',
  ]);
});

test("14.4 a value from the environment is never printed, whatever is wrong with it", () => {
  const env = { S: "hunter2" };
  const text = [
    "upstream: ${S}",
    "store: ${S}",
    "redactPaths: ['/${S}*']",
    "listen: ${S}",
    "lease: ${S}",
    'when: "${S}"',
    'whileRunning: { wait: "${S}" }',
    'limits: { maxHeaders: "${S}", maxBuffer: "${S}" }',
    "account: { from: header, name: X }",
    "encryption:",
    "  - { id: a, key: '${S}' }",
    "routes:",
    '  - match: "${S}"',
    "    when: { header: '${S}', equals: 1 }",
  ].join("\n");
  const lines = faultsOf(text, { env });
  expect(lines.length).toBeGreaterThan(9);
  expect(lines.join("\n")).not.toContain("hunter2");
});
