// The date as a gateway process under test sees it, set from outside to the millisecond.

import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** Stands still until it is set; the process reads it at every look at the date. */
export class HeldClock {
  readonly env: Readonly<Record<string, string>>;
  readonly preload: readonly string[];
  readonly #file: number;
  #at = 0;

  constructor(folder: string, at: number) {
    const path = join(folder, "held-clock");
    this.#file = openSync(path, "w+");
    this.env = { HELD_CLOCK_FILE: path };
    this.preload = ["--require", fileURLToPath(new URL("./held-clock.cjs", import.meta.url))];
    this.set(at);
  }

  get at(): number {
    return this.#at;
  }

  /** An instant in epoch milliseconds, or as text with a zone. */
  set(at: number | string): void {
    const instant = typeof at === "string" ? Date.parse(at) : at;
    if (!Number.isSafeInteger(instant)) throw new Error(`${at} is no instant`);
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(instant);
    // Eight bytes in one write are seen whole or not at all.
    writeSync(this.#file, bytes, 0, 8, 0);
    this.#at = instant;
  }

  advance(ms: number): void {
    this.set(this.#at + ms);
  }

  close(): void {
    closeSync(this.#file);
  }
}
