// Durations and sizes as people write them: "24h", "30s", "1MiB".

const MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const BYTES = {
  B: 1,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
} as const;

/** A duration: a number of milliseconds, or a number with a unit: `ms`, `s`, `m`, `h`, `d`. */
export type Duration = number | string;

/** A size: a number of bytes, or a number with a unit: `B`, `KB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`. */
export type Size = number | string;

/** Milliseconds of a duration, or null where it is none. */
export function parseDuration(value: unknown): number | null {
  return parseQuantity(value, /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/, MS);
}

/** Bytes of a size, or null where it is none. */
export function parseSize(value: unknown): number | null {
  return parseQuantity(value, /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)$/, BYTES);
}

function parseQuantity(value: unknown, pattern: RegExp, units: Readonly<Record<string, number>>): number | null {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? value : null;
  if (typeof value !== "string") return null;
  const match = pattern.exec(value.trim());
  const unit = units[match?.[2] ?? ""];
  if (match === null || unit === undefined) return null;
  const quantity = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(quantity) ? quantity : null;
}
