// Which results of steps are kept, and what is said of the others.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonOf } from "../../src/core/json-result.js";

class Money {
  readonly amount = 1;
}
const circle: Record<string, unknown> = {};
circle["self"] = { circle };
const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)]);

describe("7.2 results of steps", () => {
  it("that are JSON read back as they are", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        // JSON has no negative zero, and reads __proto__ as any other name.
        fc.pre(!Object.is(value, -0) && !JSON.stringify(value).includes("-0"));
        expect(JSON.parse(jsonOf(value) ?? "")).toEqual(value);
      }),
    );
  });

  it("may be undefined, have undefined properties, no prototype, and a value in two places", () => {
    const twice = { a: 1 };
    const bare = Object.assign(Object.create(null), { b: 2 }) as object;
    expect(jsonOf(undefined)).toBeNull();
    expect(jsonOf({ a: undefined, twice, also: twice, bare })).toBe('{"twice":{"a":1},"also":{"a":1},"bare":{"b":2}}');
    expect(jsonOf("\ud800")).toBe('"\\ud800"');
    expect(jsonOf(deep(400))).toContain("1");
  });

  it.each<[string, unknown, RegExp]>([
    ["a date", { paid: { at: new Date(0) } }, /^its paid\.at is a Date$/],
    ["bytes", new Uint8Array(2), /^it is a Uint8Array$/],
    ["a Map", [new Map()], /^its \[0\] is a Map$/],
    ["an instance", { money: new Money() }, /^its money is a Money$/],
    ["an error", new Error("x"), /^it is a Error$/],
    ["NaN", { n: [1, Number.NaN] }, /^its n\[1\] is NaN, which is no number in JSON$/],
    ["Infinity", Number.NEGATIVE_INFINITY, /^it is -Infinity/],
    ["a bigint", { id: 1n }, /^its id is a bigint$/],
    ["a function", { toJSON: () => 1 }, /^its toJSON is a function$/],
    ["a symbol", Symbol("x"), /^it is a symbol$/],
    ["undefined in a list", [undefined], /^its \[0\] is undefined$/],
    // biome-ignore lint/suspicious/noSparseArray: what is tested.
    ["a hole", [1, , 2], /^its \[1\] is undefined$/],
    ["a circle", circle, /holds itself/],
    ["too deep a value", deep(600), /nested more than 500 deep/],
    ["a promise", Promise.resolve(1), /^it is a Promise$/],
  ])("that are or hold %s are refused, with their place", (_, value, message) => {
    expect(() => jsonOf(value)).toThrow(expect.objectContaining({ message: expect.stringMatching(message) }));
    expect(() => jsonOf(value)).toThrow(TypeError);
  });
});
