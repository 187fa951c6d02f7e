// What must not be read in logs: credentials are left out, idempotency keys shortened (SPEC §9.2).

const REDACTED = "[redacted]";
const CREDENTIAL =
  /^(?:proxy-?authori[sz]ation|authori[sz]ation|cookie|set-?cookie2?|x-?api-?key|api-?key|pass(?:word|wd|phrase)?|secret|(?:account|admin|encryption|private|signing)-?(?:key|token|secret)|(?:access|refresh|id|bearer)?-?token|credentials?)$/i;
const KEY = /^(?:x-?)?idempotency-?key$|^key$/i;
/** Deeper than this nothing of ours is logged. */
const MAX_DEPTH = 6;

/** How much of a key tells two of them apart for a reader, and is of no use to a replay. */
export function shortKey(key: string): string {
  const shown = Math.min(8, Math.floor(key.length / 3));
  return `${key.slice(0, shown)}…`;
}

/** A copy without credentials: by the names of fields, in header lists, and in addresses such as `redis://user:pass@host`. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH)
    return typeof value === "object" && value !== null ? "[…]" : value;
  if (value instanceof Error) return describeError(value, depth);
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Map || value instanceof Set) return redact([...value], depth);
  if (Array.isArray(value)) {
    if (value.length === 2 && typeof value[0] === "string") return [value[0], field(value[0], value[1], depth + 1)];
    return value.map((item) => redact(item, depth + 1));
  }
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, field(name, item, depth + 1)]));
}

function field(name: string, value: unknown, depth: number): unknown {
  if (value === null || value === undefined) return value;
  if (CREDENTIAL.test(name)) return REDACTED;
  if (KEY.test(name)) return typeof value === "string" ? shortKey(value) : REDACTED;
  return redact(value, depth);
}

/**
 * The password, or a user's name alone, in front of a host. Up to the last `@` before the path, as addresses are read:
 * a password may hold one, and quotes as well. The scheme is bounded, so that the time is linear.
 */
export function redactText(text: string): string {
  return text.replaceAll(/(\b[a-z][a-z0-9+.-]{0,31}:\/\/)[^\s/?#]*@/gi, `$1${REDACTED}@`);
}

function describeError(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause } = error;
  const code = "code" in error ? error.code : undefined;
  return {
    type: name,
    ...(typeof code === "string" ? { code } : {}),
    message: redactText(message),
    ...(stack === undefined ? {} : { stack: redactText(stack) }),
    ...(cause === undefined || depth > 3 ? {} : { cause: redact(cause, depth + 1) }),
  };
}
