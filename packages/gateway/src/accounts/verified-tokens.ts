// Tokens that were verified a moment ago, so that a busy caller's signature is not checked for every request.

import type { Clock } from "onceward";
import type { AccountReading } from "onceward/http";

const MAX_TOKENS = 10_000;
/** A key that its issuer withdraws is not believed for longer than this beyond the age of the key set. */
const MAX_AGE_MS = 60_000;

export interface VerifiedTokens {
  /** By the token's digest; undefined where it is not known, or no longer. */
  get(digest: string): AccountReading | undefined;
  /** `expiresAt` is the token's own, epoch milliseconds. */
  put(digest: string, reading: AccountReading, expiresAt: number): void;
}

export function verifiedTokens(clock: Clock): VerifiedTokens {
  // Two generations: the older one is dropped as a whole, and what was used since has moved to the younger.
  type Entry = { readonly reading: AccountReading; readonly expiresAt: number; readonly since: number };
  let young = new Map<string, Entry>();
  let old = new Map<string, Entry>();
  const keep = (digest: string, entry: Entry): void => {
    if (young.size >= MAX_TOKENS / 2) {
      old = young;
      young = new Map();
    }
    young.set(digest, entry);
  };
  return {
    get(digest) {
      const entry = young.get(digest) ?? old.get(digest);
      if (entry === undefined) return undefined;
      if (clock.now() >= entry.expiresAt || clock.monotonic() - entry.since >= MAX_AGE_MS) {
        young.delete(digest);
        old.delete(digest);
        return undefined;
      }
      if (!young.has(digest)) keep(digest, entry);
      return entry.reading;
    },
    put(digest, reading, expiresAt) {
      keep(digest, { reading, expiresAt, since: clock.monotonic() });
    },
  };
}
