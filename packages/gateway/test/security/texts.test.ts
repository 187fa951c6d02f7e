// Texts that a client chooses: how long they take to read, and what of them reaches a log (SPEC §9.2, §9.3).

import { parseAuthorization, withoutWhiteSpace } from "onceward/http";
import { expect, test } from "vitest";
import { redactText } from "../../src/redaction.js";

/** So long that whatever takes quadratic time does not end before the test is given up. */
const LONG = 4_000_000;

test("SPEC §9.3: a credential with many spaces in it is read in linear time", () => {
  expect(parseAuthorization(`Bearer a${" ".repeat(LONG)}b`)).toHaveProperty("scheme", "bearer");
  expect(parseAuthorization("\t Bearer  a  b \t")).toEqual({ scheme: "bearer", credential: "a  b" });
  expect(withoutWhiteSpace("\t\u00a0 x \u00a0 ")).toBe("\u00a0 x \u00a0");
  expect([withoutWhiteSpace(""), withoutWhiteSpace(" \t ")]).toEqual(["", ""]);
});

test("SPEC §9.3: a text is redacted in linear time", () => {
  for (const text of [`/a${".a".repeat(LONG / 2)}`, "a://".repeat(LONG / 4)]) expect(redactText(text)).toBe(text);
});

test.each([
  ["redis://u:p@ss@host:6379/0", "redis://[redacted]@host:6379/0"],
  ["postgres://u:p'w@host", "postgres://[redacted]@host"],
  ['mysql://u:p"w`x@host', "mysql://[redacted]@host"],
  ["cannot reach postgres://u:pw@db/x as a@b", "cannot reach postgres://[redacted]@db/x as a@b"],
  ["http://host/@x", "http://host/@x"],
])("SPEC §9.2: a password is not logged, whatever it holds: %s", (text, redacted) => {
  expect(redactText(text)).toBe(redacted);
});
