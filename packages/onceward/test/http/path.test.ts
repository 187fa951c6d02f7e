// Paths: one spelling for each, no ambiguous ones, and patterns that no spelling escapes (SPEC §5.8).

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileRoutePattern, normalisePath, parseRouteMatch } from "../../src/http/path.js";

/** The normal form of a path, or null where it is refused. */
function normal(target: string): string | null {
  const reading = normalisePath(target);
  return reading.ok ? reading.path : null;
}

describe("§5.8 the normal form", () => {
  test.each([
    ["/", "/"],
    ["/v1/transfers", "/v1/transfers"],
    ["/v1/transfers/", "/v1/transfers/"],
    ["/v1//transfers", "/v1/transfers"],
    ["//v1///transfers//", "/v1/transfers/"],
    ["/v1/./transfers", "/v1/transfers"],
    ["/v1/x/../transfers", "/v1/transfers"],
    ["/v1/x/%2e%2E/transfers", "/v1/transfers"],
    ["/v1/x/.%2e/transfers", "/v1/transfers"],
    ["/v1/%2e/transfers", "/v1/transfers"],
    ["/v1/transfers/.", "/v1/transfers/"],
    ["/v1/transfers/..", "/v1/"],
    ["/..", "/"],
    ["/../../v1", "/v1"],
    ["/...", "/..."],
    ["/.well-known/idempotency", "/.well-known/idempotency"],
    ["/v1/%74ransfers", "/v1/transfers"],
    ["/v1/%54%2d%5F%7e%30", "/v1/T-_~0"],
    ["/v1/a%3ab", "/v1/a%3Ab"],
    ["/v1/a%20b", "/v1/a%20b"],
    ["/v1/caf%c3%a9", "/v1/caf%C3%A9"],
    ["/v1/caf\u00c3\u00a9", "/v1/caf%C3%A9"],
    ["/v1/%25", "/v1/%25"],
    ["/v1/%252F", "/v1/%252F"],
    ["/v1/a;b=c/d", "/v1/a;b=c/d"],
    ["/v1/a:b@c,d$e&f=g+h!", "/v1/a:b@c,d$e&f=g+h!"],
    ["http://api.example/v1/x", "/v1/x"],
    ["HTTPS://api.example:8443/v1/%78", "/v1/x"],
    ["http://api.example", "/"],
    ["http://[::1]:80/v1", "/v1"],
    ["*", "*"],
  ])("%s is %s", (target, path) => {
    expect(normalisePath(target)).toEqual({ ok: true, path, query: "" });
  });

  test.each([
    ["/a?b=c", "/a", "b=c"],
    ["/a?", "/a", ""],
    ["/a?b?c", "/a", "b?c"],
    ["/a?../%2F//%zz\\", "/a", "../%2F//%zz\\"],
    ["/%61?%61", "/a", "%61"],
    ["http://api.example?a", "/", "a"],
  ])("the query of %s stays as received", (target, path, query) => {
    expect(normalisePath(target)).toEqual({ ok: true, path, query });
  });

  test.each([
    "",
    "v1/transfers",
    "?a",
    "api.example:443",
    "ftp://api.example/x",
    "http:///x",
    "http://",
    "http://user@api.example/x",
    "http://api.example\\x",
    "http://api.example#x",
    "javascript:alert(1)",
    "/v1%2Ftransfers",
    "/v1%2ftransfers",
    "/v1%5Ctransfers",
    "/v1\\transfers",
    "/v1/x\\..\\transfers",
    "/v1/%00",
    "/v1/%0a",
    "/v1/%7f",
    "/v1/\u0000",
    "/v1/a b",
    "/v1/a\tb",
    "/v1/transfers#x",
    "/v1/transfers?a#x",
    "/v1/transfers?a b",
    "/v1/%",
    "/v1/%2",
    "/v1/%zz",
    "/v1/%+1",
    "/v1/%C0%AF",
    "/v1/%c0%ae%c0%ae/x",
    "/v1/%E0%80%AF",
    "/v1/%ED%A0%80",
    "/v1/%F4%90%80%80",
    "/v1/%FF",
    "/v1/%C3",
    "/v1/%C3/%A9",
    "/v1/\u00ff",
    "/v1/\u4e2d",
    "/v1/x/..;/transfers",
    "/v1/x/..;a=b/transfers",
    "/v1/.;/transfers",
    "/v1/x/%2e%2e;/transfers",
    "/v1/x/..%3b/transfers",
    "/v1/x//../transfers",
    "/v1/x//./../transfers",
    "/v1//y/../../transfers",
    "//../v1",
  ])("%j is ambiguous", (target) => {
    expect(normalisePath(target)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/^The request's path .*\.$/),
    });
  });
});

