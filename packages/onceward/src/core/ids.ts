// Random tokens: fences of claims and ids of runs.

import type { Fence } from "./record.js";

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
// Drawn in bulk: one call to the generator costs more than the bytes.
const pool = new Uint8Array(4096);
let used = pool.length;

function randomByte(): number {
  if (used === pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  return pool[used++] as number;
}

function randomHex(byteCount: number): string {
  let text = "";
  for (let index = 0; index < byteCount; index++) text += HEX[randomByte()];
  return text;
}

/** A new fence (SPEC §4.2): 128 random bits. */
export function newFence(): Fence {
  return randomHex(16);
}

let lastMs = 0;
let sequence = 0;
// Of ids that are made by the thousand a second, most begin alike.
let prefixMs = -1;
let prefix = "";

function timePrefix(ms: number): string {
  if (ms !== prefixMs) {
    const time = ms.toString(16).padStart(12, "0");
    prefix = `${time.slice(0, 8)}-${time.slice(8)}-7`;
    prefixMs = ms;
  }
  return prefix;
}

/**
 * A new id that sorts by time (UUIDv7, RFC 9562 §5.7): milliseconds, then a counter within the millisecond, then 62
 * random bits. `nowMs` is epoch milliseconds; ids of one process keep rising even where its clock steps back.
 */
export function newTimeId(nowMs: number): string {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    sequence = 0;
  } else if (++sequence > 0xfff) {
    lastMs++;
    sequence = 0;
  }
  const counter = `${HEX[sequence >> 8]?.slice(1)}${HEX[sequence & 0xff]}`;
  const variant = HEX[(randomByte() & 0x3f) | 0x80] as string;
  return `${timePrefix(lastMs)}${counter}-${variant}${randomHex(1)}-${randomHex(6)}`;
}
