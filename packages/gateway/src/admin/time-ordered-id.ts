// Ids that sort by time (UUIDv7, RFC 9562 §5.7).

import { randomBytes } from "node:crypto";

/** An id of the instant `at` (epoch milliseconds); ids of one millisecond are in no particular order. */
export function timeOrderedId(at: number): string {
  const random = randomBytes(10);
  random[0] = ((random[0] ?? 0) & 0x0f) | 0x70;
  random[2] = ((random[2] ?? 0) & 0x3f) | 0x80;
  const hex = at.toString(16).padStart(12, "0") + random.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
