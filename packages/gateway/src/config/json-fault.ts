// Says in words what keeps a text from being JSON, and where: JSON.parse names no place for many slips.

export interface JsonFault {
  /** Counted from 0, in UTF-16 units. */
  readonly offset: number;
  readonly message: string;
}

const MAX_DEPTH = 200;
const NUMBER = /-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const STRING_END = /(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|\u007f|[\u0080-\u009f])*/uy;

/** The first fault of a text that is to be JSON (RFC 8259); null where it is. An empty text is none here. */
export function findJsonFault(text: string): JsonFault | null {
  const scanner = new Scanner(text);
  try {
    scanner.whole();
    return null;
  } catch (error) {
    if (error instanceof Found) return error.fault;
    throw error;
  }
}

class Found extends Error {
  readonly fault: JsonFault;

  constructor(fault: JsonFault) {
    super(fault.message);
    this.fault = fault;
  }
}

class Scanner {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): void {
    this.#space();
    if (this.#at === this.#text.length) return;
    this.#value("a value");
    this.#space();
    if (this.#at < this.#text.length) this.#refuse("this comes after the end of the configuration; remove it");
  }

  #value(what: string): void {
    this.#space();
    const next = this.#text[this.#at];
    if (next === "{" || next === "[") this.#group(next);
    else if (next === '"') this.#string();
    else if (next === undefined) this.#refuse(`${what} is missing here, where the file ends`);
    else if (next === ":" || next === "," || next === "}" || next === "]")
      this.#refuse(`${what} is missing before this ${next}`);
    else this.#bare(next);
  }

  #group(open: "{" | "["): void {
    const from = this.#at;
    const close = open === "{" ? "}" : "]";
    if (this.#depth >= MAX_DEPTH) this.#refuse("this is nested too deeply for a configuration");
    this.#depth += 1;
    this.#at += 1;
    this.#space();
    for (let first = true; this.#text[this.#at] !== close; first = false) {
      if (!first) this.#comma(open, close, from);
      if (this.#at === this.#text.length) this.#unclosed(open, from);
      if (open === "{") this.#member();
      else this.#value("a value");
      this.#space();
    }
    this.#at += 1;
    this.#depth -= 1;
  }

  /** Between two members. */
  #comma(open: string, close: string, from: number): void {
    const next = this.#text[this.#at];
    if (next === undefined) this.#unclosed(open, from);
    if (next !== ",")
      this.#refuse(`a comma is missing before this, or a ${close} for the ${open} of ${this.#line(from)}`);
    const comma = this.#at;
    this.#at += 1;
    this.#space();
    if (this.#text[this.#at] === close)
      this.#refuse(`nothing follows this comma before the ${close}; remove it`, comma);
  }

  #member(): void {
    if (this.#text[this.#at] !== '"') this.#refuse('a name in double quotes must stand here, such as "upstream"');
    this.#string();
    this.#space();
    if (this.#text[this.#at] !== ":") this.#refuse("a colon is missing between a name and its value");
    this.#at += 1;
    this.#value("a value");
  }

  #string(): void {
    const from = this.#at;
    STRING_END.lastIndex = from + 1;
    STRING_END.test(this.#text);
    this.#at = Math.max(STRING_END.lastIndex, from + 1);
    const next = this.#text[this.#at];
    if (next === '"') this.#at += 1;
    else if (next === "\\") this.#refuse("this escape is none of JSON's; a backslash itself is written \\\\");
    else if (next === undefined || next === "\n" || next === "\r")
      this.#refuse("this string has no quote at its end", from);
    else this.#refuse("a control character stands in a string; write it as an escape, such as \\t");
  }

  /** What has no quotes: a number, or one of three words. */
  #bare(next: string): void {
    const word = /[\p{L}\p{N}_$.+-]*/uy;
    word.lastIndex = this.#at;
    const text = word.exec(this.#text)?.[0] ?? "";
    NUMBER.lastIndex = this.#at;
    const number = NUMBER.exec(this.#text)?.[0];
    if (text !== "" && (text === number || text === "true" || text === "false" || text === "null")) {
      this.#at += text.length;
      return;
    }
    if (next === "'") this.#refuse("strings stand in double quotes");
    if (/^[-+.\d]/.test(text)) this.#refuse(`${text} is no number of JSON; a string needs double quotes around it`);
    this.#refuse(`${text === "" ? next : text} needs double quotes around it`);
  }

  #space(): void {
    while (/[ \t\r\n]/.test(this.#text[this.#at] ?? "")) this.#at += 1;
    const two = this.#text.slice(this.#at, this.#at + 2);
    if (two === "//" || two === "/*" || two.startsWith("#"))
      this.#refuse("JSON has no comments; a configuration named .yaml may have them, behind a #");
  }

  #unclosed(open: string, from: number): never {
    return this.#refuse(`this ${open} has no ${open === "{" ? "}" : "]"}: the file ends before it`, from);
  }

  #line(offset: number): string {
    return `line ${this.#text.slice(0, offset).split("\n").length}`;
  }

  #refuse(message: string, offset: number = this.#at): never {
    throw new Found({ offset, message });
  }
}
