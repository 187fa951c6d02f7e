// A store whose recorded answers and steps are encrypted before they reach the store beneath (SPEC §9.1).

import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { IdempotencyError } from "../core/errors.js";
import type { Answer, RecordId, StoredRecord } from "../core/record.js";
import type { ClaimResult, Found, Store } from "../core/store.js";
import type { StoreTransactions } from "../core/transactions.js";

/** A key that answers are sealed with. */
export interface SealingKey {
  /** Its name, which is kept in the clear beside what it sealed; 1 to 255 bytes of UTF-8. */
  readonly id: string;
  /** 32 random bytes. */
  readonly key: Uint8Array;
}

export interface SealedStoreOptions {
  /**
   * The first seals; all of them open. To change keys, put the new one first and keep the old one for as long as the
   * longest retention.
   */
  readonly keys: readonly SealingKey[];
  /**
   * What to do with answers that were recorded before sealing was turned on: `refuse` (default) as tampered with, or
   * `accept` until the last of them has expired.
   */
  readonly unsealed?: "refuse" | "accept";
}

// Sealed bytes: magic, length of the key's id, the id, nonce, ciphertext, tag. The magic is no start of text and
// ends with the format's version.
const MAGIC = Uint8Array.of(0x00, 0x4f, 0x6e, 0x63, 0x65, 0x53, 0x01);
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_AT = MAGIC.byteLength + 1;
const CIPHER = "aes-256-gcm";

interface Keyring {
  readonly sealing: SealingKey & { readonly idBytes: Uint8Array };
  readonly byId: ReadonlyMap<string, SealingKey>;
  readonly acceptUnsealed: boolean;
}

/**
 * Seals payloads and the entries of step logs with AES-256-GCM. The record's id and the status are authenticated with
 * them, so that neither an answer, a status nor a step can be moved to another record; labels, fingerprints and instants
 * stay readable. A step's name is inside its entry, so that no entry can pass for another step's. Operations reject with `store_corrupt` where an answer cannot be opened: it was changed or swapped, or its key is not given
 * (`details.sealedWith`: the key's id, null where it is not sealed).
 *
 * @throws IdempotencyError `config_invalid` where there is no key, a key is not 32 bytes, or two have one id.
 */
export function sealedStore(store: Store, options: SealedStoreOptions): Store {
  const ring = keyring(options);
  const open = (record: StoredRecord) => opened(ring, record);
  const { waiting, transactions, history } = store;
  return {
    get info() {
      return store.info;
    },
    open: () => store.open(),
    async claim(request): Promise<ClaimResult> {
      const result = await store.claim(request);
      return result.outcome === "full" ? result : { ...result, record: open(result.record) };
    },
    renew: (id, fence, leaseMs) => store.renew(id, fence, leaseMs),
    complete: async (id, fence, answer) => store.complete(id, fence, sealed(ring, id, answer)),
    interrupt: (id, fence, status, by) => store.interrupt(id, fence, status, by),
    takeOver: (id, fence, next) => store.takeOver(id, fence, next),
    settle: async (id, fence, next) => store.settle(id, fence, { ...next, answer: sealed(ring, id, next.answer) }),
    release: (id, fence) => store.release(id, fence),
    appendStep: async (id, fence, entry) => store.appendStep(id, fence, seal(ring, stepOf(id), entry)),
    async readSteps(id, fence): Promise<readonly Uint8Array[] | null> {
      const entries = await store.readSteps(id, fence);
      return entries?.map((entry) => unseal(ring, stepOf(id), entry)) ?? null;
    },
    async find(id): Promise<Found | null> {
      const found = await store.find(id);
      return found === null ? null : { ...found, record: open(found.record) };
    },
    list: (query) => store.list(query),
    purge: (limit) => store.purge(limit),
    getShared: (name) => store.getShared(name),
    setShared: (name, value, expected) => store.setShared(name, value, expected),
    ...(waiting === undefined ? {} : { waiting }),
    ...(transactions === undefined ? {} : { transactions: sealedTransactions(ring, transactions) }),
    ...(history === undefined ? {} : { history }),
    close: () => store.close(),
  };
}

function sealedTransactions(ring: Keyring, beneath: StoreTransactions): StoreTransactions {
  return {
    dialect: beneath.dialect,
    completion: (id, fence, answer) => beneath.completion(id, fence, sealed(ring, id, answer)),
  };
}

