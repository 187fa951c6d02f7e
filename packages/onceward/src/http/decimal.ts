// The one spelling of a decimal number's exact value, whatever its size.

/** Exponents of up to so many digits are reckoned as numbers, longer ones digit by digit. */
const SAFE_DIGITS = 15;

/**
 * The canonical spelling of a JSON number: no digit lost, no sign on zero, and the layout of ECMAScript's
 * Number::toString (RFC 8785 §3.2.2.3), which depends on nothing but the digits and the place of the point.
 * `1.0`, `1e0` and `10e-1` are `1`. Works in time linear in the text, `1e999999999` included.
 */
export function exactDecimal(text: string): string {
  const negative = text.charCodeAt(0) === 0x2d;
  const exponentAt = findExponent(text);
  const mantissa = text.slice(negative ? 1 : 0, exponentAt);
  const point = mantissa.indexOf(".");
  const whole = point < 0 ? mantissa.length : point;
  const all = point < 0 ? mantissa : mantissa.slice(0, point) + mantissa.slice(point + 1);
  let first = 0;
  while (all.charCodeAt(first) === 0x30) first += 1;
  if (first === all.length) return "0";
  let last = all.length;
  while (all.charCodeAt(last - 1) === 0x30) last -= 1;
  const place = addExponent(text.slice(exponentAt + 1), whole - first);
  return (negative ? "-" : "") + layOut(all.slice(first, last), place);
}

function findExponent(text: string): number {
  const lower = text.indexOf("e");
  const at = lower < 0 ? text.indexOf("E") : lower;
  return at < 0 ? text.length : at;
}

/** `digits` with the point after the first `place` of them. */
function layOut(digits: string, place: number | string): string {
  const count = digits.length;
  if (typeof place === "number") {
    if (count <= place && place <= 21) return digits + "0".repeat(place - count);
    if (place > 0 && place <= 21) return `${digits.slice(0, place)}.${digits.slice(place)}`;
    if (place > -6 && place <= 0) return `0.${"0".repeat(-place)}${digits}`;
  }
  const exponent = addExponent(String(place), -1);
  const sign = typeof exponent === "string" ? (exponent.startsWith("-") ? "" : "+") : exponent < 0 ? "" : "+";
  return `${digits.slice(0, 1)}${count > 1 ? `.${digits.slice(1)}` : ""}e${sign}${exponent}`;
}

/** The sum of an exponent's text (maybe empty, signed, zero-padded) and a small integer; text where it is too long. */
function addExponent(exponent: string, shift: number): number | string {
  const negative = exponent.startsWith("-");
  let first = negative || exponent.startsWith("+") ? 1 : 0;
  while (exponent.charCodeAt(first) === 0x30) first += 1;
  const digits = exponent.slice(first);
  if (digits.length <= SAFE_DIGITS) {
    const sum = Number(digits) * (negative ? -1 : 1) + shift;
    return Math.abs(sum) < 10 ** SAFE_DIGITS ? sum : String(sum);
  }
  const sum = addSmall(digits, negative ? -shift : shift);
  const text = (negative ? "-" : "") + sum;
  return sum.length <= SAFE_DIGITS ? Number(text) : text;
}

/** `digits` (more than 15 of them, no leading zero) plus an integer below 10^15 in size, digit by digit. */
function addSmall(digits: string, delta: number): string {
  const split = digits.length - SAFE_DIGITS;
  const base = 10 ** SAFE_DIGITS;
  let low = Number(digits.slice(split)) + delta;
  let high = digits.slice(0, split);
  if (low >= base) {
    low -= base;
    high = carry(high);
  } else if (low < 0) {
    low += base;
    high = borrow(high);
  }
  const sum = high + String(low).padStart(SAFE_DIGITS, "0");
  let first = 0;
  while (sum.charCodeAt(first) === 0x30) first += 1;
  return sum.slice(first);
}

function carry(digits: string): string {
  let at = digits.length;
  while (at > 0 && digits.charCodeAt(at - 1) === 0x39) at -= 1;
  const zeros = "0".repeat(digits.length - at);
  if (at === 0) return `1${zeros}`;
  return digits.slice(0, at - 1) + String(Number(digits.charAt(at - 1)) + 1) + zeros;
}

function borrow(digits: string): string {
  let at = digits.length;
  while (digits.charCodeAt(at - 1) === 0x30) at -= 1;
  return digits.slice(0, at - 1) + String(Number(digits.charAt(at - 1)) - 1) + "9".repeat(digits.length - at);
}
