// Per-request expirations: the three spellings and the bounds (SPEC §8.1).

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkExpiration, readExpiration } from "../../src/http/expiration.js";

const NOW = Date.UTC(2025, 5, 1, 12);
const HOUR = 3_600_000;
const FYNO = { minMs: 24 * HOUR, maxMs: 365 * 24 * HOUR };

describe("§8.1 spellings", () => {
  test.each([
    ["1748779200000", 1_748_779_200_000],
    ["1748779200", 1_748_779_200_000],
    ["2025-06-01T12:00:00Z", NOW],
    ["2025-06-01T12:00Z", NOW],
    ["2025-06-01T12:00:00.5Z", NOW + 500],
    ["2025-06-01T12:00:00,123456789Z", NOW + 123],
    ["2025-06-01T14:00:00+02:00", NOW],
    ["2025-06-01T14:00:00+0200", NOW],
    ["2025-06-01T14:00:00+02", NOW],
    ["2025-06-01T06:30:00-05:30", NOW],
    ["2025-06-01T12:00:00-00:00", NOW],
    ["2024-02-29T00:00:00Z", Date.UTC(2024, 1, 29)],
  ])("%s is read", (value, instant) => {
    expect(readExpiration(value)).toBe(instant);
  });

  test.each([
    "",
    " 1748779200",
    "174877920",
    "17487792000",
    "174877920000",
    "17487792000000",
    "-1748779200",
    "1748779200.0",
    "1e12",
    "0x12345678",
    "2025-06-01",
    "2025-06-01T12:00:00",
    "2025-06-01 12:00:00Z",
    "2025-02-29T00:00:00Z",
    "2025-04-31T00:00:00Z",
    "2025-13-01T00:00:00Z",
    "2025-00-01T00:00:00Z",
    "2025-06-00T00:00:00Z",
    "2025-06-01T24:00:00Z",
    "2025-06-01T12:60:00Z",
    "2025-06-01T12:00:60Z",
    "2025-06-01T12:00:00+24:00",
    "2025-06-01T12:00:00+02:60",
    "2025-06-01T12:00:00.Z",
    "2025-06-01T12:00:00z",
    "20250601T120000Z",
    "0050-06-01T12:00:00Z",
    "tomorrow",
    "Sun, 01 Jun 2025 12:00:00 GMT",
    "\u0661\u0667\u0664\u0668\u0667\u0667\u0669\u0662\u0660\u0660",
  ])("%j is not", (value) => {
    expect(readExpiration(value)).toBeNull();
  });

  test("every instant round-trips through toISOString", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("1000-01-01"), max: new Date("9999-12-31"), noInvalidDate: true }),
        (date) => {
          expect(readExpiration(date.toISOString())).toBe(date.getTime());
        },
      ),
    );
  });

  test("no string makes it throw", () => {
    fc.assert(fc.property(fc.string(), (value) => void checkExpiration(value, NOW, FYNO)));
  });
});

describe("§8.1 bounds, with five minutes' tolerance", () => {
  const at = (ms: number) => checkExpiration(String(NOW + ms), NOW, FYNO);

  test.each([
    [24 * HOUR, true],
    [24 * HOUR - 300_000, true],
    [24 * HOUR - 300_001, false],
    [365 * 24 * HOUR, true],
    [365 * 24 * HOUR + 300_000, true],
    [365 * 24 * HOUR + 300_001, false],
    [-HOUR, false],
    [0, false],
  ])("%d ms from now: %s", (ms, ok) => {
    expect(at(ms).ok).toBe(ok);
  });

  test("the answer is the instant, or a sentence that says the bound", () => {
    expect(at(48 * HOUR)).toEqual({ ok: true, untilMs: NOW + 48 * HOUR });
    expect(at(HOUR)).toEqual({ ok: false, reason: "The expiration must be at least 24 hours from now." });
    expect(at(400 * 24 * HOUR)).toEqual({ ok: false, reason: "The expiration must be at most 365 days from now." });
    expect(checkExpiration(String(NOW), NOW, { minMs: 301_500, maxMs: 400_000 })).toEqual({
      ok: false,
      reason: "The expiration must be at least 301.5 seconds from now.",
    });
    expect(checkExpiration("soon", NOW, FYNO)).toMatchObject({ reason: expect.stringContaining("ISO 8601") });
  });
});
