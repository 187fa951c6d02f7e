// Bytes as scripts and the store pass them to each other: numbers, texts and blocks, one behind the other.

const UTF8 = 0;
const UTF16 = 1;
const NULL = 2;

// UTF-8 has no lone surrogates; Node would write another character for them.
const NO_UTF8 = /\p{Surrogate}/u;

/** Writes into memory that grows. What it gave out must not be written to again. */
export class ByteWriter {
  #bytes: Buffer;
  #length = 0;

  constructor(expectedBytes: number) {
    this.#bytes = Buffer.allocUnsafe(expectedBytes);
  }

  byte(value: number): this {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
    return this;
  }

  uint32(value: number): this {
    const at = this.#reserve(4);
    this.#bytes.writeUInt32BE(value, at);
    return this;
  }

  double(value: number): this {
    const at = this.#reserve(8);
    this.#bytes.writeDoubleBE(value, at);
    return this;
  }

  ascii(text: string): this {
    const at = this.#reserve(text.length);
    this.#bytes.write(text, at, "latin1");
    return this;
  }

  hex(digits: string): this {
    const at = this.#reserve(digits.length / 2);
    this.#bytes.write(digits, at, "hex");
    return this;
  }

  /** What `write` writes, with its length before it. */
  nested(write: () => void): this {
    const at = this.#reserve(4);
    write();
    this.#bytes.writeUInt32BE(this.#length - at - 4, at);
    return this;
  }

  /** With its length before it. */
  block(bytes: Uint8Array): this {
    this.uint32(bytes.byteLength);
    const at = this.#reserve(bytes.byteLength);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** Any string, or null, so that equal ones are equal bytes and no two others are. */
  text(value: string | null): this {
    if (value === null) return this.uint32(1).byte(NULL);
    if (this.#shortAscii(value)) return this;
    const encoding = NO_UTF8.test(value) ? "utf16le" : "utf8";
    const byteLength = Buffer.byteLength(value, encoding);
    this.uint32(byteLength + 1).byte(encoding === "utf8" ? UTF8 : UTF16);
    const at = this.#reserve(byteLength);
    this.#bytes.write(value, at, encoding);
    return this;
  }

  /** Most texts are; written byte by byte they cost a third. */
  #shortAscii(value: string): boolean {
    if (value.length > 40) return false;
    const start = this.#reserve(value.length + 5);
    const bytes = this.#bytes;
    for (let index = 0; index < value.length; index++) {
      const unit = value.charCodeAt(index);
      if (unit > 127) {
        this.#length = start;
        return false;
      }
      bytes[start + 5 + index] = unit;
    }
    bytes.writeUInt32BE(value.length + 1, start);
    bytes[start + 4] = UTF8;
    return true;
  }

  take(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Makes room; the memory may be another one afterwards. */
  #reserve(byteLength: number): number {
    const at = this.#length;
    this.#length += byteLength;
    if (this.#length > this.#bytes.byteLength) {
      const grown = Buffer.allocUnsafe(2 * this.#length);
      this.#bytes.copy(grown, 0, 0, at);
      this.#bytes = grown;
    }
    return at;
  }
}

/** Reads what a {@link ByteWriter} or a script wrote; throws a RangeError where it ends early. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.byteLength;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  double(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  ascii(length: number): string {
    const at = this.#take(length);
    return this.#bytes.toString("latin1", at, at + length);
  }

  hex(byteLength: number): string {
    const at = this.#take(byteLength);
    return this.#bytes.toString("hex", at, at + byteLength);
  }

  /** A view, not a copy. */
  block(): Buffer {
    const byteLength = this.uint32();
    const at = this.#take(byteLength);
    return this.#bytes.subarray(at, at + byteLength);
  }

  text(): string | null {
    const bytes = this.block();
    if (bytes[0] === NULL) return null;
    return bytes.toString(bytes[0] === UTF16 ? "utf16le" : "utf8", 1);
  }

  #take(byteLength: number): number {
    const at = this.#at;
    this.#at += byteLength;
    if (this.#at > this.#bytes.byteLength) throw new RangeError("bytes end early");
    return at;
  }
}

/** A string as {@link ByteWriter.text} writes it, without the length before it. */
export function textBytes(value: string): Buffer {
  return new ByteWriter(value.length + 16).text(value).take().subarray(4);
}
