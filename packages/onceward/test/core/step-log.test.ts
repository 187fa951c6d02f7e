// The step log as bytes: what goes in comes out, and a log that was cut off is refused.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeEntries, encodeEntry } from "../../src/core/step-log.js";

describe("step log", () => {
  it("7.2 entries come back in their order, byte for byte, from any view of a buffer", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 400 })), fc.nat({ max: 9 }), (entries, offset) => {
        const log = Buffer.concat([Buffer.alloc(offset), ...entries.map(encodeEntry)]).subarray(offset);
        expect(decodeEntries(log)).toEqual(entries.map((entry) => new Uint8Array(entry)));
      }),
    );
  });

  it("P2 entries share no memory with the log or the caller's bytes", () => {
    const entry = Uint8Array.of(1, 2, 3);
    const encoded = encodeEntry(entry);
    entry.fill(0);
    const log = Buffer.from(encoded);
    const [first] = decodeEntries(log);
    log.fill(0);
    expect(first).toEqual(Uint8Array.of(1, 2, 3));
  });

  it("9.1 a log that was cut off anywhere but at an entry's end is refused as corrupt", () => {
    const log = Buffer.concat([
      encodeEntry(new Uint8Array(5)),
      encodeEntry(new Uint8Array(0)),
      encodeEntry(new Uint8Array(300)),
    ]);
    const ends = new Set([0, 9, 13, log.byteLength]);
    for (let length = 0; length <= log.byteLength; length++) {
      const cut = () => decodeEntries(log.subarray(0, length));
      if (ends.has(length)) expect(cut).not.toThrow();
      else expect(cut).toThrow(expect.objectContaining({ code: "store_corrupt" }));
    }
  });
});
