// Fingerprints: what tells two requests apart, and what does not (SPEC §5.6).

import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sameFingerprint } from "../../src/core/machine.js";
import {
  type FingerprintMode,
  type FingerprintRequest,
  fingerprintParsed,
  MAX_CANONICAL_BYTES,
  startFingerprint,
} from "../../src/http/fingerprint.js";
import { parseFieldPath } from "../../src/http/json-fields.js";

const encoder = new TextEncoder();
const REQUEST: FingerprintRequest = {
  method: "POST",
  target: "/v1/transfers?dry=0",
  contentType: "application/json; charset=utf-8",
};

function print(
  mode: FingerprintMode,
  body: string | Uint8Array,
  request: Partial<FingerprintRequest> = {},
  cut?: number,
): string {
  const digest = startFingerprint(mode, { ...REQUEST, ...request });
  if (digest === null) throw new Error("off");
  const bytes = typeof body === "string" ? encoder.encode(body) : body;
  const at = Math.min(cut ?? bytes.length, bytes.length);
  digest.update(bytes.subarray(0, at));
  digest.update(bytes.subarray(at));
  return digest.digest();
}

/** Whether two bodies count as the same request under a mode. */
function same(mode: FingerprintMode, a: string | Uint8Array, b: string | Uint8Array): boolean {
  return sameFingerprint(print(mode, a), print(mode, b));
}

describe("§5.6 exact", () => {
  test("it is a version tag and SHA-256 of parts with their lengths, which stored records rely on", () => {
    const sha = (text: string) => createHash("sha256").update(text).digest("hex");
    const head = "4:POST19:/v1/transfers?dry=0";
    expect(print("exact", "{ }")).toBe(`x1:${sha(`x${head}16:application/json{ }`)}`);
    expect(print("json", "{ }")).toBe(`j1:${sha(`j${head}16:application/json{}`)}`);
    expect(print("json", "{")).toBe(`j1:${sha(`x${head}16:application/json{`)}`);
    expect(fingerprintParsed(REQUEST, {})).toBe(`p1:${sha(`v${head}16:application/json{}`)}`);
    const list = sha('["a"]\n["b","0"]').slice(0, 8);
    expect(print(["a", "/b/0"], '{"b":[2.0]}')).toBe(`f1.${list}:${sha(`f${head}0:\n2`)}`);
    expect(fingerprintParsed(REQUEST, { b: [2] }, ["a", "/b/0"])).toBe(`p1.${list}:${sha(`f${head}0:\n2`)}`);
  });

  test("method, path, query, media type and every byte count", () => {
    const prints = [
      print("exact", "{}"),
      print("exact", "{ }"),
      print("exact", "{}\n"),
      print("exact", ""),
      print("exact", "{}", { method: "PUT" }),
      print("exact", "{}", { target: "/v1/transfers" }),
      print("exact", "{}", { target: "/v1/transfers?dry=1" }),
      print("exact", "{}", { target: "/v1/transfers/?dry=0" }),
      print("exact", "{}", { contentType: "text/plain" }),
      print("exact", "{}", { contentType: undefined }),
    ];
    expect(new Set(prints).size).toBe(prints.length);
  });

  test("the parameters and the case of the content type do not", () => {
    const expected = print("exact", "{}");
    for (const contentType of [
      "application/json",
      "Application/JSON",
      " application/json ;charset=x",
      "application/json;",
    ]) {
      expect(print("exact", "{}", { contentType })).toBe(expected);
    }
  });

  test("what moves from one part to the next is told apart", () => {
    const parts = fc.record({ method: fc.string(), target: fc.string(), contentType: fc.string(), body: fc.string() });
    fc.assert(
      fc.property(parts, fc.nat(), (request, at) => {
        const all = request.method + request.target;
        const cut = at % (all.length + 1);
        const moved = { ...request, method: all.slice(0, cut), target: all.slice(cut) };
        const a = print("exact", request.body, request);
        const b = print("exact", request.body, moved);
        expect(a === b).toBe(moved.method === request.method);
      }),
    );
    const a = print("exact", "xb", { contentType: "a" });
    expect(print("exact", "b", { contentType: "ax" })).not.toBe(a);
  });

  test("chunks do not matter, under any mode", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat({ max: 40 }), (body, cut) => {
        for (const mode of ["exact", "json", ["a"]] as const)
          expect(print(mode, body, {}, cut)).toBe(print(mode, body));
      }),
    );
    expect(print("json", '{"a":[1,2]}', {}, 5)).toBe(print("json", '{"a":[1,2]}'));
  });
});

