// The plain answers of `transaction`, made responses (SPEC §7.1).

import { expect, test } from "vitest";
import { type AnswerInit, answerOf } from "../../src/http/answer-init.js";

const text = ({ body }: { readonly body: Uint8Array }): string => new TextDecoder().decode(body);

test.each<readonly [string, AnswerInit, number, readonly (readonly [string, string])[], string]>([
  ["nothing", {}, 200, [], ""],
  ["a status", { status: 204 }, 204, [], ""],
  ["no body in so many words", { body: null }, 200, [], ""],
  ["an object", { body: { a: 1 } }, 200, [["Content-Type", "application/json"]], '{"a":1}'],
  ["a list", { body: [] }, 200, [["Content-Type", "application/json"]], "[]"],
  ["zero", { body: 0 }, 200, [["Content-Type", "application/json"]], "0"],
  ["false", { body: false }, 200, [["Content-Type", "application/json"]], "false"],
  ["a text", { body: "日本" }, 200, [["Content-Type", "text/plain; charset=utf-8"]], "日本"],
  ["an empty text", { body: "" }, 200, [["Content-Type", "text/plain; charset=utf-8"]], ""],
  ["bytes", { body: new Uint8Array([97]) }, 200, [["Content-Type", "application/octet-stream"]], "a"],
  ["a buffer of them", { body: new Uint8Array([97]).buffer }, 200, [["Content-Type", "application/octet-stream"]], "a"],
  [
    "a type of its own",
    { headers: { "content-type": "text/csv" }, body: "a" },
    200,
    [["content-type", "text/csv"]],
    "a",
  ],
  [
    "repeated fields",
    { headers: { Link: ["a", "b"], "X-One": "1" } },
    200,
    [
      ["Link", "a"],
      ["Link", "b"],
      ["X-One", "1"],
    ],
    "",
  ],
  [
    "fields in order",
    {
      headers: [
        ["B", "1"],
        ["A", "2"],
        ["B", "3"],
      ],
    },
    200,
    [
      ["B", "1"],
      ["A", "2"],
      ["B", "3"],
    ],
    "",
  ],
])("an answer of %s", (_what, init, status, headers, body) => {
  const response = answerOf(init);
  expect([response.status, response.headers, text(response)]).toEqual([status, headers, body]);
});

test("what is recorded does not change with the handler's buffer", () => {
  const bytes = new TextEncoder().encode("as it was");
  const response = answerOf({ body: bytes });
  bytes.fill(0);
  expect(text(response)).toBe("as it was");
});

test.each<readonly [string, unknown]>([
  ["nothing at all", undefined],
  ["a number for a field", { headers: { "X-A": 1 } }],
  ["a status of 99", { status: 99 }],
  ["a status that is a text", { status: "200" }],
  ["a status of 600", { status: 600 }],
  ["a line break in a field", { headers: { "X-A": "a\r\nSet-Cookie: b" } }],
  ["a character that is no byte", { headers: { "X-A": "日" } }],
  ["a name with a space", { headers: { "X A": "a" } }],
  ["a field that is a number", { headers: [["X-A", 1]] }],
  ["a body that JSON cannot express", { body: () => {} }],
])("%s is none that HTTP can carry", (_what, init) => {
  expect(() => answerOf(init as AnswerInit)).toThrow(TypeError);
});
