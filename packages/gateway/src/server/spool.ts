// A temporary file for a body that is too large for memory; it has no name, so nothing is left behind (SPEC §5.5).

import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Budget } from "onceward/http";

/** Written from front to end, then read as often as needed, then closed. */
export class Spool {
  readonly #file: FileHandle;
  readonly #budget: Budget;
  #bytes = 0;

  private constructor(file: FileHandle, budget: Budget) {
    this.#file = file;
    this.#budget = budget;
  }

  /** Rejects with an error of the file system. */
  static async open(budget: Budget): Promise<Spool> {
    const path = join(tmpdir(), `onceward-${randomUUID()}`);
    const file = await open(path, "wx+", 0o600);
    await unlink(path);
    return new Spool(file, budget);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Appends, or answers false where the budget for disk is used up. */
  async write(chunk: Uint8Array): Promise<boolean> {
    if (!this.#budget.tryTake(chunk.length)) return false;
    const at = this.#bytes;
    this.#bytes += chunk.length;
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.#file.write(chunk, done, chunk.length - done, at + done);
      done += bytesWritten;
    }
    return true;
  }

  /** All that was written. */
  read(): Readable {
    const stream = createReadStream("", { fd: this.#file, start: 0, end: this.#bytes - 1, autoClose: false });
    // Whoever reads it is told; a file that is closed since nobody reads any more is no fault.
    return stream.on("error", () => undefined);
  }

  async close(): Promise<void> {
    this.#budget.give(this.#bytes);
    this.#bytes = 0;
    await this.#file.close();
  }
}
