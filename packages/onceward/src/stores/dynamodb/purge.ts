// Purging: walks the index, oldest first, and deletes what has expired, in small batches.

import type { Moment } from "../heads/head.js";
import { CHUNK_STATE } from "./chunks.js";
import type { DynamoDBItem } from "./client.js";
import { number, numberOf, text } from "./item.js";
import { CHUNK, INDEX, SHARDS } from "./layout.js";
import type { Table } from "./table.js";

const EXPIRED = "#expires <= :judged AND #lease <= :judged";
/** Requests of purging at once: claims come first. */
const AT_ONCE = 8;
const PAGE = 500;
/** Time to live deletes free of charge, mostly within two days; what it has forgotten by then is deleted here. */
const TTL_DAYS_MS = 3 * 24 * 3_600_000;

/**
 * To find little, a walk reads as much of the index as to find a lot. So the next one starts only after as many
 * milliseconds as the last one, that found no more, read entries: a million of them, 20 minutes.
 */
const PAUSE_MS_AN_ENTRY = 1;

export interface PurgeParts {
  readonly table: Table;
  readonly moment: () => Moment;
  /** Whether DynamoDB deletes records that are done by itself. */
  readonly timeToLive: () => boolean;
}

export class Purge {
  readonly #parts: PurgeParts;
  /** Where the walk under way has got to. */
  #shard = 0;
  #beyond: string | null = null;
  #read = 0;
  #nextAt = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: PurgeParts) {
    this.#parts = parts;
  }

  /** Deletes up to `limit` records and what else has expired on the way to them; answers how many records. */
  run(limit: number): Promise<number> {
    const run = this.#last.then(() => this.#run(limit));
    this.#last = run.catch(() => {});
    return run;
  }

  async #run(limit: number): Promise<number> {
    const moment = this.#parts.moment();
    // A clock that was set back is not to stop it.
    if (moment.now < this.#nextAt && this.#nextAt - moment.now < 24 * 3_600_000) return 0;
    let removed = 0;
    while (this.#shard < SHARDS.length) {
      if (removed >= limit) return removed;
      removed += await this.#batch(moment, limit - removed);
    }
    this.#nextAt = moment.now + this.#read * PAUSE_MS_AN_ENTRY;
    this.#shard = 0;
    this.#read = 0;
    return removed;
  }

  /** One page of the walk, or as much of it as may be deleted. */
  async #batch(moment: Moment, limit: number): Promise<number> {
    const left = ` AND (NOT #state IN (:done, :chunk) OR #expires <= :stale)`;
    const page = await this.#parts.table.page({
      index: INDEX,
      shard: SHARDS[this.#shard] ?? "",
      beyond: this.#beyond,
      newestFirst: false,
      filter: this.#parts.timeToLive() ? EXPIRED + left : EXPIRED,
      values: {
        ":judged": number(moment.judgedAt),
        ":done": text("done"),
        ":chunk": text(CHUNK_STATE),
        ":stale": number(moment.judgedAt - TTL_DAYS_MS),
      },
      attributes: ["pk", "sk", "seq", "parts"],
      limit: PAGE,
    });
    const items = (page.Items ?? []).slice(0, limit);
    this.#read += page.ScannedCount ?? 0;
    const removed = await inTurn(items, AT_ONCE, (item) => this.#remove(item, moment));
    const cut = items.length < (page.Items ?? []).length;
    if (cut || page.LastEvaluatedKey !== undefined) {
      this.#beyond = (cut ? items.at(-1) : page.LastEvaluatedKey)?.["seq"]?.S ?? null;
    } else {
      this.#shard++;
      this.#beyond = null;
    }
    return removed.filter(Boolean).length;
  }

  /** Whether that was a record. */
  async #remove(item: DynamoDBItem, moment: Moment): Promise<boolean> {
    const { pk, sk } = item;
    if (pk === undefined || sk?.S === undefined) return false;
    if (sk.S.startsWith(CHUNK)) {
      // The first last: without it nobody would find the others.
      const stem = sk.S.slice(0, sk.S.lastIndexOf(".") + 1);
      for (let index = (numberOf(item, "parts") ?? 1) - 1; index >= 0; index--) {
        await this.#parts.table.remove({ pk, sk: text(stem + index) });
      }
      return false;
    }
    // The index is of a moment ago, and the key may be somebody's again.
    const values = { ":judged": number(moment.judgedAt) };
    return (await this.#parts.table.remove({ pk, sk }, { when: `attribute_exists(pk) AND ${EXPIRED}`, values })).done;
  }
}

/** As many at once as said, and all answers. */
async function inTurn<T, R>(items: readonly T[], atOnce: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) answers.push(await work(item));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return answers;
}
