// Reads the idempotency key from its header, in both spellings that are in use (SPEC §2).

import { skipParameters } from "./structured-parameters.js";

/** What the header says. An `invalid` one is refused, also where a key is optional (SPEC K6); it is never absent. */
export type KeyReading =
  | { readonly kind: "absent" }
  | { readonly kind: "key"; readonly key: string }
  /** `rule` is a sentence for the client: which rule was broken and what to send. It echoes nothing of the value. */
  | { readonly kind: "invalid"; readonly rule: string };

/** The part of a policy that says what a key looks like. */
export interface KeyRules {
  /** The header's name, for the sentences only. */
  readonly header: string;
  /** In characters, counted after unquoting (SPEC K4). */
  readonly maxLength: number;
  /** Whether only the quoted form is read (SPEC K2). */
  readonly strict: boolean;
}

const ABSENT: KeyReading = { kind: "absent" };
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

/**
 * Reads the values of the key's header, one for each time it was sent. Never throws.
 *
 * A value that starts with a quote is a Structured Field String (RFC 9651 §3.3.3), whose parameters must be well
 * formed and are ignored; anything else is the bare form. Spaces around either are no part of it, as RFC 9651 §4.2
 * discards them.
 */
export function readIdempotencyKey(values: readonly string[], rules: KeyRules): KeyReading {
  const value = values[0];
  if (value === undefined) return ABSENT;
  if (values.length > 1) return invalid(rules, "was sent more than once; send it once");
  let start = 0;
  let end = value.length;
  while (start < end && value.charCodeAt(start) === 0x20) start += 1;
  while (end > start && value.charCodeAt(end - 1) === 0x20) end -= 1;
  if (start === end) return invalid(rules, `is empty; send 1 to ${rules.maxLength} characters, or leave it out`);
  if (value.charCodeAt(start) === QUOTE) return readQuoted(value, start + 1, end, rules);
  if (rules.strict) return invalid(rules, 'must be a quoted string (RFC 9651), such as "8e03978e-40d5-43dd"');
  return readBare(value, start, end, rules);
}

function readBare(value: string, start: number, end: number, rules: KeyRules): KeyReading {
  for (let at = start; at < end; at += 1) {
    const code = value.charCodeAt(at);
    if (code > 0x20 && code < 0x7f && code !== QUOTE && code !== COMMA) continue;
    if (code === COMMA)
      return invalid(rules, "holds a comma, which reads as a list; send one key, or put it in quotes");
    if (code === QUOTE)
      return invalid(rules, "holds a quote inside an unquoted key; quote the whole key and escape it");
    if (code === 0x20) return invalid(rules, "holds a space; put a key with spaces in quotes");
    return notAscii(rules);
  }
  return sized(start === 0 && end === value.length ? value : value.slice(start, end), rules);
}

function readQuoted(value: string, start: number, end: number, rules: KeyRules): KeyReading {
  let key = "";
  // Characters up to here are in `key`; so a key without escapes is one slice.
  let copied = start;
  for (let at = start; at < end; at += 1) {
    const code = value.charCodeAt(at);
    if (code === QUOTE) return finishQuoted(value, at + 1, end, key + value.slice(copied, at), rules);
    if (code < 0x20 || code > 0x7e) return notAscii(rules);
    if (code !== BACKSLASH) continue;
    const escaped = at + 1 < end ? value.charCodeAt(at + 1) : 0;
    if (escaped !== QUOTE && escaped !== BACKSLASH) {
      return invalid(
        rules,
        'holds a backslash that escapes nothing; inside quotes write \\\\ for a backslash and \\" for a quote',
      );
    }
    key += value.slice(copied, at);
    copied = at + 1;
    at += 1;
  }
  return invalid(rules, "starts with a quote that is never closed; close it, or send the key without quotes");
}

function finishQuoted(value: string, start: number, end: number, key: string, rules: KeyRules): KeyReading {
  if (start < end) {
    const after = skipParameters(value, start);
    if (after < 0) return invalid(rules, "has malformed parameters after the quoted key; send the quoted key alone");
    let rest = after;
    while (rest < end && value.charCodeAt(rest) === 0x20) rest += 1;
    if (rest < end) {
      if (value.charCodeAt(rest) === COMMA) return invalid(rules, "is a list; send one key");
      return invalid(rules, "goes on after the closing quote; send the quoted key alone");
    }
  }
  if (key === "") return invalid(rules, `is empty; send 1 to ${rules.maxLength} characters, or leave it out`);
  return sized(key, rules);
}

function sized(key: string, rules: KeyRules): KeyReading {
  if (key.length <= rules.maxLength) return { kind: "key", key };
  return invalid(rules, `is too long; the key may have up to ${rules.maxLength} characters, not counting its quotes`);
}

function notAscii(rules: KeyRules): KeyReading {
  return invalid(
    rules,
    "holds a control or non-ASCII character; use visible ASCII characters, such as those of a UUID",
  );
}

function invalid(rules: KeyRules, rule: string): KeyReading {
  return { kind: "invalid", rule: `The ${rules.header} header ${rule}.` };
}
