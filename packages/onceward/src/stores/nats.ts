// Records in a bucket of NATS JetStream: one key each, changed by compare-and-set on its revision.

import { setTimeout as sleep } from "node:timers/promises";
import { IdempotencyError, isIdempotencyError } from "../core/errors.js";
import type { Page } from "../core/page.js";
import type { Answer, Fence, RecordId, StoredRecord } from "../core/record.js";
import { decodeEntries } from "../core/step-log.js";
import type { ClaimRequest, ClaimResult, Durability, Found, RecordQuery, Store, StoreInfo } from "../core/store.js";
import { type Head, type Moment, momentAt } from "./heads/head.js";
import { InFlight } from "./heads/in-flight.js";
import * as transitions from "./heads/transitions.js";
import { NatsBucket } from "./nats/bucket.js";
import type { NatsStreamConfig } from "./nats/client.js";
import { ClockCheck } from "./nats/clock-check.js";
import { NatsHeads, type Seen } from "./nats/heads.js";
import { SHARED, sharedKey } from "./nats/keys.js";
import { countRecords, listRecords } from "./nats/listing.js";
import { openBucket, streamConfig } from "./nats/opening.js";
import { Purger } from "./nats/purger.js";
import { RecordCount } from "./nats/record-count.js";
import { NATS_DEFAULTS, type NatsSettings, type NatsStoreOptions, natsSettings } from "./nats/settings.js";
import { NatsWaiting } from "./nats/waiting.js";
import { assertIds } from "./sql/checks.js";

export type { JetStreamLike, NatsConnectionLike, NatsHeadersLike, NatsStreamConfig } from "./nats/client.js";
export type { NatsStoreOptions } from "./nats/settings.js";

const MAX_QUEUED = 20_000;
/** Others may change a record between reading and writing so often in a row; each time one of them got on. */
const GIVE_UP_AFTER_MS = 10_000;
/** Attempts that follow at once; later ones wait a little, since what was read may lag behind. */
const QUICK_ATTEMPTS = 4;
/** Claims of this node that it remembers, so that it need not read them before it changes them. */
const REMEMBERED = 10_000;
/** Of each, the longest step log that is kept in memory. */
const REMEMBERED_BYTES = 4_096;

/**
 * A store on JetStream KV, nats-server 2.9 or later. A claim is one round trip where the key is new; a duplicate's is
 * two, since NATS can create a key or read it, not both at once (SPEC §4.1). NATS has no clock that clients could judge
 * by, so the nodes' clocks do, with a declared skew. There is no history.
 *
 * @throws IdempotencyError `config_invalid` where the bucket's name or a number is not a possible one.
 */
export function natsStore(options: NatsStoreOptions): Store {
  return new NatsStore(options);
}

/** The stream that the store keeps its bucket in, for `jsm.streams.add()`, where `migrate: false`. */
export function natsStream(options: { readonly bucket?: string; readonly replicas?: number } = {}): NatsStreamConfig {
  return streamConfig(options.bucket ?? NATS_DEFAULTS.bucket, options.replicas ?? NATS_DEFAULTS.replicas);
}

/** What is to be made of a head at a moment. */
type Decide = (head: Head | null, moment: Moment) => transitions.Move<boolean>;

const NOTHING: Seen = { head: null, revision: 0 };

class NatsStore implements Store {
  readonly waiting: NatsWaiting;
  readonly #settings: NatsSettings;
  readonly #now: () => number;
  readonly #bucket: NatsBucket;
  readonly #heads: NatsHeads;
  readonly #lane: InFlight;
  readonly #clockCheck: ClockCheck;
  readonly #count: RecordCount;
  readonly #purger: Purger;
  /** Heads of records that this node owns, as it wrote them last. */
  readonly #remembered = new Map<RecordId, Seen>();
  #durability: Durability;

