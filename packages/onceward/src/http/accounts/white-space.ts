// The white space around a header's value or a part of it (RFC 9110 §5.6.3).

/**
 * Without spaces and tabs at either end; not `String.trim`, which also takes away U+00A0, a byte of a value here. No
 * expression either: `[ \t]+$` takes time quadratic in a run of spaces inside the value, and the value is the client's.
 */
export function withoutWhiteSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWhiteSpace(text.charCodeAt(start))) start += 1;
  while (end > start && isWhiteSpace(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isWhiteSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
