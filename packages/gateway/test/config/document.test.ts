// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested.
import { expect, test } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { faults, faultsOf, folder, load } from "./help.js";

const UPSTREAM = "upstream: http://127.0.0.1:3000\n";

test.each([
  [
    "a key twice",
    `${UPSTREAM}listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n`,
    "onceward.yaml:3:1  this key stands here a second time; remove one of the two",
  ],
  [
    "a tab",
    `${UPSTREAM}limits:\n\tmaxHeaders: 1\n`,
    "onceward.yaml:3:1  a tab indents this line; YAML allows spaces only",
  ],
  ["an unknown tag", `${UPSTREAM}store: !secret x\n`, "onceward.yaml:2:8  Unresolved tag: !secret"],
  [
    "a tag of YAML that is no value here",
    `${UPSTREAM}store: !!binary aGk=\n`,
    "onceward.yaml:2:17  this is no string, number, true, false, list or map; remove its tag",
  ],
  [
    "a value with a colon",
    `${UPSTREAM}namespace: a: b\n`,
    "onceward.yaml:2:12  a value that holds a colon and a space needs quotes around it",
  ],
  [
    "a second document",
    `${UPSTREAM}---\nlisten: 127.0.0.1:1\n`,
    "onceward.yaml:2:1  a second document starts here; a configuration is one",
  ],
  ["an alias without anchor", `${UPSTREAM}store: *gone\n`, "onceward.yaml:2:8  there is no anchor &gone before *gone"],
  [
    "a key that is no name",
    `${UPSTREAM}1: x\n`,
    "onceward.yaml:2:1  1 is a key of the configuration, but keys are names",
  ],
  ["no map", "- a\n- b\n", "onceward.yaml:1:1  this is no map of settings; write `name: value` lines"],
  [
    "a variable within braces",
    `${UPSTREAM}limits: { maxHeaders: \${X} }\n`,
    "onceward.yaml:2:24  a ${VARIABLE} within { } or [ ] needs quotes around it",
  ],
])("14.2 %s is refused with its line and column", (_name, text, line) => {
  expect(faultsOf(text)).toContain(line);
});

test("14.2 what is nested for its own sake, and a bomb of aliases, are refused and not expanded", () => {
  expect(faultsOf(`${UPSTREAM}limits: ${"[".repeat(50)}${"]".repeat(50)}\n`).join()).toContain("nested too deeply");
  const bomb = [
    "a0: &a0 [x]",
    ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join()}]`),
  ].join("\n");
  expect(faultsOf(bomb).join()).toContain("more than 100 aliases");
});

test("14.2 anchors and aliases mean what they stand for", () => {
  const config = load(
    `${UPSTREAM}routes:\n  - &a { match: POST /a, retention: 1h }\n  - { match: POST /b, when: &w { host: x } }\n  - { match: POST /c, when: *w }\n`,
  );
  expect(config.routes.map(({ when }) => when)).toEqual([null, { host: "x" }, { host: "x" }]);
});

test("14.2 a key named __proto__ is unknown and pollutes nothing", () => {
  expect(faultsOf(`${UPSTREAM}__proto__: { admin: "off" }\n`)).toEqual([
    expect.stringContaining('onceward.yaml:2:1  unknown option "__proto__"'),
  ]);
  expect(({} as { admin?: unknown }).admin).toBeUndefined();
});

test("14.2 JSON is read as JSON, indented by tabs too, with places", () => {
  const cwd = folder({
    "good.json": '{\n\t"upstream": "http://127.0.0.1:3000",\n\t"routes": [{ "match": "POST /a" }]\n}\n',
    "commented.json": '{\n  // no\n  "upstream": "http://127.0.0.1:3000"\n}\n',
    "twice.json": '{\n\t"upstream": "http://a",\n\t"upstream": "http://b"\n}\n',
    "wrong.json": '{\n\t"upstream": "http://a",\n\t"lease": "3x"\n}\n',
  });
  expect(loadConfig({ file: "good.json", cwd }).routes[0]?.name).toBe("POST /a");
  expect(faults(() => loadConfig({ file: "commented.json", cwd })).length).toBeGreaterThan(0);
  expect(faults(() => loadConfig({ file: "twice.json", cwd }))).toEqual([
    "twice.json:3:2  this key stands here a second time; remove one of the two",
  ]);
  expect(faults(() => loadConfig({ file: "wrong.json", cwd }))).toEqual([
    expect.stringMatching(/^wrong\.json:3:2 {2}lease is "3x", but it must be /),
  ]);
});

test.each([
  ["gone.yaml", "there is no such file"],
  [".", "it is a folder"],
])("14.2 a file that cannot be read (%s) is one clear line", (file, reason) => {
  expect(faults(() => loadConfig({ file, cwd: folder() }))).toEqual([
    `cannot read the configuration ${file}: ${reason}; \`onceward init\` writes one, --config names another`,
  ]);
});

test("14.2 a file that is not UTF-8 is refused, one with a byte order mark is not", () => {
  expect(load(`\uFEFF${UPSTREAM}`).upstream).toBe("http://127.0.0.1:3000");
  const cwd = folder({ "latin1.yaml": "" });
  expect(faults(() => loadConfig({ file: "onceward.yaml", cwd, text: "a: [" }))).toHaveLength(1);
});
