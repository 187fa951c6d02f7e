// Onceward's own answers: the table of SPEC §6, in both formats.

import { describe, expect, test } from "vitest";
import type { RequestErrorCode } from "../../src/core/errors.js";
import { headerValue } from "../../src/http/message.js";
import { isRequestErrorCode, type Problem, problem, problemResponse } from "../../src/http/problem.js";

const decoder = new TextDecoder();

function body(problem: Problem, format: "problem" | "stripe" = "problem"): Record<string, unknown> {
  return JSON.parse(decoder.decode(problemResponse(problem, format).body)) as Record<string, unknown>;
}

const TABLE: [RequestErrorCode, number, boolean, string][] = [
  ["key_missing", 400, false, "invalid_request_error"],
  ["key_invalid", 400, false, "invalid_request_error"],
  ["account_unknown", 400, false, "invalid_request_error"],
  ["expiration_invalid", 400, false, "invalid_request_error"],
  ["in_progress", 409, true, "idempotency_error"],
  ["duplicate", 409, false, "idempotency_error"],
  ["response_not_kept", 409, false, "idempotency_error"],
  ["key_reused", 422, false, "idempotency_error"],
  ["too_many_keys", 429, true, "invalid_request_error"],
  ["outcome_unknown", 500, false, "api_error"],
  ["store_unavailable", 503, true, "api_error"],
  ["upstream_unavailable", 503, true, "api_error"],
  ["request_too_large", 413, false, "invalid_request_error"],
  ["request_invalid", 400, false, "invalid_request_error"],
];

describe("§6 the table of answers", () => {
  test.each(TABLE)("%s is %d by default (Retry-After: %s)", (code, status, retries) => {
    const response = problemResponse(problem(code), "problem", "/.well-known/idempotency");
    expect(response.status).toBe(status);
    expect(headerValue(response.headers, "content-type")).toBe("application/problem+json");
    expect(headerValue(response.headers, "cache-control")).toBe("no-store");
    expect(headerValue(response.headers, "link")).toBe('</.well-known/idempotency>; rel="describedby"');
    expect(headerValue(response.headers, "retry-after")).toBe(retries ? "1" : undefined);
    expect(JSON.parse(decoder.decode(response.body))).toEqual({
      type: `urn:onceward:problem:${code}`,
      title: expect.stringMatching(/^[A-Z]/),
      status,
      detail: expect.stringMatching(/\.$/),
      code,
    });
  });

  test.each(TABLE)("stripe: %s", (code, status, retries, type) => {
    const response = problemResponse(problem(code), "stripe");
    expect(response.status).toBe(code === "key_reused" ? 400 : status);
    expect(headerValue(response.headers, "content-type")).toBe("application/json");
    expect(headerValue(response.headers, "cache-control")).toBe("no-store");
    expect(headerValue(response.headers, "link")).toBeUndefined();
    expect(headerValue(response.headers, "retry-after")).toBe(retries ? "1" : undefined);
    expect(JSON.parse(decoder.decode(response.body))).toEqual({
      error: { type, code, message: expect.stringMatching(/\.$/) },
    });
  });

  test.each([
    [502, "outcome_unknown"],
    [504, "outcome_unknown"],
    [503, "outcome_unknown"],
    [502, "upstream_unavailable"],
    [504, "upstream_unavailable"],
  ] as const)("%d %s by an override; the status inside is the one outside", (status, code) => {
    const made = problem(code, { status });
    expect(problemResponse(made, "problem").status).toBe(status);
    expect(body(made)).toMatchObject({ status, code });
  });

  test.each([
    [0, "1"],
    [1, "1"],
    [1_000, "1"],
    [1_001, "2"],
    [90_000, "90"],
  ])("Retry-After of %d ms is %s", (retryAfterMs, expected) => {
    const response = problemResponse(problem("in_progress", { retryAfterMs }), "problem");
    expect(headerValue(response.headers, "retry-after")).toBe(expected);
  });

  test("the codes of requests are told from those of faults", () => {
    for (const [code] of TABLE) expect(isRequestErrorCode(code)).toBe(true);
    expect(isRequestErrorCode("store_corrupt")).toBe(false);
    expect(isRequestErrorCode("config_invalid")).toBe(false);
  });

  test("response_not_kept says the original status", () => {
    const made = problem("response_not_kept", { originalStatus: 201 });
    expect(body(made)).toMatchObject({ status: 409, originalStatus: 201 });
    expect(body(made, "stripe")).toMatchObject({ error: { original_status: 201 } });
  });

  test("a token that failed verification is challenged, and further fields are sent", () => {
    const made = problem("account_unknown", {
      status: 401,
      wwwAuthenticate: 'Bearer error="invalid_token"',
      headers: [["Access-Control-Allow-Origin", "*"]],
    });
    const { status, headers } = problemResponse(made, "problem");
    expect(status).toBe(401);
    expect(headerValue(headers, "www-authenticate")).toBe('Bearer error="invalid_token"');
    expect(headerValue(headers, "access-control-allow-origin")).toBe("*");
  });
});
