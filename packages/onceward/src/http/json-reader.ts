// A strict JSON reader that keeps every digit of a number and refuses what readers differ on.

import { exactDecimal } from "./decimal.js";

/** A JSON number as its exact decimal value. */
export class JsonNumber {
  /** The one spelling of this value; see {@link exactDecimal}. */
  readonly decimal: string;

  constructor(decimal: string) {
    this.decimal = decimal;
  }
}

/** A JSON value. Objects are maps, so that no member name (`__proto__`) is special. */
export type Json = null | boolean | string | JsonNumber | readonly Json[] | ReadonlyMap<string, Json>;

/** How deep arrays and objects may be nested; deeper texts are not read, so that no body overflows the stack. */
export const MAX_JSON_DEPTH = 128;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The value of a JSON text (RFC 8259), or undefined where it is malformed, not UTF-8, too deep, or has two members of
 * one name in an object. Otherwise it accepts what `JSON.parse` accepts.
 */
export function parseJson(bytes: Uint8Array, maxDepth: number = MAX_JSON_DEPTH): Json | undefined {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return undefined;
  }
  const reader = new Reader(text, maxDepth);
  const value = reader.value(0);
  return value !== undefined && reader.atEnd() ? value : undefined;
}

class Reader {
  private readonly text: string;
  private readonly maxDepth: number;
  private at = 0;

  constructor(text: string, maxDepth: number) {
    this.text = text;
    this.maxDepth = maxDepth;
  }

  atEnd(): boolean {
    return Number.isNaN(this.peek());
  }

  /** The next character that is no white space; NaN at the end. */
  private peek(): number {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return code;
      this.at += 1;
    }
  }

  value(depth: number): Json | undefined {
    switch (this.peek()) {
      case 0x22:
        return this.string();
      case 0x7b:
        return depth < this.maxDepth ? this.object(depth + 1) : undefined;
      case 0x5b:
        return depth < this.maxDepth ? this.array(depth + 1) : undefined;
      case 0x74:
        return this.word("true", true);
      case 0x66:
        return this.word("false", false);
      case 0x6e:
        return this.word("null", null);
      default:
        return this.number();
    }
  }

  private word(word: string, value: boolean | null): boolean | null | undefined {
    if (!this.text.startsWith(word, this.at)) return undefined;
    this.at += word.length;
    return value;
  }

  private object(depth: number): Json | undefined {
    const members = new Map<string, Json>();
    this.at += 1;
    if (this.peek() === 0x7d) {
      this.at += 1;
      return members;
    }
    for (;;) {
      if (this.peek() !== 0x22) return undefined;
      const name = this.string();
      if (name === undefined || members.has(name) || this.peek() !== 0x3a) return undefined;
      this.at += 1;
      const member = this.value(depth);
      if (member === undefined) return undefined;
      members.set(name, member);
      const next = this.peek();
      this.at += 1;
      if (next === 0x7d) return members;
      if (next !== 0x2c) return undefined;
    }
  }

  private array(depth: number): Json | undefined {
    const elements: Json[] = [];
    this.at += 1;
    if (this.peek() === 0x5d) {
      this.at += 1;
      return elements;
    }
    for (;;) {
      const element = this.value(depth);
      if (element === undefined) return undefined;
      elements.push(element);
      const next = this.peek();
      this.at += 1;
      if (next === 0x5d) return elements;
      if (next !== 0x2c) return undefined;
    }
  }

  private string(): string | undefined {
    const { text } = this;
    const start = this.at;
    let escaped = false;
    for (let at = start + 1; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === 0x22) {
        this.at = at + 1;
        return escaped ? unquote(text.slice(start, at + 1)) : text.slice(start + 1, at);
      }
      if (code < 0x20) return undefined;
      if (code !== 0x5c) continue;
      escaped = true;
      at += 1;
    }
    return undefined;
  }

  private number(): Json | undefined {
    const { text } = this;
    const start = this.at;
    let at = text.charCodeAt(start) === 0x2d ? start + 1 : start;
    const whole = at;
    at = skipDigits(text, at);
    const wholeEnd = at;
    // No digits, or a leading zero before more of them.
    if (at === whole || (text.charCodeAt(whole) === 0x30 && at > whole + 1)) return undefined;
    if (text.charCodeAt(at) === 0x2e) {
      const fraction = at + 1;
      at = skipDigits(text, fraction);
      if (at === fraction) return undefined;
    }
    if ((text.charCodeAt(at) | 0x20) === 0x65) {
      at += 1;
      const sign = text.charCodeAt(at);
      if (sign === 0x2b || sign === 0x2d) at += 1;
      const exponent = at;
      at = skipDigits(text, exponent);
      if (at === exponent) return undefined;
    }
    this.at = at;
    const literal = text.slice(start, at);
    // An integer is its own canonical form, up to where the layout changes; most numbers are small ones.
    const plain = at === wholeEnd && at - start <= 15 && text.charCodeAt(whole) !== 0x30;
    return new JsonNumber(plain ? literal : exactDecimal(literal));
  }
}

function skipDigits(text: string, start: number): number {
  let at = start;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x30 || code > 0x39) break;
  }
  return at;
}

/** A string with escapes, as JSON.parse reads it; undefined where an escape is malformed. */
function unquote(quoted: string): string | undefined {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return undefined;
  }
}