describe("§5.8 properties", () => {
  const piece = fc.constantFrom(
    "/",
    "//",
    "a",
    ".",
    "..",
    "%2e",
    "%2E",
    "%61",
    "%41",
    "%c3%a9",
    "%3b",
    ";",
    "%20",
    "~",
    "é",
    "?",
    ":",
  );
  const target = fc.array(piece, { maxLength: 10 }).map((pieces) => `/${pieces.join("")}`);

  test("the normal form is its own, and holds no dot segment or empty segment", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          target,
          fc.string().map((text) => `/${text}`),
        ),
        (text) => {
          const path = normal(text);
          if (path === null) return;
          expect(normal(path)).toBe(path);
          expect(path).toMatch(/^\//);
          expect(path).not.toMatch(/\/\/|\/\.\.?(?:\/|$)/);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test("it leads where the URL standard leads, but for repeated slashes", () => {
    fc.assert(
      fc.property(target, (text) => {
        const path = normal(text);
        if (path === null) return;
        const url = new URL(`http://host${text.startsWith("//") ? `/${text.replace(/^\/+/, "")}` : text}`);
        const decoded = (escaped: string) => decodeURIComponent(escaped).replace(/\/+/g, "/");
        expect(decoded(path)).toBe(decoded(url.pathname));
      }),
      { numRuns: 5_000 },
    );
  });

  test("no target makes it throw", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => void normalisePath(text)));
  });
});

describe("§14.2 route matches", () => {
  test.each([
    ["POST /v1/transfers", ["POST"], "/v1/transfers"],
    ["POST,PUT /x", ["POST", "PUT"], "/x"],
    ["post, PATCH ,POST  /x", ["POST", "PATCH"], "/x"],
    ["/v1/reports/**", null, "/v1/reports/**"],
    [" /x ", null, "/x"],
    ["/", null, "/"],
  ])("%j", (match, methods, pattern) => {
    expect(parseRouteMatch(match)).toEqual({ methods, pattern });
  });

  test.each([
    ["", "no path"],
    ["POST", "no path"],
    ["* /x", "no method"],
    ["POST, /x", "no method"],
    ["POST PUT /x", "no method"],
    ["POST /x?a", "query"],
    ["POST /a b", "space"],
    ["/a//b", "two slashes"],
    ["/a/../b", "dot segment"],
    ["/a/%zz", "percent"],
    ["/a/:", "colon"],
    ["/**/a", "end"],
    ["/a*", "part of a segment"],
    ["/a/***", "part of a segment"],
  ])("%j is refused: %s", (match, error) => {
    expect(parseRouteMatch(match)).toEqual({ error: expect.stringContaining(error) });
  });

  test("a malformed pattern is config_invalid", () => {
    expect(() => compileRoutePattern("v1")).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });
});

describe("§5.8 route patterns", () => {
  test.each([
    ["/v1/transfers", ["/v1/transfers", "/v1/transfers/"], ["/v1", "/v1/transfers/1", "/v1/Transfers", "/v1/transfer"]],
    ["/v1/transfers/", ["/v1/transfers", "/v1/transfers/"], ["/v1/transfers/1"]],
    ["/v1/:workspace/event", ["/v1/w/event", "/v1/a%20b/event/"], ["/v1/event", "/v1/a/b/event"]],
    ["/v1/*/event", ["/v1/w/event"], ["/v1/event", "/v1/a/b/event"]],
    ["/v1/reports/**", ["/v1/reports", "/v1/reports/", "/v1/reports/a/b"], ["/v1/reportsx", "/v1"]],
    ["/**", ["/", "/a", "/a/b/"], ["*"]],
    ["/", ["/"], ["/a", "*"]],
    ["/*", ["/a", "/a/"], ["/", "/a/b"]],
    ["/v1/x:search", ["/v1/x:search", "/v1/x%3Asearch"], ["/v1/xsearch", "/v1/x"]],
    ["/v1/%3Aid", ["/v1/:id", "/v1/%3Aid"], ["/v1/1"]],
    ["/v1/café", ["/v1/caf%C3%A9"], ["/v1/cafe"]],
    [
      "/v1/transfers",
      ["/v1/transfers;a=b", "/v1;x/transfers", "/;/v1/transfers", "/v1/;a=b/;/transfers"],
      ["/v1/transfers%3Ba"],
    ],
    ["/v1/a;b", ["/v1/a;b", "/v1/a%3Bb"], ["/v1/a"]],
  ])("%s", (pattern, covered, others) => {
    const covers = compileRoutePattern(pattern);
    for (const path of covered) expect([path, covers(path)]).toEqual([path, true]);
    for (const path of others) expect([path, covers(path)]).toEqual([path, false]);
  });

  test("whatever is done to the spelling of a covered path, it stays covered or is refused", () => {
    const covers = compileRoutePattern("/v1/:workspace/event");
    const segment = (text: string) =>
      fc
        .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
        .map((flags) =>
          [...text]
            .map((character, at) => (flags[at] ? `%${character.charCodeAt(0).toString(16)}` : character))
            .join(""),
        );
    const slash = fc.constantFrom("/", "//", "/./", "/x/../", "/%2e/", "/x/%2E./");
    const spelling = fc.tuple(
      slash,
      segment("v1"),
      slash,
      segment("acme"),
      slash,
      segment("event"),
      fc.constantFrom("", "/", ";a"),
    );
    fc.assert(
      fc.property(spelling, (parts) => {
        const path = normal(parts.join(""));
        if (path !== null) expect(covers(path)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