describe("§5.6 json", () => {
  test.each([
    ['{"a":1,"b":[true]}', '{ "b" : [ true ] , "a" : 1.0 }', true],
    ['{"a":1}', '{"a":10e-1}', true],
    ['{"a":0}', '{"a":-0}', true],
    ['{"a":"é"}', String.raw`{"a":"\u00e9"}`, true],
    ['{"a":9007199254740993}', '{"a":9007199254740992}', false],
    ['{"a":1}', '{"a":"1"}', false],
    ['{"a":null}', "{}", false],
    ["[1,2]", "[2,1]", false],
  ])("%s and %s: the same is %s", (a, b, expected) => {
    expect(same("json", a, b)).toBe(expected);
  });

  test("also under a media type with the suffix +json, and the media type counts", () => {
    const vendor = { contentType: "application/vnd.bank.v2+json" };
    expect(print("json", '{"a":1}', vendor)).toBe(print("json", '{ "a": 1 }', vendor));
    expect(print("json", '{"a":1}', vendor)).not.toBe(print("json", '{"a":1}'));
  });

  test.each([
    ["not JSON by its bytes", '{"a":1', '{"a": 1'],
    ["members of one name", '{"a":1,"a":2}', '{"a":2,"a":2}'],
    ["too deep", `${"[".repeat(200)}${"]".repeat(200)}`, ` ${"[".repeat(200)}${"]".repeat(200)}`],
    ["empty", "", " "],
  ])("a body that is %s is compared by its exact bytes", (_what, a, b) => {
    expect(same("json", a, a)).toBe(true);
    expect(same("json", a, b)).toBe(false);
    // An attempt to pass as the duplicate of a JSON body is told apart too: the tag is the mode's.
    expect(same("json", a, '{"a":2}')).toBe(false);
    expect(same(["a"], a, '{"a":2}')).toBe(false);
  });

  test("another media type is compared by exact bytes, and never taken for the JSON request", () => {
    const text = { contentType: "text/plain" };
    expect(print("json", "[1]", text)).not.toBe(print("json", "[1.0]", text));
    expect(sameFingerprint(print("json", "[1]", text), print("json", "[1]"))).toBe(false);
  });

  test("a body is never taken for the canonical form of another", () => {
    const duplicates = '{"a":1,"a":2}';
    expect(same("json", duplicates, JSON.stringify(duplicates))).toBe(false);
  });

  test("beyond 1 MiB by exact bytes, up to it by the canonical form", () => {
    const fill = (bytes: number) => `"${"x".repeat(bytes - 2)}"`;
    expect(same("json", fill(MAX_CANONICAL_BYTES), fill(MAX_CANONICAL_BYTES))).toBe(true);
    expect(same("json", ` ${fill(MAX_CANONICAL_BYTES - 1)}`, fill(MAX_CANONICAL_BYTES - 1))).toBe(true);
    expect(same("json", ` ${fill(MAX_CANONICAL_BYTES)}`, fill(MAX_CANONICAL_BYTES))).toBe(false);
    const large = encoder.encode(` ${fill(3 * MAX_CANONICAL_BYTES)}`);
    expect(print("json", large, {}, 100)).toBe(print("json", large, {}, 2 * MAX_CANONICAL_BYTES));
  });
});

