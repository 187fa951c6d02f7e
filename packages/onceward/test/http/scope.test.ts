// Record ids: two scopes never meet (SPEC S4, S5).

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashedKey, type RecordIdParts, recordId } from "../../src/http/scope.js";

const PARTS: RecordIdParts = { namespace: "default", environment: "", account: "a", operation: null, key: "k" };
const id = (parts: Partial<RecordIdParts>) => recordId({ ...PARTS, ...parts });

describe("S4 scope and key are joined unambiguously", () => {
  test("it is 64 hexadecimal digits, and the same parts always give the same ones", () => {
    expect(id({})).toMatch(/^[0-9a-f]{64}$/);
    expect(id({})).toBe(id({}));
    // A stored id must not change from one version to the next.
    expect(id({})).toBe("1cd523f4e9a423cccbf95c27383f0c82a9b68a655f17b2f9fa7da9b4065d07ac");
  });

  test.each<[Partial<RecordIdParts>, Partial<RecordIdParts>]>([
    [
      { account: "a:b", key: "c" },
      { account: "a", key: "b:c" },
    ],
    [
      { account: "a", key: "" },
      { account: "", key: "a" },
    ],
    [{ operation: null }, { operation: "" }],
    [
      { operation: null, key: "-1:k" },
      { operation: "-", key: "k" },
    ],
    [
      { account: "1:a", key: "k" },
      { account: "a", key: "1:k" },
    ],
    [{ account: "A" }, { account: "a" }],
    [{ key: "k" }, { key: "k " }],
    [{ account: "\u00e9" }, { account: "e\u0301" }],
    [{ account: "\ud800" }, { account: "\ud801" }],
    [{ account: "\ud800" }, { account: "\ufffd" }],
    [{ account: "\ud800" }, { account: "\\ud800" }],
    [{ account: "a\u0000" }, { account: "a" }],
  ])("%j and %j differ", (a, b) => {
    expect(id(a)).not.toBe(id(b));
  });

  test("S5 namespace and environment are part of it", () => {
    expect(
      new Set([id({}), id({ namespace: "other" }), id({ environment: "live" }), id({ environment: "test" })]).size,
    ).toBe(4);
  });

  test("no two different sets of confusable parts give the same id", () => {
    const text = fc.array(fc.constantFrom("a", ":", "1", "2", "-", "", "\\", '"', "\ud800", "\udc00"), {
      maxLength: 4,
    });
    const word = text.map((pieces) => pieces.join(""));
    const parts = fc.record({
      namespace: word,
      environment: word,
      account: word,
      operation: fc.option(word),
      key: word,
    });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const same = (Object.keys(a) as (keyof typeof a)[]).every((name) => a[name] === b[name]);
        expect(recordId(a) === recordId(b)).toBe(same);
      }),
      { numRuns: 5_000 },
    );
  });

  test("moving characters across a boundary never gives the same id", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), fc.nat(), (text, a, b) => {
        const cut = (at: number) => id({ account: text.slice(0, at), key: text.slice(at) });
        const first = a % (text.length + 1);
        const second = b % (text.length + 1);
        expect(cut(first) === cut(second)).toBe(first === second);
      }),
    );
  });
});

describe("§9.2 keys kept as digests", () => {
  test("the same key always looks the same, and is not in it", () => {
    expect(hashedKey("order-17")).toMatch(/^sha256:[0-9a-f]{32}$/);
    expect(hashedKey("order-17")).toBe(hashedKey("order-17"));
    expect(hashedKey("order-17")).not.toBe(hashedKey("order-18"));
  });
});
