// Fences and run ids: their form, their order, and that none comes twice.

import { describe, expect, test } from "vitest";
import { newFence, newTimeId } from "../../src/core/ids.js";

describe("SPEC §4.2 fences", () => {
  test("are 32 hexadecimal digits, and none comes twice", () => {
    const fences = Array.from({ length: 20_000 }, newFence);
    expect(new Set(fences).size).toBe(fences.length);
    for (const fence of fences) expect(fence).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe("SPEC §11 run ids (UUIDv7, RFC 9562 §5.7)", () => {
  test("have version 7, variant 10, and the milliseconds in front", () => {
    const at = Date.now() + 60_000;
    const id = newTimeId(at);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(at);
  });

  test("keep rising: within a millisecond, beyond its counter, and where the clock steps back", () => {
    const at = Date.now() + 120_000;
    const ids = [
      ...Array.from({ length: 10_000 }, () => newTimeId(at)),
      ...Array.from({ length: 100 }, () => newTimeId(at - 3_600_000)),
      newTimeId(at + 1_000),
    ];
    for (let index = 1; index < ids.length; index++) expect((ids[index - 1] ?? "") < (ids[index] ?? "")).toBe(true);
  });
});
