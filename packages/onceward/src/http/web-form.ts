// A form that a framework has parsed, as a value that can be compared (SPEC §5.6).

import { createHash } from "node:crypto";

/** Names and values in order; of a file its name, its type and a digest of its bytes. */
export async function formValue(form: FormData): Promise<unknown> {
  const fields: unknown[] = [];
  for (const [name, value] of form) {
    if (typeof value === "string") {
      fields.push([name, value]);
      continue;
    }
    const sha256 = createHash("sha256")
      .update(new Uint8Array(await value.arrayBuffer()))
      .digest("hex");
    fields.push([name, { name: value.name, type: value.type, bytes: value.size, sha256 }]);
  }
  return fields;
}
