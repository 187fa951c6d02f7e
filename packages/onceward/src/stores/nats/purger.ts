// Deletes expired records, and chunks that no record names, in bounded batches (SPEC §4.10).

import type { RecordId } from "../../core/record.js";
import { isOrphan } from "../heads/chunks.js";
import type { Head } from "../heads/head.js";
import type { Listed, NatsBucket, Zone } from "./bucket.js";
import { ExpiryZones } from "./expiry-zones.js";
import { CHUNKS, idOf, listedHead, RECORDS } from "./keys.js";

export interface PurgerOptions {
  readonly bucket: NatsBucket;
  /** What expiry is judged by. */
  readonly judgedAt: () => number;
  /** Deletes a record as it was found, with its chunks, and answers whether it still was there. */
  readonly remove: (id: RecordId, revision: number, head: Head | null) => Promise<boolean>;
  readonly read: (id: RecordId) => Promise<Head | null>;
}

/** Records that are deleted at once. */
const ABREAST = 50;
/** All is read anew so often, since what a lagging replica did not show would be missed for ever. */
const ANEW_EVERY_MS = 24 * 3_600_000;
/** Chunks are orphaned where a process dies between writing them and their record: rarely. */
const ORPHANS_EVERY_MS = 600_000;

export class Purger {
  readonly #options: PurgerOptions;
  #zones = new ExpiryZones();
  #anewAt = performance.now() + ANEW_EVERY_MS;
  #orphansAt = 0;
  #before: Promise<unknown> = Promise.resolve();

  constructor(options: PurgerOptions) {
    this.#options = options;
  }

  /** Deletes up to `limit` expired records, and answers how many. One purge follows another. */
  purge(limit: number): Promise<number> {
    const purge = this.#before.then(() => this.#purge(limit));
    this.#before = purge.catch(() => {});
    return purge;
  }

  async #purge(limit: number): Promise<number> {
    if (performance.now() >= this.#anewAt) {
      this.#anewAt = performance.now() + ANEW_EVERY_MS;
      this.#zones = new ExpiryZones();
    }
    let purged = 0;
    for (const zone of this.#zones.due(this.#options.judgedAt())) {
      purged += await this.#purgeZone(zone, limit - purged);
      if (purged >= limit) return purged;
    }
    if (performance.now() >= this.#orphansAt) {
      this.#orphansAt = performance.now() + ORPHANS_EVERY_MS;
      await this.#purgeOrphans();
    }
    return purged;
  }

  async #purgeZone(zone: Zone, limit: number): Promise<number> {
    const { bucket, judgedAt } = this.#options;
    const now = judgedAt();
    const reading = this.#zones.reading(zone);
    let purged = 0;
    let batch: Listed[] = [];
    const flush = async (): Promise<void> => {
      const removed = await Promise.all(batch.map((listed) => this.#remove(listed)));
      purged += removed.filter(Boolean).length;
      batch = [];
    };
    for await (const listed of bucket.scan(`${RECORDS}*`, zone)) {
      const freeAt = freeFrom(listed);
      if (freeAt > now) {
        reading.stays(listed.revision, freeAt);
        continue;
      }
      if (purged + batch.length >= limit) {
        await flush();
        reading.end();
        return purged;
      }
      batch.push(listed);
      reading.goes(listed.revision);
      if (batch.length === ABREAST) await flush();
    }
    await flush();
    reading.end(zone.to);
    return purged;
  }

  /** Whether it was a record; what another client left where it deleted one goes too, uncounted. */
  async #remove(listed: Listed): Promise<boolean> {
    const head = listedHead(listed);
    const removed = await this.#options.remove(idOf(listed.key), listed.revision, head);
    return removed && head !== null;
  }

  async #purgeOrphans(): Promise<void> {
    const { bucket, read } = this.#options;
    const chunks = new Map<RecordId, Listed[]>();
    // All of them first: whether a chunk is an orphan is judged by a head that is read after the chunk was seen.
    for await (const listed of bucket.scan(`${CHUNKS}>`)) {
      const id = idOf(listed.key);
      chunks.set(id, [...(chunks.get(id) ?? []), listed]);
    }
    for (const [id, all] of chunks) {
      const head = await read(id).catch(() => undefined);
      // What cannot be read is left alone.
      if (head === undefined) continue;
      for (const { key, revision } of all) {
        if (isOrphan(key.slice(CHUNKS.length + id.length + 1), head)) await bucket.remove(key, revision);
      }
    }
  }
}

/** From when on a record may be deleted: a marker at once, what cannot be read never. */
function freeFrom(listed: Listed): number {
  try {
    const head = listedHead(listed);
    return head === null ? 0 : Math.max(head.record.expiresAt, head.record.leaseUntil);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
