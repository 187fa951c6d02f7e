// Per-request expiration: the header that says until when a key is kept (SPEC §8.1).

/** How far from now an expiration may lie. */
export interface ExpirationBounds {
  readonly minMs: number;
  readonly maxMs: number;
}

/** What a header says: an instant in epoch milliseconds, or a sentence on why it is refused, which echoes nothing. */
export type ExpirationReading =
  | { readonly ok: true; readonly untilMs: number }
  | { readonly ok: false; readonly reason: string };

/** Clients' clocks differ from ours, and requests take time to arrive. */
const TOLERANCE_MS = 300_000;

// Every repetition is bounded, so that matching is linear.
const ISO_8601 = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)$/;

/**
 * The instant of an expiration header in epoch milliseconds, or null where it is none: epoch milliseconds (13 digits),
 * epoch seconds (10 digits), or a date and time of ISO 8601 with a zone, without which it would be a guess.
 */
export function readExpiration(value: string): number | null {
  if (/^\d{13}$/.test(value)) return Number(value);
  if (/^\d{10}$/.test(value)) return Number(value) * 1_000;
  const match = ISO_8601.exec(value);
  if (match === null) return null;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((text) => Number(text ?? 0));
  const local = Date.UTC(year, month - 1, day, hour, minute, second);
  const date = new Date(local);
  // Date.UTC carries 30 February and 25 o'clock over to another day.
  if (date.getUTCFullYear() !== year || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  if (date.getUTCHours() !== hour || date.getUTCMinutes() !== minute || date.getUTCSeconds() !== second) return null;
  const fraction = Number((match[7] ?? "").slice(0, 3).padEnd(3, "0"));
  const offset = offsetMinutes(match[8], match[9], match[10]);
  return offset === null ? null : local + fraction - offset * 60_000;
}

function offsetMinutes(sign: string | undefined, hours = "0", minutes = "0"): number | null {
  if (Number(hours) > 23 || Number(minutes) > 59) return null;
  return (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -1 : 1);
}

/** Reads an expiration and checks that it lies between the bounds from `nowMs`, with five minutes' tolerance. */
export function checkExpiration(value: string, nowMs: number, bounds: ExpirationBounds): ExpirationReading {
  const untilMs = readExpiration(value);
  if (untilMs === null) {
    return refused(
      "is not readable; send epoch milliseconds (13 digits), epoch seconds (10 digits) or ISO 8601 with a zone",
    );
  }
  if (untilMs < nowMs + bounds.minMs - TOLERANCE_MS) return refused(`must be at least ${span(bounds.minMs)} from now`);
  if (untilMs > nowMs + bounds.maxMs + TOLERANCE_MS) return refused(`must be at most ${span(bounds.maxMs)} from now`);
  return { ok: true, untilMs };
}

function refused(what: string): ExpirationReading {
  return { ok: false, reason: `The expiration ${what}.` };
}

/** A duration in the largest unit that it is a whole number of. */
function span(ms: number): string {
  for (const [unit, length] of [
    ["days", 86_400_000],
    ["hours", 3_600_000],
    ["minutes", 60_000],
  ] as const) {
    if (ms >= length && ms % length === 0) return ms === 86_400_000 ? "24 hours" : `${ms / length} ${unit}`;
  }
  return `${ms / 1_000} seconds`;
}
