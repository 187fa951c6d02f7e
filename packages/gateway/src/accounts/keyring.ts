// The account key: the secret that credentials are digested with, held in the store so that all gateways agree on it.

import { randomBytes, scryptSync } from "node:crypto";
import { type Clock, IdempotencyError, type Store, systemClock } from "onceward";
import type { AccountKeys } from "onceward/http";

export interface Keyring {
  /** At hand for most calls; now and then the store is asked whether another gateway has replaced the key. */
  keys(): AccountKeys | Promise<AccountKeys>;
}

export interface KeyringOptions {
  /** The longest that any route keeps a record, in milliseconds: so long a replaced key is still accepted. */
  readonly longestRetentionMs: number;
  readonly clock?: Clock;
}

/** Under which name the store holds the ring. */
export const SHARED_NAME = "account-keys";

/**
 * A gateway's picture of the ring is never older than this, and a new key is not used before every gateway has had
 * time to see it. Without that, a gateway that still knows only the old key would not find what another one recorded
 * under the new key, and would run it again.
 */
export const REFRESH_MS = 5_000;
export const ACTIVATION_MS = 15_000;
/** Added to how long a replaced key is kept, for clocks of nodes that differ. */
const SLACK_MS = 60_000;
const MAX_KEYS = 16;
const ATTEMPTS = 50;

interface StoredKey {
  /** Base64; 32 bytes. */
  readonly key: string;
  /** From when on it is used, epoch milliseconds. */
  readonly activeAt: number;
  /** Until when it is accepted; null for the newest. */
  readonly keepUntil: number | null;
}

interface Ring {
  readonly version: 1;
  /** The longest retention that any gateway on this store was ever configured with. */
  readonly retentionMs: number;
  /** Newest first. */
  readonly keys: readonly [StoredKey, ...StoredKey[]];
}

/**
 * Opens the ring of `store`, making it where there is none, and makes `secret` its newest key where that differs.
 *
 * What is stored of a configured secret is a key derived from it with scrypt: enough to digest credentials, which is
 * needed for as long as the records of a replaced secret live, and not the secret itself.
 *
 * @throws IdempotencyError `store_unavailable`, or `store_corrupt` where the store holds something else by that name.
 */
export async function openKeyring(store: Store, secret: string | null, options: KeyringOptions): Promise<Keyring> {
  const clock = options.clock ?? systemClock;
  const configured = secret === null ? null : deriveKey(secret);
  let accepted = acceptedKeys(await agree(store, configured, options.longestRetentionMs, clock));
  let readAt = clock.monotonic();
  let refreshing: Promise<void> | null = null;

  const refresh = async (): Promise<void> => {
    try {
      const bytes = await withTimeout(store.getShared(SHARED_NAME), clock);
      if (bytes !== null) accepted = acceptedKeys(parseRing(bytes));
    } catch {
      // The picture at hand stays. A store that cannot be asked cannot be claimed in either, so nothing runs meanwhile.
    }
    readAt = clock.monotonic();
    refreshing = null;
  };
  return {
    keys() {
      if (clock.monotonic() - readAt < REFRESH_MS) return accepted(clock.now());
      refreshing ??= refresh();
      return refreshing.then(() => accepted(clock.now()));
    },
  };
}

/** Brings the stored ring to what this gateway needs, against others that do the same at the same time. */
async function agree(store: Store, configured: string | null, retentionMs: number, clock: Clock): Promise<Ring> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const before = await store.getShared(SHARED_NAME);
    const ring = before === null ? null : parseRing(before);
    const now = clock.now();
    const wanted = next(ring, configured, retentionMs, store.info.shared ? now + ACTIVATION_MS : now, now);
    if (wanted === ring) return wanted;
    if (await store.setShared(SHARED_NAME, new TextEncoder().encode(JSON.stringify(wanted)), before)) return wanted;
  }
  throw new IdempotencyError(
    "store_unavailable",
    `The account key in the ${store.info.name} store changed ${ATTEMPTS} times while this gateway tried to read it: are gateways with different account secrets started over and over?`,
  );
}