  constructor(options: NatsStoreOptions) {
    const settings = natsSettings(options);
    this.#settings = settings;
    this.#now = options.now ?? Date.now;
    this.#durability = options.durability ?? "crash";
    this.#bucket = new NatsBucket({ ...options, bucket: settings.bucket });
    this.#heads = new NatsHeads(this.#bucket);
    this.waiting = new NatsWaiting(options.connection, settings.bucket);
    const { maxBatch, longestWaitMs } = settings;
    this.#lane = new InFlight({ name: "NATS", most: maxBatch, longestWaitMs, maxQueued: MAX_QUEUED });
    this.#clockCheck = new ClockCheck(this.#bucket, this.#now, settings);
    const judgedAt = () => this.#moment().judgedAt;
    this.#count = new RecordCount({
      limits: settings.limits,
      size: () => this.#bucket.size(),
      count: () => countRecords(this.#bucket, judgedAt()),
    });
    this.#purger = new Purger({
      bucket: this.#bucket,
      judgedAt,
      remove: (id, revision, head) => this.#heads.remove(id, { head, revision }),
      read: async (id) => (await this.#heads.read(id)).head,
    });
  }

  get info(): StoreInfo {
    return {
      name: "nats",
      durability: this.#durability,
      maxRetentionMs: Number.MAX_SAFE_INTEGER,
      shared: true,
      maxClockSkewMs: this.#settings.maxClockSkewMs,
    };
  }

  open(): Promise<void> {
    return this.#lane.run(async () => {
      const kept = await openBucket(this.#bucket, this.#settings);
      if (kept !== "crash") this.#durability = kept;
      await this.#clockCheck.look();
      await this.#count.prepare();
    });
  }

  claim(request: ClaimRequest): Promise<ClaimResult> {
    return this.#lane.run(async () => {
      assertIds(request.id, request.fence);
      try {
        return await this.#claim(request);
      } catch (error) {
        // The bucket's own bounds.
        if (isIdempotencyError(error) && error.details["full"] === true) return { outcome: "full", limit: "store" };
        throw error;
      }
    });
  }

  renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean> {
    return this.#change(id, (head, moment) => transitions.renew(head, moment, fence, leaseMs));
  }

  complete(id: RecordId, fence: Fence, answer: Answer): Promise<boolean> {
    const own = ownCopy(answer);
    return this.#end(id, (head, moment) => transitions.complete(head, moment, fence, own));
  }

  interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean> {
    return this.#end(id, (head, moment) => transitions.interrupt(head, moment, fence, status, by));
  }

  takeOver(id: RecordId, fence: Fence, next: Parameters<Store["takeOver"]>[2]): Promise<boolean> {
    return this.#end(id, (head, moment) => transitions.takeOver(head, moment, fence, next), next.fence);
  }

  settle(
    id: RecordId,
    fence: Fence,
    { fence: nextFence, answer }: { readonly fence: Fence; readonly answer: Answer },
  ): Promise<boolean> {
    const next = { fence: nextFence, answer: ownCopy(answer) };
    return this.#end(id, (head, moment) => transitions.settle(head, moment, fence, next), nextFence);
  }

  release(id: RecordId, fence: Fence): Promise<boolean> {
    return this.#end(id, (head, moment) => transitions.release(head, moment, fence));
  }

  appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean> {
    const own = new Uint8Array(entry);
    return this.#change(id, (head, moment) => transitions.appendStep(head, moment, fence, own));
  }

  readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    return this.#lane.run(async () => {
      assertIds(id);
      for (const attempt = this.#attempts(); ; await attempt()) {
        const { head, revision } = await this.#heads.read(id);
        const owned = transitions.stepsOf(head, this.#moment(), fence);
        if (owned === null) return null;
        const log = await this.#heads.content(id, { head: owned, revision });
        if (log !== null) return decodeEntries(log);
      }
    });
  }

  find(id: RecordId): Promise<Found | null> {
    return this.#lane.run(async () => {
      assertIds(id);
      for (const attempt = this.#attempts(); ; await attempt()) {
        const { head, revision } = await this.#heads.read(id);
        const moment = this.#moment();
        const found = transitions.live(head, moment);
        if (found === null) return null;
        const record = await this.#recordOf({ head: found, revision });
        if (record !== null) return { record, now: moment.judgedAt };
      }
    });
  }

  list(query: RecordQuery): Promise<Page<StoredRecord>> {
    return this.#lane.run(() => listRecords(this.#bucket, query, this.#moment().judgedAt));
  }

  purge(limit: number): Promise<number> {
    return this.#lane.run(async () => {
      await this.#clockCheck.look();
      return this.#purger.purge(limit);
    });
  }

  getShared(name: string): Promise<Uint8Array | null> {
    return this.#lane.run(async () => {
      const stored = await this.#bucket.get(sharedKey(name));
      return stored?.note === SHARED ? stored.data : null;
    });
  }

  setShared(name: string, value: Uint8Array, expected: Uint8Array | null): Promise<boolean> {
    const own = new Uint8Array(value);
    const expectedOwn = expected === null ? null : new Uint8Array(expected);
    return this.#lane.run(async () => {
      const key = sharedKey(name);
      const stored = await this.#bucket.get(key);
      const current = stored?.note === SHARED ? stored.data : null;
      if (!sameBytes(current, expectedOwn)) return false;
      return (await this.#bucket.put(key, stored?.revision ?? 0, SHARED, own)) !== null;
    });
  }

  async close(): Promise<void> {
    await this.#lane.close();
    await this.#heads.close();
    this.waiting.close();
    this.#bucket.close();
    this.#remembered.clear();
  }

  async #claim(request: ClaimRequest): Promise<ClaimResult> {
    const { id, labels } = request;
    const limit = await this.#count.reached(labels.account);
    // Created where nothing is there, and only where that fails looked at; where there is no room the other way round.
    let seen: Seen | null = limit === null ? NOTHING : null;
    for (const attempt = this.#attempts(); ; await attempt()) {
      seen ??= await this.#heads.read(id);
      const moment = this.#moment();
      const move = transitions.claim(seen.head, moment, request);
      if (move.met === "other") {
        const record = await this.#recordOf({ head: move.head, revision: seen.revision });
        if (record !== null) return { outcome: "found", record, now: moment.judgedAt };
      } else {
        if (move.met === "new" && limit !== null) return { outcome: "full", limit };
        if (await this.#write(id, seen, move.next)) {
          if (move.met === "new") this.#count.made(labels.account);
          return { outcome: "claimed", record: move.next.record, now: moment.judgedAt };
        }
      }
      seen = null;
    }
  }

  /** A change that others may wait for. */
  async #end(id: RecordId, decide: Decide, ...fences: readonly Fence[]): Promise<boolean> {
    const held = await this.#change(id, decide, ...fences);
    if (held) this.waiting.changed(id);
    return held;
  }

  /** Reads, decides, and writes what was decided where nobody else wrote meanwhile; else again. */
  #change(id: RecordId, decide: Decide, ...fences: readonly Fence[]): Promise<boolean> {
    return this.#lane.run(async () => {
      assertIds(id, ...fences);
      let seen = this.#remembered.get(id) ?? null;
      for (const attempt = this.#attempts(); ; await attempt()) {
        const read = seen === null;
        seen ??= await this.#heads.read(id);
        const { answer, next } = decide(seen.head, this.#moment());
        // What was remembered may be over: only what was read says that there is nothing to write.
        if (next === "unchanged") {
          if (read) return answer;
        } else {
          const done = next === "delete" ? await this.#release(id, seen) : await this.#write(id, seen, next);
          if (done) return answer;
        }
        this.#remembered.delete(id);
        seen = null;
      }
    });
  }

  async #write(id: RecordId, seen: Seen, next: Head): Promise<boolean> {
    const written = await this.#heads.write(id, seen, next);
    if (written === null) return false;
    this.#remember(id, written, next);
    return true;
  }

  async #release(id: RecordId, seen: Seen): Promise<boolean> {
    if (!(await this.#heads.remove(id, seen))) return false;
    this.#remembered.delete(id);
    if (seen.head !== null) this.#count.gone(seen.head.record.account);
    return true;
  }

  #remember(id: RecordId, seen: Seen, { record, content }: Head): void {
    this.#remembered.delete(id);
    if (record.state === "done" || content.inline.byteLength > REMEMBERED_BYTES) return;
    this.#remembered.set(id, seen);
    if (this.#remembered.size <= REMEMBERED) return;
    const [oldest] = this.#remembered.keys();
    if (oldest !== undefined) this.#remembered.delete(oldest);
  }

  /** The record as callers get it; null where it was changed while its payload was read. */
  async #recordOf(seen: Seen & { readonly head: Head }): Promise<StoredRecord | null> {
    const { record } = seen.head;
    if (record.state !== "done") return record;
    const payload = await this.#heads.content(record.id, seen);
    return payload === null ? null : { ...record, payload };
  }

  #moment(): Moment {
    return momentAt(this.#now(), this.#settings.maxClockSkewMs);
  }

  /** What to wait for before the next attempt at a record that others changed meanwhile. */
  #attempts(): () => Promise<void> {
    const until = performance.now() + GIVE_UP_AFTER_MS;
    let attempts = 0;
    return async () => {
      if (performance.now() > until) {
        const reason = `Others kept changing a record for ${GIVE_UP_AFTER_MS} ms, or NATS answers what is no longer so.`;
        throw new IdempotencyError("store_unavailable", reason);
      }
      if (++attempts > QUICK_ATTEMPTS) await sleep(Math.random() * 2 * attempts);
    };
  }
}

function sameBytes(one: Uint8Array | null, other: Uint8Array | null): boolean {
  if (one === null || other === null) return one === other;
  return one.byteLength === other.byteLength && one.every((byte, index) => byte === other[index]);
}

/** Callers may change their bytes while they are on their way (SPEC P2). */
function ownCopy({ status, payload }: Answer): Answer {
  return { status, payload: new Uint8Array(payload) };
}