describe("§5.6 a list of fields", () => {
  test("only the fields count, and method, path and query", () => {
    const fields = ["amount", "to.iban"];
    const body = '{"amount":5,"to":{"iban":"DE1","name":"x"},"at":"10:00"}';
    expect(same(fields, body, '{"to":{"name":"y","iban":"DE1"},"amount":5.00,"at":"11:00"}')).toBe(true);
    expect(same(fields, body, '{"to":{"iban":"DE2"},"amount":5}')).toBe(false);
    expect(same(fields, body, '{"to":{"iban":"DE1"},"amount":6}')).toBe(false);
    expect(print(fields, body, { target: "/other" })).not.toBe(print(fields, body));
    expect(print(fields, body, { method: "PUT" })).not.toBe(print(fields, body));
    expect(print(fields, body, { contentType: "application/vnd.x+json" })).toBe(print(fields, body));
  });

  test("an absent field is not null, and a value does not slip from one field to another", () => {
    expect(same(["a"], "{}", '{"a":null}')).toBe(false);
    expect(same(["a", "b"], '{"a":1}', '{"b":1}')).toBe(false);
    expect(same(["a", "b"], String.raw`{"a":"1\n2"}`, '{"a":"1","b":2}')).toBe(false);
    expect(same(["a.b"], '{"a":1}', '{"a":2}')).toBe(true);
    expect(same([], '{"a":1}', '{"a":2}')).toBe(true);
  });

  test("the order, the spelling and repetitions of the list do not matter; another list is not comparable", () => {
    const body = '{"a":1,"b":[2]}';
    expect(print(["a", "b.0"], body)).toBe(print(["/b/0", "/a", "a"], body));
    expect(sameFingerprint(print(["a"], body), print(["b"], body))).toBe(true);
  });

  test("the same list object is compiled once and answers the same", () => {
    const fields = ["a"];
    expect(print(fields, '{"a":1}')).toBe(print(fields, '{"a":1}'));
    expect(print(fields, '{"a":1}')).toBe(print(["a"], '{"a":1}'));
  });

  test.each([
    ["a.b.0", ["a", "b", "0"]],
    ["/a/b/0", ["a", "b", "0"]],
    ["/a~1b/c~0d/~01", ["a/b", "c~d", "~1"]],
    ["/", [""]],
    ["/a.b", ["a.b"]],
    ["a~b", ["a~b"]],
    ["", null],
    ["a..b", null],
    [".a", null],
    ["/a~2", null],
    ["/a~", null],
  ])("the field %j is the path %j", (field, path) => {
    expect(parseFieldPath(field)).toEqual(path);
  });

  test("array indexes are those of RFC 6901, and inherited names are absent", () => {
    expect(same(["a.0"], '{"a":[1,2]}', '{"a":[1,3]}')).toBe(true);
    expect(same(["a.1"], '{"a":[1,2]}', '{"a":[1,3]}')).toBe(false);
    expect(same(["a.01"], '{"a":[1,2]}', '{"a":[1,3]}')).toBe(true);
    expect(same(["a.length"], '{"a":[1,2]}', '{"a":[1]}')).toBe(true);
    expect(fingerprintParsed(REQUEST, { a: [1, 2] }, ["a.length", "toString"])).toBe(
      fingerprintParsed(REQUEST, {}, ["a.length", "toString"]),
    );
  });

  test("a malformed field is refused with config_invalid", () => {
    expect(() => startFingerprint(["a..b"], REQUEST)).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });
});

describe("§5.6 parsed bodies", () => {
  test("their canonical form counts, under a tag of its own", () => {
    const parsed = (value: unknown) => fingerprintParsed(REQUEST, value);
    expect(parsed({ a: 1, b: [2, "é"] })).toBe(parsed({ b: [2, "é"], a: 1 }));
    expect(parsed({ a: -0 })).toBe(parsed({ a: 0 }));
    expect(parsed({ a: undefined })).toBe(parsed({}));
    expect(parsed({ a: 1 })).not.toBe(parsed({ a: "1" }));
    expect(parsed({ a: 1 })).toMatch(/^p1:[0-9a-f]{64}$/);
    expect(sameFingerprint(parsed({ a: 1 }), print("json", '{"a":2}'))).toBe(true);
    expect(fingerprintParsed(REQUEST, { a: 1, b: 2 }, ["a"])).toBe(fingerprintParsed(REQUEST, { a: 1, b: 3 }, ["a"]));
  });

  test("what JSON has no word for is told apart, and nothing makes it throw", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    let deep: unknown = 1;
    for (let level = 0; level < 10_000; level += 1) deep = [deep];
    const values = [
      undefined,
      null,
      "",
      "null",
      0,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      12345678901234567890n,
      Uint8Array.of(1, 2),
      Uint8Array.of(1, 3),
      new Date(0),
      cycle,
      deep,
      {},
      [],
      [undefined, 1],
      Object.assign(Object.create(null), { a: "b" }),
    ];
    const prints = values.map((value) => fingerprintParsed(REQUEST, value));
    expect(new Set(prints).size).toBe(values.length);
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withDate: true }), (value) => void fingerprintParsed(REQUEST, value)),
    );
  });
});

describe("§5.6 comparison", () => {
  test("off has no fingerprint", () => {
    expect(startFingerprint("off", REQUEST)).toBeNull();
  });
});
