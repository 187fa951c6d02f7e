// The settings of a NATS store: declared, defaulted, and refused where they are not possible.

import { IdempotencyError } from "../../core/errors.js";
import { DEFAULT_STORE_LIMITS, type StoreLimits } from "../../core/store.js";
import type { GatheringOptions } from "../gathering/gatherer.js";
import { assertWholeNumbers } from "../sql/checks.js";
import type { JetStreamLike, NatsConnectionLike, NatsHeadersLike } from "./client.js";

export interface NatsStoreOptions {
  /** `await connect({ servers })` of `@nats-io/transport-node`. It stays its user's: the store never closes it. */
  readonly connection: NatsConnectionLike;
  /** `jetstream(connection)` of `@nats-io/jetstream`. Its timeout is how long one request may take. */
  readonly jetstream: JetStreamLike;
  /** The function `headers` of `@nats-io/transport-node`. */
  readonly headers: () => NatsHeadersLike;
  /** Default `onceward`. Letters, digits, `-` and `_`. */
  readonly bucket?: string;
  /** Whether to create the bucket where it is missing. Default true; else create it by `natsStream()`. */
  readonly migrate?: boolean;
  /** How many servers keep a copy, where the bucket is created here: 1 (default), 3 or 5. */
  readonly replicas?: number;
  /**
   * How far the clocks of any two nodes may be apart, in milliseconds (SPEC §4.3). Leases and retentions last so much
   * longer before anybody takes them for over. Default 2000; shorter than every lease.
   */
  readonly maxClockSkewMs?: number;
  /**
   * `power-loss` says that the servers sync each write (`sync_interval: always`), which they do not tell their clients.
   * Default: what the bucket's storage promises by itself, which is `crash`.
   */
  readonly durability?: "power-loss";
  /** Bounds on records (SPEC §9.4). Several nodes may exceed them by what they add between two counts. */
  readonly limits?: Partial<StoreLimits>;
  /**
   * NATS has no batches: operations go out side by side, `maxBatch` (default 256) at once. One that takes longer than
   * `longestWaitMs` (default 250) no longer counts.
   */
  readonly gathering?: Partial<GatheringOptions>;
  /** Is told once, at start, of settings that endanger records. Default: one line on stderr. */
  readonly onWarning?: (message: string) => void;
  /** @internal For tests: the node's clock. */
  readonly now?: () => number;
}

export const NATS_DEFAULTS = {
  bucket: "onceward",
  replicas: 1,
  maxClockSkewMs: 2_000,
  maxBatch: 256,
  longestWaitMs: 250,
} as const;

/** The options with their defaults. */
export interface NatsSettings {
  readonly bucket: string;
  readonly replicas: number;
  readonly migrate: boolean;
  readonly maxClockSkewMs: number;
  readonly limits: StoreLimits;
  readonly maxBatch: number;
  readonly longestWaitMs: number;
  readonly warn: (message: string) => void;
}

/** The least that each number may be. */
const LEAST = { replicas: 1, maxClockSkewMs: 0, maxRecords: 0, maxRecordsPerAccount: 0, maxBatch: 1, longestWaitMs: 0 };

/** @throws IdempotencyError `config_invalid` */
export function natsSettings(options: NatsStoreOptions): NatsSettings {
  const { gathering = {} } = options;
  const settings: NatsSettings = {
    bucket: options.bucket ?? NATS_DEFAULTS.bucket,
    replicas: options.replicas ?? NATS_DEFAULTS.replicas,
    migrate: options.migrate ?? true,
    maxClockSkewMs: options.maxClockSkewMs ?? NATS_DEFAULTS.maxClockSkewMs,
    limits: { ...DEFAULT_STORE_LIMITS, ...options.limits },
    maxBatch: gathering.maxBatch ?? NATS_DEFAULTS.maxBatch,
    longestWaitMs: gathering.longestWaitMs ?? NATS_DEFAULTS.longestWaitMs,
    warn: options.onWarning ?? ((message) => console.warn(`onceward: ${message}`)),
  };
  assertWholeNumbers("natsStore", { ...settings, ...settings.limits }, LEAST);
  if (/^[-\w]+$/.test(settings.bucket) && settings.replicas <= 5) return settings;
  const reason = "its `bucket` is to be of letters, digits, - and _, and `replicas` 1, 3 or 5";
  throw new IdempotencyError("config_invalid", `natsStore's options are not possible: ${reason}.`);
}
