// Reads the keys that seal recorded answers at rest (SPEC §9.1).

import type { EncryptionKey } from "./config.js";
import type { ConfigFile } from "./file-schema.js";
import type { Sources } from "./sources.js";

const KEY_BYTES = 32;

export function buildEncryption(file: ConfigFile, sources: Sources): EncryptionKey[] {
  const keys: EncryptionKey[] = [];
  const ids = new Set<string>();
  for (const [index, { id, key: source }] of file.encryption.entries()) {
    const path = ["encryption", index];
    if (ids.has(id))
      sources.refuse(
        [...path, "id"],
        ` is that of another key too: each record names its key by it, so give each its own`,
      );
    ids.add(id);
    if (Buffer.byteLength(id) > 255)
      sources.refuse([...path, "id"], " is too long: it is kept in every record, in 255 bytes at most");
    const text = sources.secret(source, [...path, "key"]);
    if (text === null) continue;
    const key = decodeKey(text.trim());
    if (key?.length === KEY_BYTES) keys.push({ id, key });
    else {
      const found = key === null ? "is neither base64 nor hexadecimal" : `has ${key.length} bytes`;
      sources.refuse(
        [...path, "key"],
        ` ${found}, but it must have 32 bytes in base64 or hexadecimal (openssl rand -base64 32 makes one)`,
      );
    }
  }
  return keys;
}

function decodeKey(text: string): Uint8Array | null {
  if (/^([0-9A-Fa-f]{2})+$/.test(text)) return new Uint8Array(Buffer.from(text, "hex"));
  const base64 = text.replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");
  return /^[A-Za-z0-9+/]+$/.test(base64) ? new Uint8Array(Buffer.from(base64, "base64")) : null;
}