/** The ring as it should be; `ring` itself where it is so already. */
function next(ring: Ring | null, configured: string | null, retentionMs: number, activeAt: number, now: number): Ring {
  if (ring === null) {
    const key = configured ?? randomBytes(32).toString("base64");
    return { version: 1, retentionMs, keys: [{ key, activeAt: now, keepUntil: null }] };
  }
  const longestMs = Math.max(ring.retentionMs, retentionMs);
  const replaces = configured !== null && configured !== ring.keys[0].key;
  if (!replaces && longestMs === ring.retentionMs) return ring;
  const grownMs = longestMs - ring.retentionMs;
  const [newest, ...rest] = ring.keys;
  const older = rest.map((key) => (key.keepUntil === null ? key : { ...key, keepUntil: key.keepUntil + grownMs }));
  if (!replaces) return { version: 1, retentionMs: longestMs, keys: [newest, ...older] };
  const retired = [{ ...newest, keepUntil: activeAt + longestMs + SLACK_MS }, ...older].filter(
    (key) => key.key !== configured && (key.keepUntil ?? now) > now,
  );
  if (retired.length >= MAX_KEYS) {
    throw new IdempotencyError(
      "config_invalid",
      `account.accountKey was replaced ${MAX_KEYS} times within one retention period: go back to an earlier secret, or wait until records made under them have expired.`,
    );
  }
  return {
    version: 1,
    retentionMs: longestMs,
    keys: [{ key: configured, activeAt, keepUntil: null }, ...retired],
  };
}

/** The keys of a ring at an instant, worked out anew only where that changes them. */
function acceptedKeys({ keys: stored }: Ring): (now: number) => AccountKeys {
  const keys = stored.map((key) => ({ ...key, bytes: Buffer.from(key.key, "base64") }));
  const changesAt = keys.flatMap(({ activeAt, keepUntil }) =>
    keepUntil === null ? [activeAt] : [activeAt, keepUntil],
  );
  let known: AccountKeys | null = null;
  let from = 0;
  let until = 0;
  return (now) => {
    if (known !== null && now >= from && now < until) return known;
    from = Math.max(Number.NEGATIVE_INFINITY, ...changesAt.filter((at) => at <= now));
    until = Math.min(Number.POSITIVE_INFINITY, ...changesAt.filter((at) => at > now));
    const accepted = keys.filter((key) => key.keepUntil === null || key.keepUntil > now);
    // Where a clock is so far behind that none is in use yet, the oldest is what the other gateways used last.
    const inUse = accepted.find((key) => key.activeAt <= now) ?? accepted.at(-1);
    if (inUse === undefined) throw new TypeError("An account key ring has a newest key.");
    const others = accepted.filter((key) => key !== inUse).map(({ bytes }) => bytes);
    known = [inUse.bytes, ...others];
    return known;
  };
}

function deriveKey(secret: string): string {
  return scryptSync(secret, "onceward account key 1", 32, { N: 32_768, r: 8, p: 1, maxmem: 64 * 1_048_576 }).toString(
    "base64",
  );
}

function parseRing(bytes: Uint8Array): Ring {
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Partial<Ring>;
    const sound = value.version === 1 && Number.isFinite(value.retentionMs) && Array.isArray(value.keys);
    if (sound && value.keys.length > 0 && value.keys.every(isStoredKey)) return value as Ring;
  } catch {
    // Said below, in words for the operator.
  }
  throw new IdempotencyError(
    "store_corrupt",
    `The store's entry "${SHARED_NAME}" is not a list of account keys of a version that this gateway knows.`,
  );
}

function isStoredKey(value: StoredKey): boolean {
  const { key, activeAt, keepUntil } = value;
  return typeof key === "string" && Number.isFinite(activeAt) && (keepUntil === null || Number.isFinite(keepUntil));
}

function withTimeout<T>(promise: Promise<T>, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(REFRESH_MS, () => reject(new Error("the store did not answer")));
    promise.then(resolve, reject).finally(cancel);
  });
}
