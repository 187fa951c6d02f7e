import { expect, test } from "vitest";
import { printable, relative } from "../../src/cli/output.js";

const S = 1_000;
const MIN = 60 * S;
const H = 60 * MIN;

test.each([
  [24 * H - 20, "in 24 h"],
  [24 * H, "in 24 h"],
  [36 * H, "in 36 h"],
  [47 * H + 59 * MIN, "in 48 h"],
  [72 * H - 1, "in 3 d"],
  [119 * MIN + 59 * S, "in 120 min"],
  [2 * H, "in 2 h"],
  [90 * S, "in 90 s"],
  [0, "in 0 s"],
  [-200 * S, "3 min ago"],
])("an instant %s ms from now is shown rounded, not cut off: %s", (ms, text) => {
  expect(relative(1_000_000_000 + ms, 1_000_000_000)).toBe(text);
});

test("what came from clients cannot move the cursor or forge a line", () => {
  expect(printable("a\u001b[2Jb\nc\u2028d")).toBe("a\\u{1b}[2Jb\\u{a}c\\u{2028}d");
});