function keyring(options: SealedStoreOptions): Keyring {
  const invalid = (message: string) => new IdempotencyError("config_invalid", message);
  const byId = new Map<string, SealingKey>();
  for (const { id, key } of options.keys) {
    const idBytes = Buffer.byteLength(id);
    if (idBytes < 1 || idBytes > 255) throw invalid("The id of an encryption key has 1 to 255 bytes.");
    if (byId.has(id)) throw invalid(`Two encryption keys have the id "${id}".`);
    if (key.byteLength !== 32) {
      throw invalid(`The encryption key "${id}" has ${key.byteLength} bytes; it needs 32 (openssl rand -base64 32).`);
    }
    // A copy, since callers may wipe theirs.
    byId.set(id, { id, key: new Uint8Array(key) });
  }
  const first = byId.values().next().value;
  if (first === undefined) throw invalid("sealedStore needs at least one encryption key.");
  return {
    sealing: { ...first, idBytes: Buffer.from(first.id) },
    byId,
    acceptUnsealed: options.unsealed === "accept",
  };
}

// Each record has a key of its own, so that random nonces never meet, however many answers one key seals
// (NIST SP 800-38D, 8.3 allows 2^32 of them otherwise).
function recordKey(key: Uint8Array, id: RecordId): Uint8Array {
  return createHmac("sha256", key).update("onceward sealed answer 1\0").update(id).digest();
}

/** What sealed bytes are: the words for it, and the associated data that keeps them from passing for anything else. */
interface Purpose {
  readonly what: string;
  readonly id: RecordId;
  readonly associatedData: string;
}

function answerOf(id: RecordId, status: number): Purpose {
  return { what: "recorded answer", id, associatedData: `onceward sealed answer 1\0${id}\0${status}` };
}

function stepOf(id: RecordId): Purpose {
  return { what: "step log", id, associatedData: `onceward sealed step 1\0${id}` };
}

function sealed(ring: Keyring, id: RecordId, answer: Answer): Answer {
  return { status: answer.status, payload: seal(ring, answerOf(id, answer.status), answer.payload) };
}

function seal(ring: Keyring, purpose: Purpose, content: Uint8Array): Uint8Array {
  const { key, idBytes } = ring.sealing;
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, recordKey(key, purpose.id), nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(purpose.associatedData));
  const body = [cipher.update(content), cipher.final()];
  return Buffer.concat([MAGIC, Uint8Array.of(idBytes.byteLength), idBytes, nonce, ...body, cipher.getAuthTag()]);
}

function opened(ring: Keyring, record: StoredRecord): StoredRecord {
  const { payload, id, status } = record;
  if (payload === null || status === null) return record;
  return { ...record, payload: unseal(ring, answerOf(id, status), payload) };
}

function unseal(ring: Keyring, purpose: Purpose, payload: Uint8Array): Uint8Array {
  if (!isSealed(payload)) {
    if (ring.acceptUnsealed) return payload;
    const mend = `set \`unsealed: "accept"\` (the gateway: \`acceptUnsealed: true\`) to take such answers until they have expired`;
    throw corrupt(
      purpose,
      null,
      `it is not sealed: it was recorded before encryption was set, or put there since; ${mend}`,
    );
  }
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const nonceAt = KEY_ID_AT + (bytes[MAGIC.byteLength] ?? 0);
  const bodyAt = nonceAt + NONCE_BYTES;
  const tagAt = bytes.byteLength - TAG_BYTES;
  const keyId = bytes.toString("utf8", KEY_ID_AT, nonceAt);
  if (tagAt < bodyAt) throw corrupt(purpose, keyId, "it is too short");
  const key = ring.byId.get(keyId)?.key;
  if (key === undefined) {
    throw corrupt(purpose, keyId, `it was sealed with the key "${keyId}", which is not among those given; give it too`);
  }
  const decipher = createDecipheriv(CIPHER, recordKey(key, purpose.id), bytes.subarray(nonceAt, bodyAt), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(Buffer.from(purpose.associatedData)).setAuthTag(bytes.subarray(tagAt));
  try {
    const body = Buffer.concat([decipher.update(bytes.subarray(bodyAt, tagAt)), decipher.final()]);
    return new Uint8Array(body);
  } catch (cause) {
    throw corrupt(
      purpose,
      keyId,
      `the key "${keyId}" does not open it: it was changed, or belongs to another record`,
      cause,
    );
  }
}

/** The id of the key that a payload, as the store beneath has it, was sealed with; null where it is not sealed. */
export function sealingKeyOf(payload: Uint8Array): string | null {
  if (!isSealed(payload)) return null;
  const end = KEY_ID_AT + (payload[MAGIC.byteLength] ?? 0);
  return new TextDecoder().decode(payload.subarray(KEY_ID_AT, end));
}

function isSealed(payload: Uint8Array): boolean {
  return MAGIC.every((byte, index) => payload[index] === byte);
}

/** @param sealedWith The id of the key it was sealed with; null where it was not. */
function corrupt({ what, id }: Purpose, sealedWith: string | null, reason: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError("store_corrupt", `The ${what} of record ${id} cannot be opened: ${reason}.`, {
    cause,
    details: { recordId: id, sealedWith },
  });
}
