// Parameters of a Structured Field item (RFC 9651 §3.1.2): checked for their grammar, their values not kept.

const QUOTE = 0x22;
const SEMICOLON = 0x3b;
const PERCENT = 0x25;

/**
 * The index after the parameters that start at `start`, or -1 where they are malformed (RFC 9651 §4.2.3.2).
 * `text` is a field value: one character a byte.
 */
export function skipParameters(text: string, start: number): number {
  let at = start;
  while (text.charCodeAt(at) === SEMICOLON) {
    at += 1;
    while (text.charCodeAt(at) === 0x20) at += 1;
    at = skipKey(text, at);
    if (at < 0) return -1;
    if (text.charCodeAt(at) !== 0x3d) continue;
    at = skipBareItem(text, at + 1);
    if (at < 0) return -1;
  }
  return at;
}

/** RFC 9651 §4.2.3.3. */
function skipKey(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (!isLower(first) && first !== 0x2a) return -1;
  let at = start + 1;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (!isLower(code) && !isDigit(code) && code !== 0x5f && code !== 0x2d && code !== 0x2e && code !== 0x2a) break;
  }
  return at;
}

/** RFC 9651 §4.2.3.1: the first character says which kind of item it is. */
function skipBareItem(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === 0x2d || isDigit(first)) return skipNumber(text, start, true);
  if (first === QUOTE) return skipString(text, start + 1);
  if (first === 0x2a || isAlpha(first)) return skipToken(text, start + 1);
  if (first === 0x3a) return skipBytes(text, start + 1);
  if (first === 0x40) return skipNumber(text, start + 1, false);
  if (first === PERCENT) return skipDisplayString(text, start + 1);
  if (first === 0x3f) {
    const value = text.charCodeAt(start + 1);
    return value === 0x30 || value === 0x31 ? start + 2 : -1;
  }
  return -1;
}

/** RFC 9651 §4.2.4: at most 15 digits, or 12 and 3; a date (§4.2.9) has no decimals. */
function skipNumber(text: string, start: number, decimals: boolean): number {
  const digits = text.charCodeAt(start) === 0x2d ? start + 1 : start;
  const point = skipDigits(text, digits);
  if (point === digits) return -1;
  if (text.charCodeAt(point) !== 0x2e) return point - digits <= 15 ? point : -1;
  if (!decimals || point - digits > 12) return -1;
  const end = skipDigits(text, point + 1);
  const fraction = end - point - 1;
  return fraction >= 1 && fraction <= 3 ? end : -1;
}

function skipDigits(text: string, start: number): number {
  let at = start;
  while (isDigit(text.charCodeAt(at))) at += 1;
  return at;
}

/** RFC 9651 §4.2.5, from after the opening quote. */
function skipString(text: string, start: number): number {
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code < 0x20 || code > 0x7e) return -1;
    if (code !== 0x5c) continue;
    at += 1;
    const escaped = text.charCodeAt(at);
    if (escaped !== QUOTE && escaped !== 0x5c) return -1;
  }
  return -1;
}

/** RFC 9651 §4.2.6, from after the first character. */
function skipToken(text: string, start: number): number {
  let at = start;
  while (at < text.length && isTokenCharacter(text.charCodeAt(at))) at += 1;
  return at;
}

/** RFC 9651 §4.2.7: base64 between colons; padding may be left out, but nothing may follow it. */
function skipBytes(text: string, start: number): number {
  let at = start;
  while (isAlpha(text.charCodeAt(at)) || isDigit(text.charCodeAt(at)) || isPlusOrSlash(text.charCodeAt(at))) at += 1;
  const characters = at - start;
  while (text.charCodeAt(at) === 0x3d) at += 1;
  const padding = at - start - characters;
  if (text.charCodeAt(at) !== 0x3a || characters % 4 === 1) return -1;
  return padding === 0 || ((characters + padding) % 4 === 0 && padding <= 2) ? at + 1 : -1;
}

/** RFC 9651 §4.2.10, from after the percent sign: quoted, percent-encoded UTF-8 with lower-case digits. */
function skipDisplayString(text: string, start: number): number {
  if (text.charCodeAt(start) !== QUOTE) return -1;
  const bytes: number[] = [];
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return isUtf8(bytes) ? at + 1 : -1;
    if (code < 0x20 || code > 0x7e) return -1;
    if (code !== PERCENT) {
      bytes.push(code);
      continue;
    }
    const high = lowerHex(text.charCodeAt(at + 1));
    const low = lowerHex(text.charCodeAt(at + 2));
    if (high < 0 || low < 0) return -1;
    bytes.push(high * 16 + low);
    at += 2;
  }
  return -1;
}

function isUtf8(bytes: readonly number[]): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
    return true;
  } catch {
    return false;
  }
}

function lowerHex(code: number): number {
  if (isDigit(code)) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : -1;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isLower(code: number): boolean {
  return code >= 0x61 && code <= 0x7a;
}

function isAlpha(code: number): boolean {
  return isLower(code) || (code >= 0x41 && code <= 0x5a);
}

function isPlusOrSlash(code: number): boolean {
  return code === 0x2b || code === 0x2f;
}

/** tchar of RFC 9110, colon and slash. */
function isTokenCharacter(code: number): boolean {
  return isAlpha(code) || isDigit(code) || (code < 0x7f && "!#$%&'*+-.^_`|~:/".includes(String.fromCharCode(code)));
}
