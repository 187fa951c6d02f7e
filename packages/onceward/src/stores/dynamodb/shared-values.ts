// Small named values that all nodes share, each set by comparing it.

import { randomBytes } from "node:crypto";
import { bytes, text } from "./item.js";
import { ownKey } from "./layout.js";
import type { Table } from "./table.js";

export class SharedValues {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  async get(name: string): Promise<Uint8Array | null> {
    const value = (await this.#table.get(keyOf(name)))?.["value"]?.B;
    return value === undefined ? null : new Uint8Array(value);
  }

  async set(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean> {
    // Tells this write, sent twice by the SDK, from somebody else's of the same value.
    const write = randomBytes(16).toString("hex");
    const condition = {
      when: expected === null ? "attribute_not_exists(pk)" : "#value = :expected",
      values: expected === null ? {} : { ":expected": bytes(expected) },
    };
    const item = { ...keyOf(name), value: bytes(value), write: text(write) };
    const written = await this.#table.put(item, condition, { look: true });
    return written.done || written.found?.["write"]?.S === write;
  }
}

const keyOf = (name: string) => ownKey("shared", `=${name}`);
