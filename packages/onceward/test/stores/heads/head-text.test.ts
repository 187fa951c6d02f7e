// Heads come back from their text as they went in, and what is no head is told from one.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { StoredRecord } from "../../../src/core/record.js";
import type { Head } from "../../../src/stores/heads/head.js";
import { decodeHead, encodeHead } from "../../../src/stores/heads/head-text.js";

const ID = "cd".repeat(32);
const label = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("", "\0", "\ud800", 'a"b\\', "é\n\r", "null"));
const instant = fc.nat({ max: 2 ** 50 });

const heads: fc.Arbitrary<Head> = fc.record({
  record: fc.record<StoredRecord>({
    id: fc.constant(ID),
    state: fc.constantFrom("running", "done", "unknown"),
    fence: label,
    fingerprint: fc.option(label),
    createdAt: instant,
    expiresAt: instant,
    leaseUntil: instant,
    endedAt: fc.option(instant),
    status: fc.option(fc.integer({ min: 100, max: 999 })),
    payload: fc.constant(null),
    account: label,
    key: label,
    operation: label,
    runId: label,
  }),
  content: fc.record({
    spilled: fc.array(fc.record({ fence: label, digest: label, bytes: fc.nat(), chunks: fc.nat() }), { maxLength: 2 }),
    inline: fc.uint8Array({ maxLength: 10 }),
  }),
  order: fc.option(fc.nat()),
});

test("K5 a head comes back exactly, from a line of ASCII without control characters", () => {
  fc.assert(
    fc.property(heads, (head) => {
      const text = encodeHead(head);
      expect(text).toMatch(/^[\x20-\x7e]*$/);
      expect(decodeHead(ID, text, head.content.inline)).toEqual(head);
    }),
  );
});

test("what is no head is store_corrupt, what a newer version wrote is store_schema_newer", () => {
  for (const text of ["", "null", "{", "[]", "{}", '{"v":1}', '{"v":"1"}', '{"v":1,"state":"gone"}']) {
    expect(() => decodeHead(ID, text, new Uint8Array())).toThrow(expect.objectContaining({ code: "store_corrupt" }));
  }
  const newer = expect.objectContaining({ code: "store_schema_newer", message: expect.stringContaining("upgrade") });
  expect(() => decodeHead(ID, '{"v":2,"anything":"else"}', new Uint8Array())).toThrow(newer);
});
