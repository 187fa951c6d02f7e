import { fakeClock } from "onceward/testing";
import { expect, test } from "vitest";
import { verifiedTokens } from "../../src/accounts/verified-tokens.js";

test("9.3 the cache of verified tokens is bounded, and keeps what is used", () => {
  const clock = fakeClock();
  const cache = verifiedTokens(clock);
  const reading = { kind: "account", account: "a" } as const;
  const expiresAt = clock.now() + 50_000;
  cache.put("used", reading, expiresAt);
  const total = 40_000;
  for (let index = 0; index < total; index += 1) {
    cache.put(`${index}`, reading, expiresAt);
    if (index % 1_000 === 0) expect(cache.get("used")).toBe(reading);
  }
  let held = 0;
  for (let index = total - 1; index >= total - 5_000; index -= 1) held += cache.get(`${index}`) === undefined ? 0 : 1;
  expect(held).toBeGreaterThan(0);
  expect(cache.get("0")).toBeUndefined();
  expect(cache.get("20000")).toBeUndefined();
});
