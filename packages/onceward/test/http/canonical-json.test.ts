// Canonical JSON: RFC 8785's vectors, exact decimals, and agreement with JSON.parse on what is JSON at all (SPEC §5.6).

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson } from "../../src/http/canonical-json.js";
import { exactDecimal } from "../../src/http/decimal.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

function canonical(text: string, maxDepth?: number): string | null {
  const bytes = canonicalJson(encoder.encode(text), maxDepth);
  return bytes === null ? null : decoder.decode(bytes);
}

describe("RFC 8785", () => {
  test("§3.2.2 the sample object", () => {
    const text = String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`;
    // The RFC rounds 333333333.33333329 to the double 333333333.3333333; here no digit is lost.
    expect(canonical(text)).toBe(
      `{"literals":[null,true,false],"numbers":[333333333.33333329,1e+30,4.5,0.002,1e-27],` +
        String.raw`"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  test("§3.2.3 members are sorted by UTF-16 code units", () => {
    const text = String.raw`{
      "\u20ac": "Euro Sign",
      "\r": "Carriage Return",
      "\ufb33": "Hebrew Letter Dalet With Dagesh",
      "1": "One",
      "\ud83d\ude00": "Emoji: Grinning Face",
      "\u0080": "Control",
      "\u00f6": "Latin Small Letter O With Diaeresis"
    }`;
    expect(Object.values(JSON.parse(canonical(text) ?? "") as object)).toHaveLength(7);
    const order = [...(canonical(text) ?? "").matchAll(/:"(\w+)/g)].map((match) => match[1]);
    expect(order).toEqual(["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"]);
  });

  test("Appendix B: numbers as doubles spell them stay so", () => {
    for (const text of [
      "0",
      "5e-324",
      "-5e-324",
      "1.7976931348623157e+308",
      "9007199254740992",
      "-9007199254740992",
      "295147905179352830000",
      "9.999999999999997e+22",
      "1e+23",
      "1.0000000000000001e+23",
      "999999999999999700000",
      "999999999999999900000",
      "1e+21",
      "9.999999999999997e-7",
      "0.000001",
      "333333333.3333332",
      "333333333.33333325",
      "-0.0000033333333333333333",
      "1424953923781206.2",
    ]) {
      expect(canonical(text)).toBe(text);
    }
  });
});

describe("§5.6 numbers are exact decimals", () => {
  test.each([
    ["1", ["1", "1.0", "1e0", "1E+0", "10e-1", "0.1e1", "1.000e0", "0.0001e4", "1e-0"]],
    ["0", ["0", "-0", "0.0", "-0.0e5", "0e999999999999999999999"]],
    ["100", ["100", "1e2", "1.00e2", "10000e-2"]],
    ["-12.5", ["-12.5", "-125e-1", "-0.125e2", "-12.50"]],
    ["1e+21", ["1e21", "1000000000000000000000", "0.1e22"]],
    ["1e-7", ["1e-7", "0.0000001", "10e-8"]],
    ["1.5e+999999999", ["1.5e999999999", "15e999999998", "150e0000999999997"]],
    ["1e+1000000000000000", ["1e1000000000000000", "10e999999999999999", "0.1e1000000000000001"]],
    ["1e+10000000000000000000", ["1e10000000000000000000", "10e9999999999999999999", "100e9999999999999999998"]],
    ["1.1e+13000000000000000", ["11e12999999999999999", "0.11e13000000000000001", "110e12999999999999998"]],
    ["1.1e-13000000000000000", ["11e-13000000000000001", "0.11e-12999999999999999"]],
    ["1e+12999999999999999", ["0.1e13000000000000000", "0.01e13000000000000001"]],
    ["1e-10000000000000000000", ["1e-10000000000000000000", "0.1e-9999999999999999999", "10e-10000000000000000001"]],
  ])("%s has one spelling", (expected, spellings) => {
    for (const spelling of spellings) expect(canonical(spelling)).toBe(expected);
  });

  test("9007199254740993 is not 9007199254740992, nor 0.1 what a double makes of it", () => {
    expect(canonical("9007199254740993")).toBe("9007199254740993");
    expect(canonical("0.1000000000000000055511151231257827")).not.toBe(canonical("0.1"));
    expect(canonical("1e400")).not.toBe(canonical("1e401"));
  });

  test("a megabyte of digits, in the number or in its exponent, takes linear time", () => {
    const digits = "9".repeat(1_000_000);
    const start = performance.now();
    expect(exactDecimal(digits).length).toBeGreaterThan(1_000_000);
    expect(exactDecimal(`1e${digits}`)).toBe(`1e+${digits}`);
    expect(exactDecimal(`10e${digits}`)).toBe(`1e+1${"0".repeat(1_000_000)}`);
    expect(exactDecimal(`0.1e1${"0".repeat(1_000_000)}`)).toBe(`1e+${digits}`);
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  test("two spellings have one form iff they are one value", () => {
    const digits = fc.stringMatching(/^(0|[1-9][0-9]{0,5})$/);
    const number = fc
      .tuple(fc.constantFrom("", "-"), digits, fc.stringMatching(/^(\.[0-9]{1,5})?$/), fc.integer({ min: -9, max: 9 }))
      .map(([sign, whole, fraction, exponent]) => `${sign}${whole}${fraction}e${exponent}`);
    fc.assert(
      fc.property(number, number, (a, b) => {
        expect(exactDecimal(a) === exactDecimal(b)).toBe(scaled(a) === scaled(b));
        expect(scaled(exactDecimal(a))).toBe(scaled(a));
        expect(exactDecimal(exactDecimal(a))).toBe(exactDecimal(a));
      }),
    );
  });

  test("a double's own spelling is its form, so that it looks as in RFC 8785", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(exactDecimal(String(value))).toBe(String(value));
      }),
      { numRuns: 2_000 },
    );
  });
});

/** The value of a number in units of 10^-40, another way to the same end. */
function scaled(text: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/.exec(text);
  const [, sign, whole = "", fraction = "", exponent = "0"] = match ?? [];
  const size = BigInt(whole + fraction) * 10n ** BigInt(40 + Number(exponent) - fraction.length);
  return sign === "-" ? -size : size;
}

describe("§5.6 what has no canonical form", () => {
  test.each([
    ["members of one name", '{"a":1,"a":1}'],
    ["members of one name, spelled differently", String.raw`{"a":1,"\u0061":2}`],
    ["members of one name, deeper", '[{"b":{"a":1,"a":2}}]'],
    ["nothing", ""],
    ["white space", " \n"],
    ["two values", "1 2"],
    ["a byte order mark", "\ufeff{}"],
    ["a no-break space", "\u00a01"],
    ["a comment", "/* */1"],
    ["a trailing comma", "[1,]"],
    ["a single quote", "{'a':1}"],
    ["NaN", "NaN"],
    ["a leading zero", "01"],
    ["a plus sign", "+1"],
    ["a bare point", "1."],
    ["a bare exponent", "1e"],
    ["a control character", '"\u0001"'],
    ["an unknown escape", String.raw`"\x41"`],
    ["an unfinished string", '"a'],
  ])("%s", (_what, text) => {
    expect(canonical(text)).toBeNull();
  });

  test("bytes that are not UTF-8: overlong, encoded surrogates, cut off", () => {
    for (const bytes of [
      [0x22, 0xc0, 0xaf, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xe2, 0x82],
      [0x22, 0xff, 0x22],
      [0x22, 0x80, 0x22],
    ]) {
      expect(canonicalJson(Uint8Array.from(bytes))).toBeNull();
    }
  });

  test("nesting beyond the bound, and a hundred thousand levels do not overflow the stack", () => {
    expect(canonical("[[1]]", 2)).toBe("[[1]]");
    expect(canonical("[[[1]]]", 2)).toBeNull();
    expect(canonical(`${"[".repeat(128)}${"]".repeat(128)}`)).not.toBeNull();
    expect(canonical(`${"[".repeat(129)}${"]".repeat(129)}`)).toBeNull();
    expect(canonical('{"a":'.repeat(100_000))).toBeNull();
  });

  test("lone surrogates stay apart", () => {
    expect(canonical(String.raw`"\ud800"`)).toBe(String.raw`"\ud800"`);
    expect(canonical(String.raw`"\uD800"`)).toBe(String.raw`"\ud800"`);
    expect(canonical(String.raw`"\ud800"`)).not.toBe(canonical('"\ufffd"'));
  });

  test("no member name is special", () => {
    expect(canonical('{"__proto__":1,"constructor":2}')).toBe('{"__proto__":1,"constructor":2}');
    expect(canonical('{"b":{"toString":null},"a":{}}')).toBe('{"a":{},"b":{"toString":null}}');
  });
});

describe("properties", () => {
  test("white space, the order of members and escapes do not matter; the value stays", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
        const text = JSON.stringify(value);
        const form = canonical(text);
        expect(form).not.toBeNull();
        expect(JSON.parse(form ?? "")).toEqual(JSON.parse(text));
        expect(canonical(JSON.stringify(reversed(value), null, 2))).toBe(form);
        expect(canonical(form ?? "")).toBe(form);
      }),
    );
  });

  test("it accepts what JSON.parse accepts, and no more", () => {
    const piece = fc.constantFrom(
      ...'{}[]:,"\\ \n\t019-+.eE/',
      "true",
      "false",
      "null",
      '"a"',
      '"b"',
      '"a":',
      "[]",
      "{}",
      String.raw`\n`,
      String.raw`\u00e9`,
      String.raw`\ud800`,
      "1.5e3",
      "é",
      "\u2028",
    );
    const broken = fc
      .tuple(fc.json(), fc.nat(), fc.nat({ max: 3 }), fc.oneof(piece, fc.constant("")))
      .map(([text, at, drop, put]) => {
        const cut = at % (text.length + 1);
        return text.slice(0, cut) + put + text.slice(cut + drop);
      });
    const text = fc.oneof(
      fc.array(piece, { maxLength: 9 }).map((pieces) => pieces.join("")),
      broken,
      fc.json(),
    );
    fc.assert(
      fc.property(text, (json) => {
        fc.pre(!/[\ud800-\udfff]/u.test(json));
        const accepted = accepts(json);
        if (accepted && canonical(json) === null) {
          // Only members of one name may be refused where JSON.parse accepts: then writing the value loses some.
          expect(members(JSON.stringify(JSON.parse(json)))).toBeLessThan(members(json));
        } else {
          expect(canonical(json) !== null).toBe(accepted);
        }
      }),
      { numRuns: 20_000 },
    );
  });
});

function accepts(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** How many members the objects of a JSON text have: the colons outside its strings. */
function members(text: string): number {
  return text.replace(/"(?:[^"\\]|\\.)*"/g, "").split(":").length - 1;
}

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)]),
  );
}
