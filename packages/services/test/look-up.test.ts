// Where servers come from: the variable first, then programs, else one line, which is an error under CI.

import { expect, test } from "vitest";
import { lookUp } from "../src/look-up.js";

const needs = {
  name: "Nothing",
  variable: "ONCEWARD_TEST_NOTHING_URL",
  programs: ["onceward-no-such-program"],
  install: "apt-get install nothing",
};

test("a URL variable is taken before a program", () => {
  const url = "nothing://127.0.0.1:1";
  expect(lookUp({ ...needs, programs: ["node"] }, { ONCEWARD_TEST_NOTHING_URL: url })).toEqual({ kind: "url", url });
});

test("a program on the PATH is found", () => {
  const source = lookUp({ ...needs, programs: ["sh"] }, { PATH: "/bin:/usr/bin" });
  expect(source).toMatchObject({ kind: "programs", paths: { sh: expect.stringMatching(/\/sh$/) } });
});

test("a missing one is one line that says how to get it, and an error under CI", () => {
  const source = lookUp(needs, { PATH: "/bin" });
  expect(source).toMatchObject({ kind: "missing", reason: expect.stringContaining("apt-get install nothing") });
  expect(() => lookUp(needs, { PATH: "/bin", CI: "true" })).toThrow("ONCEWARD_TEST_NOTHING_URL");
});
