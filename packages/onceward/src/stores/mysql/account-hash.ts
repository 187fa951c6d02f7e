// What the rows of one account are found by.

import { createHash } from "node:crypto";
import { encodeText } from "./statements.js";

/** Eight bytes of a digest: short in an index whatever the account's name. Whoever finds rows by it compares the name. */
export function accountHash(account: string): string {
  return `X'${createHash("sha256").update(encodeText(account)).digest("hex").slice(0, 16)}'`;
}
