// Remembers in the store how its answers were sealed, so that what can no longer be opened is said at start.

import { isIdempotencyError, type Store } from "onceward";
import { sealingKeyOf } from "onceward/stores/sealed";
import type { GatewayConfig } from "./config.js";
import { longestRetentionMs } from "./routes.js";

/** Under which name the store holds the mark. */
export const SEAL_MARK = "answer-sealing";

const ATTEMPTS = 20;
/** Added to how long replaced ways are remembered: a gateway that was started before may go on in its way for a while. */
const SLACK_MS = 3_600_000;

/** How answers were recorded: sealed with a key of this id, or not (null). */
interface Way {
  readonly key: string | null;
  /** When the last answer that was recorded so has expired, epoch milliseconds; null for the way in use. */
  readonly until: number | null;
}

interface Mark {
  readonly version: 1;
  /** The longest retention that any gateway on this store was ever started with. */
  readonly retentionMs: number;
  /** The one in use first. */
  readonly ways: readonly Way[];
}

/** The parts of a `GatewayConfig` that say how answers are recorded and for how long they are kept. */
export type SealingConfig = Pick<GatewayConfig, "encryption" | "acceptUnsealed" | "routes">;

/**
 * Marks the store as recorded into in this configuration's way, and answers warnings about answers that the
 * configuration cannot open (SPEC §9.1): a start is not refused for them, since all other keys are served.
 *
 * @throws IdempotencyError `store_unavailable`.
 */
export async function markSealing(store: Store, config: SealingConfig, now: number = Date.now()): Promise<string[]> {
  // What ends with the process was recorded by this one alone.
  if (store.info.durability === "process") return [];
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const bytes = await store.getShared(SEAL_MARK);
    const before = bytes === null ? null : parse(bytes);
    // A newer version's: it is left alone.
    if (before === undefined) return [];
    const mark = await advance(store, before, config, now);
    if (JSON.stringify(mark) === JSON.stringify(before)) return warningsOf(mark, config);
    if (await store.setShared(SEAL_MARK, new TextEncoder().encode(JSON.stringify(mark)), bytes))
      return warningsOf(mark, config);
  }
  return [];
}

/** What keeps an answer that is recorded with these keys from being opened by the gateways on the store; else null. */
export async function sealFault(store: Store, encryption: GatewayConfig["encryption"]): Promise<string | null> {
  const bytes = await store.getShared(SEAL_MARK);
  const key = bytes === null ? null : (parse(bytes)?.ways[0]?.key ?? null);
  if (key === null || encryption.some(({ id }) => id === key)) return null;
  return `answers in this store are sealed with the key "${key}", which is not given here; set \`encryption\`, or name the gateway's configuration with --config`;
}

async function advance(store: Store, before: Mark | null, config: SealingConfig, now: number): Promise<Mark> {
  const key = config.encryption[0]?.id ?? null;
  const retentionMs = Math.max(before?.retentionMs ?? 0, longestRetentionMs(config.routes));
  const earlier = before?.ways ?? [await sampled(store, config)].filter((way) => way !== null);
  const inUse = { key, until: null };
  // The usual start: nothing has changed, and nothing is looked up.
  if (before !== null && earlier.length === 1 && earlier[0]?.key === key)
    return { version: 1, retentionMs, ways: [inUse] };
  const done = await store.list({ state: "done", limit: 1 });
  if (done.items.length === 0) return { version: 1, retentionMs, ways: [inUse] };
  const replaced = earlier
    .filter((way) => way.key !== key)
    .map((way) => ({ key: way.key, until: way.until ?? now + retentionMs + SLACK_MS }));
  return { version: 1, retentionMs, ways: [inUse, ...replaced.filter(({ until }) => until > now)] };
}

/** How the newest answer of a store without a mark was recorded; null where there is none to go by. */
async function sampled(store: Store, { encryption }: SealingConfig): Promise<Way | null> {
  const [newest] = (await store.list({ state: "done", limit: 1 })).items;
  if (newest === undefined) return null;
  try {
    const payload = (await store.find(newest.id))?.record.payload ?? null;
    // With keys it was opened by one of them, or is accepted as it is.
    return payload === null || encryption.length > 0 ? null : { key: sealingKeyOf(payload), until: null };
  } catch (error) {
    if (!isIdempotencyError(error, "store_corrupt")) throw error;
    const key = error.details["sealedWith"];
    return key === null || typeof key === "string" ? { key, until: null } : null;
  }
}

function warningsOf({ ways }: Mark, { encryption, acceptUnsealed }: SealingConfig): string[] {
  const warnings: string[] = [];
  const unsealed = ways.find((way) => way.key === null && way.until !== null);
  const given = new Set(encryption.map(({ id }) => id));
  const missing = ways.filter(({ key }) => key !== null && !given.has(key));
  if (encryption.length > 0 && unsealed !== undefined && !acceptUnsealed) {
    warnings.push(
      `the store holds answers from before \`encryption\` was set: until they have expired (${instant(unsealed)}) their retries get 500; set \`acceptUnsealed: true\` until then to replay them`,
    );
  }
  if (encryption.length > 0 && unsealed === undefined && acceptUnsealed) {
    warnings.push("acceptUnsealed: true is not needed any more: every answer in the store is sealed; remove it");
  }
  if (missing.length > 0) {
    const names = missing.map(({ key }) => JSON.stringify(key)).join(", ");
    const fix = encryption.length === 0 ? "set it again with them" : "list them there too, behind the first";
    const last = missing.reduce((a, b) => ((a.until ?? 0) > (b.until ?? 0) ? a : b));
    warnings.push(
      `the store holds answers that are sealed with keys that are not in \`encryption\` (${names}): until they have expired (${instant(last)}) their retries get 500; ${fix}`,
    );
  }
  return warnings;
}

function instant({ until }: Way): string {
  return until === null ? "" : `by ${new Date(until).toISOString().slice(0, 16)}Z`;
}

/** undefined where it is none of a version that is known here. */
function parse(bytes: Uint8Array): Mark | undefined {
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Mark>;
    if (value.version === 1 && Array.isArray(value.ways) && Number.isFinite(value.retentionMs)) return value as Mark;
  } catch {
    // Not this gateway's to judge: the promise does not rest on it.
  }
  return undefined;
}
