// Texts that a client chooses: how long they take to read, and what of them reaches a log (SPEC §9.2, §9.3).

import { expect, test } from "vitest";
import { parseAuthorization } from "../../src/accounts/authorization.js";
import { withoutWhiteSpace } from "../../src/accounts/white-space.js";
import { redactText } from "../../src/redaction.js";

/** How many times as long it takes for a text eight times as long; near 8 where it is linear, near 64 where quadratic. */
function growth(run: (length: number) => void): number {
  const time = (length: number): number => {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 5; round += 1) {
      const startedAt = performance.now();
      run(length);
      best = Math.min(best, performance.now() - startedAt);
    }
    return best;
  };
  time(1_000);
  const short = time(20_000);
  const long = time(160_000);
  // Below a millisecond the clock says little, and it is fast enough.
  return long < 2 ? 0 : long / short;
}

test("SPEC §9.3: a credential with many spaces in it is read in linear time", () => {
  expect(growth((length) => void parseAuthorization(`Bearer a${" ".repeat(length)}b`))).toBeLessThan(30);
  expect(parseAuthorization("\t Bearer  a  b \t")).toEqual({ scheme: "bearer", credential: "a  b" });
  expect(withoutWhiteSpace("\t\u00a0 x \u00a0 ")).toBe("\u00a0 x \u00a0");
  expect([withoutWhiteSpace(""), withoutWhiteSpace(" \t ")]).toEqual(["", ""]);
});

test("SPEC §9.3: a text is redacted in linear time", () => {
  expect(growth((length) => void redactText(`/a${".a".repeat(length / 2)}`))).toBeLessThan(30);
  expect(growth((length) => void redactText("a://".repeat(length / 4)))).toBeLessThan(30);
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
