// What the suites say of answers: a replay, a first answer, a refusal of Onceward's own.

import { expect } from "vitest";
import type { Header, Received } from "./client.js";

/** Fields that speak of the moment or of the connection, not of the answer. */
const OF_THE_MOMENT: ReadonlySet<string> = new Set(["date", "connection", "keep-alive"]);

/** The fields of an answer but for those named, in order and in their own spelling. */
function fieldsOf(answer: Received, without: readonly string[] = []): Header[] {
  const left = new Set([...OF_THE_MOMENT, ...without.map((name) => name.toLowerCase())]);
  return answer.headers.filter(([name]) => !left.has(name.toLowerCase()));
}

/** The bytes on the wire, with the moment of sending blanked where the server says it. */
export function wireOf(answer: Received): string {
  return answer.wire.toString("latin1").replace(/^Date: .*$/m, "Date:");
}

/** The same status, fields and bytes, but for a marker (SPEC P2, §5.1 to §5.3). */
export function expectReplay(replay: Received, first: Received, marker: string | null): void {
  expect(replay.status).toBe(first.status);
  expect(replay.body).toEqual(first.body);
  expect(first.header("Idempotent-Replayed"), "the first answer is not marked").toBeUndefined();
  if (marker === null) {
    expect(wireOf(replay), "nothing on the wire tells them apart").toBe(wireOf(first));
  } else {
    expect(replay.header(marker)).toBe("true");
    expect(fieldsOf(replay, [marker])).toEqual(fieldsOf(first, [marker]));
  }
}

/** A refusal that Onceward makes itself (SPEC §6). */
export function expectProblem(answer: Received, status: number, code: string): void {
  expect(answer.status).toBe(status);
  expect(answer.header("Content-Type")).toBe("application/problem+json");
  expect(answer.header("Cache-Control")).toBe("no-store");
  expect(answer.header("Link")).toMatch(/^<[^>]+>; rel="describedby"$/);
  const body = answer.json();
  expect(body).toMatchObject({ status, code });
  for (const field of ["type", "title", "detail"]) expect(body[field]).toMatch(/\S/);
}
