// Contents that were cut come back whole or are refused, and orphans are told from chunks that may still be named.

import fc from "fast-check";
import { expect, test } from "vitest";
import { chunkNames, chunksOf, isOrphan, join, spill } from "../../../src/stores/heads/chunks.js";
import { type Head, momentAt, NO_CONTENT } from "../../../src/stores/heads/head.js";
import * as transitions from "../../../src/stores/heads/transitions.js";

const ID = "ef".repeat(32);
const FENCE = "1".repeat(32);
const OTHER = "2".repeat(32);
const NOW = momentAt(1_000_000, 0);

function claimed(fence: string): Head {
  const labels = { account: "a", key: "k", operation: "o", runId: "r" };
  const retention = { forMs: 1_000 };
  const request = { id: ID, fence, fingerprint: null, ageMs: 0, retention, leaseMs: 100, labels };
  return transitions.claim(null, NOW, request).next as Head;
}

test("5.1 a content that is spilled again and again comes back byte for byte", () => {
  const runs = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 });
  fc.assert(
    fc.property(runs, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 40 }), (parts, chunkBytes, inline) => {
      const kept = new Map<string, Uint8Array>();
      let content = NO_CONTENT;
      for (const part of parts) {
        const bytes = Uint8Array.from([...content.inline, ...part]);
        const spilled = spill({ ...content, inline: bytes }, FENCE, inline, chunkBytes);
        for (const chunk of spilled.chunks) {
          expect(chunk.bytes.byteLength).toBeLessThanOrEqual(chunkBytes);
          kept.set(chunk.name, chunk.bytes);
        }
        content = spilled.content;
        expect(content.inline.byteLength).toBeLessThanOrEqual(inline);
      }
      const chunks = chunksOf(content).map((name) => kept.get(name) ?? new Uint8Array());
      expect(join(ID, content, chunks)).toEqual(Uint8Array.from(parts.flatMap((part) => [...part])));
    }),
  );
});

test("5.1 chunks that are missing, short, swapped or changed are store_corrupt", () => {
  const bytes = Uint8Array.from({ length: 30 }, (_, index) => index);
  const { content, chunks } = spill({ spilled: [], inline: bytes }, FENCE, 0, 10);
  const [one, two, three] = chunks.map((chunk) => chunk.bytes) as [Uint8Array, Uint8Array, Uint8Array];
  expect(join(ID, content, [one, two, three])).toEqual(bytes);
  const corrupt = expect.objectContaining({ code: "store_corrupt" });
  for (const wrong of [
    [one, two],
    [one, two, three.subarray(1)],
    [two, one, three],
    [one, two, two],
  ]) {
    expect(() => join(ID, content, wrong)).toThrow(corrupt);
  }
});

test("5.1 the same bytes of one fence have the same names, other bytes or fences other ones", () => {
  const names = (fence: string, byte: number) =>
    spill({ spilled: [], inline: Uint8Array.of(byte, 1, 2) }, fence, 0, 2).chunks.map(({ name }) => name);
  expect(names(FENCE, 1)).toEqual(names(FENCE, 1));
  const all = [...names(FENCE, 1), ...names(FENCE, 2), ...names(OTHER, 1)];
  expect(new Set(all).size).toBe(all.length);
});

test("4.2 a chunk is an orphan once no head can come to name it, and not before", () => {
  const { content, chunks } = spill({ spilled: [], inline: Uint8Array.of(1, 2, 3) }, FENCE, 0, 2);
  const [chunk] = chunks.map(({ name }) => name) as [string];
  const running = claimed(FENCE);
  const done: Head = { ...running, record: { ...running.record, state: "done" } };
  expect(isOrphan(chunk, running)).toBe(false);
  expect(isOrphan(chunk, { ...done, content })).toBe(false);
  expect(isOrphan(chunk, { ...claimed(OTHER), content })).toBe(false);
  expect(isOrphan(chunk, null)).toBe(true);
  expect(isOrphan(chunk, done)).toBe(true);
  expect(isOrphan(chunk, claimed(OTHER))).toBe(true);
  expect(chunksOf(content)).toEqual(content.spilled.flatMap(chunkNames));
});
