// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested.
import fc from "fast-check";
import { expect, test } from "vitest";
import { findJsonFault } from "../../src/config/json-fault.js";
import { loadConfig } from "../../src/config/load.js";
import { faults, faultsOf, folder, load } from "./help.js";

const UPSTREAM = "upstream: http://127.0.0.1:3000\n";

const indented = (line: number, column: number, above: number): string =>
  `onceward.yaml:${line}:${column}  this line is indented differently from the one above (it starts in column ${column}, that one in column ${above}): lines that belong together start in the same column`;

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
    "a value with a colon, and lines that are indented too far after it",
    `${UPSTREAM}namespace: a: b\n  c: d\n`,
    "onceward.yaml:2:12  a value that holds a colon and a space needs quotes around it",
  ],
  [
    "a line that is indented too far",
    `${UPSTREAM}account:\n  from: credential\n   anonymous: share\n`,
    indented(4, 4, 3),
  ],
  ["one of them behind a comment", `${UPSTREAM}account:\n  from: basic # a: b\n\n  # c\n   x: y\n`, indented(6, 4, 3)],
  [
    "a line that is indented too far in a list",
    `${UPSTREAM}routes:\n  - match: POST /x\n      required: true\n`,
    indented(4, 7, 5),
  ],
  [
    "a line between a dash and what is after it",
    `${UPSTREAM}routes:\n  - match: POST /x\n   required: true\n`,
    indented(4, 4, 5),
  ],
  ["a line that is indented too little", `${UPSTREAM}limits:\n  maxHeaders: 1\n maxRuns: 2\n`, indented(4, 2, 3)],
  ["an item that is indented too little", `${UPSTREAM}routes:\n  - match: /a\n - match: /b\n`, indented(4, 2, 3)],
  ["an item that is indented too far", `${UPSTREAM}routes:\n- match: /a\n  - match: /b\n`, indented(4, 3, 1)],
  ["a setting at the top that is indented", `${UPSTREAM} listen: 127.0.0.1:1\n`, indented(2, 2, 1)],
  [
    "a line without a colon",
    "upstream http://h\nlisten: 127.0.0.1:1\n",
    "onceward.yaml:1:1  this line has no colon and space after its name; write `name: value`",
  ],
  [
    "a store as it is written elsewhere",
    `${UPSTREAM}store: memory:\n`,
    "onceward.yaml:2:8  a value that ends with a colon needs quotes around it; a store in memory is `memory`",
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
  expect(faults(() => loadConfig({ file: "commented.json", cwd }))).toEqual([
    "commented.json:2:3  JSON has no comments; a configuration named .yaml may have them, behind a #",
  ]);
  expect(faults(() => loadConfig({ file: "twice.json", cwd }))).toEqual([
    "twice.json:3:2  this key stands here a second time; remove one of the two",
  ]);
  expect(faults(() => loadConfig({ file: "wrong.json", cwd }))).toEqual([
    expect.stringMatching(/^wrong\.json:3:2 {2}lease is "3x", but it must be /),
  ]);
});

test.each([
  ['{ "upstream": "a" "listen": "b" }', 18, "a comma is missing before this, or a } for the { of line 1"],
  ['{ "upstream": "a", }', 17, "nothing follows this comma before the }; remove it"],
  ['{ "routes": [', 12, "this [ has no ]: the file ends before it"],
  ['{ "upstream": "a"', 0, "this { has no }: the file ends before it"],
  ["{ upstream: 1 }", 2, 'a name in double quotes must stand here, such as "upstream"'],
  ['{ "upstream" "a" }', 13, "a colon is missing between a name and its value"],
  ['{ "upstream": }', 14, "a value is missing before this }"],
  ['{ "upstream": http://h }', 14, "http needs double quotes around it"],
  [`{ "upstream": 'a' }`, 14, "strings stand in double quotes"],
  ['{ "lease": 30s }', 11, "30s is no number of JSON; a string needs double quotes around it"],
  ['{ "upstream": "a\n" }', 14, "this string has no quote at its end"],
  ['{ "store": "sqlite:C:\\x" }', 21, "this escape is none of JSON's; a backslash itself is written \\\\"],
  ["{} {}", 3, "this comes after the end of the configuration; remove it"],
])("14.2 a slip in JSON is said in words, with its place: %s", (text, offset, message) => {
  expect(findJsonFault(text)).toEqual({ offset, message });
  expect(() => JSON.parse(text)).toThrow();
  expect(faults(() => loadConfig({ file: "onceward.json", cwd: folder({ "onceward.json": text }) }))).toEqual([
    `onceward.json:1:${offset + 1}  ${message}`,
  ]);
});

test("14.2 what is JSON and what is not is told apart as JSON.parse does, whatever one character is changed to", () => {
  const one = fc.json().chain((text) => fc.tuple(fc.constant(text), fc.nat(text.length), fc.string({ maxLength: 2 })));
  const texts = fc.oneof(
    fc.json(),
    one.map(([text, at, change]) => text.slice(0, at) + change + text.slice(at + 1)),
    fc
      .array(fc.constantFrom(...'{}[]",:0-1.eE+ \n\ttrue\\u00aé\u2028'), { minLength: 1, maxLength: 12 })
      .map((all) => all.join("")),
  );
  fc.assert(
    fc.property(texts, (text) => {
      let isJson = true;
      try {
        if (text.trim() !== "") JSON.parse(text);
      } catch {
        isJson = false;
      }
      fc.pre(!/^\s*$/.test(text));
      const fault = findJsonFault(text);
      expect({ text, isJson: fault === null }).toEqual({ text, isJson });
      if (fault !== null) expect(fault.offset).toBeLessThanOrEqual(text.length);
    }),
    { numRuns: 3_000 },
  );
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
