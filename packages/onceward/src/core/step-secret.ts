// The downstream idempotency keys of steps: the same on every node, and nobody's to guess (SPEC §7.2).

import type { RecordId } from "./record.js";
import type { Store } from "./store.js";
import type { StoreCalls } from "./store-calls.js";

/** HMAC-SHA256 of a text under a key. */
export type Hmac = (key: Uint8Array, text: string) => Uint8Array;

/** The claim that a step is of. */
interface StepClaim {
  readonly id: RecordId;
  readonly runId: string;
  readonly leaseMs: number;
}

const SECRET = "step-key";

/** Derives keys under a secret that whoever needs it first draws and puts into the store. */
export class StepSecret {
  readonly #store: Store;
  readonly #calls: StoreCalls;
  readonly #hmac: Hmac;
  #secret: Promise<Uint8Array> | null = null;

  constructor(store: Store, calls: StoreCalls, hmac: Hmac) {
    this.#store = store;
    this.#calls = calls;
    this.#hmac = hmac;
  }

  /** The key of a step. Rejects with `store_unavailable` where the secret cannot be read for half a lease. */
  async keyOf(claim: StepClaim, name: string): Promise<string> {
    this.#secret ??= this.#read(claim);
    // As JSON, which has a spelling for every string, lone surrogates too.
    return uuidOf(this.#hmac(await this.#secret, `onceward step 1\0${claim.id}\0${JSON.stringify(name)}`));
  }

  async #read({ id, runId, leaseMs }: StepClaim): Promise<Uint8Array> {
    try {
      return await this.#calls.insist("read the key of steps", runId, id, () => this.#shared(), leaseMs / 2);
    } catch (error) {
      this.#secret = null;
      throw error;
    }
  }

  async #shared(): Promise<Uint8Array> {
    const known = await this.#store.getShared(SECRET);
    if (known !== null) return known;
    const drawn = crypto.getRandomValues(new Uint8Array(32));
    if (await this.#store.setShared(SECRET, drawn, null)) return drawn;
    const other = await this.#store.getShared(SECRET);
    if (other === null) throw new Error("a shared value is neither set nor unset");
    return other;
  }
}

/** As UUIDv4 (RFC 9562 §5.4), the form that every service takes: its bits are random to all who lack the secret. */
function uuidOf(bytes: Uint8Array): string {
  const hex = Array.from(bytes.subarray(0, 16), (byte, index) => {
    const marked = index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte;
    return marked.toString(16).padStart(2, "0");
  }).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
