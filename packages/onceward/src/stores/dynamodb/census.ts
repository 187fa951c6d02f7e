// How many records there are, about: bounds on them without a counter that every claim would have to write (SPEC §9.4).

import type { StoreLimits } from "../../core/store.js";
import type { Moment } from "../heads/head.js";
import { CHUNK_STATE } from "./chunks.js";
import type { DynamoDBItem } from "./client.js";
import { number, numberOf, text } from "./item.js";
import { ownKey, SHARDS } from "./layout.js";
import { entriesOf } from "./listing.js";
import type { Table } from "./table.js";

/** What a walk through the index counted. */
interface Count {
  /** When the walk began. */
  readonly at: number;
  readonly total: number;
  readonly accounts: ReadonlyMap<string, number>;
}

type Limit = "account" | "store";

const KEY: DynamoDBItem = ownKey("census");
/** A count that says "full" is not taken again before it is this old, or older where much was to be counted. */
const FRESH_MS = 1_000;
const FRESH_MS_A_RECORD = 0.1;
/** How long a claim waits for that; then it is answered by the count before. */
const LONGEST_WAIT_MS = 3_000;
/** However little happens here, others add records too. */
const OLD_MS = 3_600_000;
/** A node that counts says so; others leave it to it for so long. */
const COUNTING_MS = 60_000;
const AFTER_FAILURE_MS = 30_000;
/**
 * A hundredth of a limit: so much a node lets in before its first count, and accounts with less of theirs are not
 * remembered one by one.
 */
const SHARE = 100;
const LONGEST_SHARED = 2_000;
/** Accounts that this node remembers between counts. */
const MAX_SINCE = 100_000;

/**
 * The index is counted, by one node for all: at most once an hour, more often as a limit comes near, and at once before
 * a claim is answered `full`. In between a node adds what it let in itself. So a lone node is exact once its first count
 * is there; several exceed a limit by what the others let in meanwhile, which is less the closer they are to it.
 */
export class Census {
  readonly #table: Table;
  readonly #limits: StoreLimits;
  #count: Count | null = null;
  /** What this node let in since that count began. */
  #since = new Map<string, number>();
  #sinceTotal = 0;
  /** How much of that is still on its way to the table, so that no count may rely on having seen it. */
  readonly #onTheWay = new Map<string, number>();
  #counting: Promise<void> | null = null;
  /** When this node last looked whether to count in the background, and for how long it then does not again. */
  #lookedAt = 0;
  #pauseMs = 0;
  #closed = false;

  constructor(table: Table, limits: StoreLimits) {
    this.#table = table;
    this.#limits = limits;
  }

  /**
   * Makes room for one more record, which is to be {@link settle}d, or says which limit is reached. Rejects where only
   * counting could tell, and cannot.
   */
  async reserve(account: string, moment: Moment): Promise<Limit | null> {
    if (this.#count === null && this.#unseen(account)) await this.#take(moment, moment.now - FRESH_MS + 1);
    const freshMs = Math.max(FRESH_MS, (this.#count?.total ?? 0) * FRESH_MS_A_RECORD);
    if (this.#reached(account) !== null && this.#age(moment) >= freshMs) {
      await atMost(LONGEST_WAIT_MS, this.#take(moment, moment.now - freshMs + 1));
    }
    const limit = this.#reached(account);
    if (limit !== null) return limit;
    this.#add(account, 1);
    this.#onTheWay.set(account, (this.#onTheWay.get(account) ?? 0) + 1);
    this.#lookOut(account, moment);
    return null;
  }

  /** Counts in the background where that is due. Where it fails, whoever needs it will hear of it. */
  #lookOut(account: string, moment: Moment): void {
    const since = this.#due(account, moment);
    if (since === null || Math.abs(moment.now - this.#lookedAt) < this.#pauseMs) return;
    this.#lookedAt = moment.now;
    this.#pauseMs = FRESH_MS;
    this.#take(moment, since, true).catch(() => {
      this.#pauseMs = AFTER_FAILURE_MS;
    });
  }

  /** What became of a reservation: a record, as far as one knows, or nothing. */
  settle(account: string, made: boolean): void {
    const left = (this.#onTheWay.get(account) ?? 0) - 1;
    if (left > 0) this.#onTheWay.set(account, left);
    else this.#onTheWay.delete(account);
    if (!made) this.#add(account, -1);
  }

  /** Gives the room of a record back that is gone. */
  release(account: string | undefined): void {
    if (account !== undefined) this.#add(account, -1);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#counting?.catch(() => {});
  }

  #add(account: string, records: number): void {
    this.#since.set(account, (this.#since.get(account) ?? 0) + records);
    this.#sinceTotal += records;
    if (this.#since.size <= MAX_SINCE) return;
    for (const [some, few] of this.#since) if (few < this.#least) this.#since.delete(some);
    if (this.#since.size > MAX_SINCE / 2) this.#since.clear();
  }

  #of(account: string): number {
    return (this.#count?.accounts.get(account) ?? 0) + (this.#since.get(account) ?? 0);
  }

  #reached(account: string): Limit | null {
    const { maxRecordsPerAccount, maxRecords } = this.#limits;
    if (this.#of(account) >= maxRecordsPerAccount) return "account";
    return (this.#count?.total ?? 0) + this.#sinceTotal >= maxRecords ? "store" : null;
  }

  /** Without any count: whether more was let in here than may be without looking. */
  #unseen(account: string): boolean {
    const { maxRecordsPerAccount, maxRecords } = this.#limits;
    const own = (this.#since.get(account) ?? 0) + 1;
    return own > maxRecordsPerAccount / SHARE || this.#sinceTotal + 1 > maxRecords / SHARE;
  }

  #age({ now }: Moment): number {
    // A clock that was set back makes no count young for ever.
    return this.#count === null ? Number.POSITIVE_INFINITY : Math.abs(now - this.#count.at);
  }

  /** How young a count must be that is worth having now, as an instant; null where the one that is there will do. */
  #due(account: string, moment: Moment): number | null {
    if (this.#age(moment) >= OLD_MS) return moment.now - OLD_MS + 1;
    const { maxRecordsPerAccount, maxRecords } = this.#limits;
    const own = this.#since.get(account) ?? 0;
    const grown =
      own * 4 > maxRecordsPerAccount - (this.#of(account) - own) ||
      this.#sinceTotal * 4 > maxRecords - (this.#count?.total ?? 0);
    return grown ? (this.#count?.at ?? 0) + 1 : null;
  }

  /** Gets a count from `since` or later: one that another node took, or its own. One at a time. */
  async #take(moment: Moment, since: number, background = false): Promise<void> {
    if (this.#counting !== null) {
      await this.#counting.catch(() => {});
      if (background || (this.#count?.at ?? 0) >= since) return;
    }
    this.#counting ??= this.#takeOne(moment, since, background).finally(() => {
      this.#counting = null;
    });
    await this.#counting;
  }

  async #takeOne({ now, judgedAt }: Moment, since: number, background: boolean): Promise<void> {
    const item = await this.#table.get(KEY);
    const shared = sharedCount(item, this.#least);
    if (shared !== null && shared.at > (this.#count?.at ?? 0) && (shared.at >= since || background)) {
      // When it was taken, which of this node's records were there, is not known: better to count some twice.
      this.#adopt(shared, new Map());
    }
    const busy = item === null ? 0 : (numberOf(item, "until") ?? 0);
    if ((this.#count?.at ?? 0) >= since || (background && busy > now)) return;
    await this.#table.update(KEY, "SET #until = :until", {
      when: null,
      values: { ":until": number(now + COUNTING_MS) },
    });
    const before = new Map(
      [...this.#since].map(([account, records]) => [account, records - (this.#onTheWay.get(account) ?? 0)]),
    );
    const count = await this.#walk(now, judgedAt);
    if (count === null) return;
    this.#adopt(count, before);
    await this.#table.put({ ...KEY, at: number(now), count: text(this.#shared(count)) });
  }

  /** `before`: what was let in before the count began, and so is in it. */
  #adopt(count: Count, before: ReadonlyMap<string, number>): void {
    const since = new Map<string, number>();
    for (const [account, records] of this.#since) {
      const left = records - (before.get(account) ?? 0);
      if (left !== 0) since.set(account, left);
    }
    this.#count = count;
    this.#since = since;
    this.#sinceTotal = [...since.values()].reduce((sum, records) => sum + records, 0);
  }

  /** One partition after the other: nobody waits for it but near a limit. null where the store closes meanwhile. */
  async #walk(now: number, judgedAt: number): Promise<Count | null> {
    const accounts = new Map<string, number>();
    let total = 0;
    for (const shard of SHARDS) {
      const inShard = await this.#walkShard(shard, judgedAt);
      if (inShard === null) return null;
      for (const [account, records] of inShard) {
        total += records;
        // Records are spread evenly: an account near its limit has many here too, and all others need no memory.
        if (records * SHARDS.length * 2 < this.#least) continue;
        accounts.set(account, (accounts.get(account) ?? 0) + records);
      }
    }
    return { at: now, total, accounts };
  }

  async #walkShard(shard: string, judgedAt: number): Promise<Map<string, number> | null> {
    const accounts = new Map<string, number>();
    const query = {
      shard,
      newestFirst: false,
      filter: "#state <> :chunk AND (#expires > :judged OR #lease > :judged)",
      values: { ":judged": number(judgedAt), ":chunk": text(CHUNK_STATE) },
      attributes: ["seq", "account"],
    };
    for await (const { item } of entriesOf(this.#table, query)) {
      if (this.#closed) return null;
      const account = item["account"]?.S ?? "";
      accounts.set(account, (accounts.get(account) ?? 0) + 1);
    }
    return accounts;
  }

  /** Of how many records on an account is remembered and shared. */
  get #least(): number {
    return this.#limits.maxRecordsPerAccount / SHARE;
  }

  #shared({ total, accounts }: Count): string {
    const largest = [...accounts]
      .filter(([, records]) => records >= this.#least)
      .sort((one, other) => other[1] - one[1]);
    return JSON.stringify({
      total,
      least: this.#least,
      accounts: largest.slice(0, LONGEST_SHARED),
    } satisfies SharedCount);
  }
}

/** Waits for `work`, but no longer than that. */
async function atMost(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  // Where it fails later on, nobody is there to hear of it.
  work.catch(() => {});
  await Promise.race([work, timeUp]).finally(() => clearTimeout(timer));
}

interface SharedCount {
  readonly total: number;
  readonly least: number;
  readonly accounts: readonly (readonly [string, number])[];
}

/** null where there is none, or one of a node with a larger limit, which left accounts out that matter here. */
function sharedCount(item: DynamoDBItem | null, least: number): Count | null {
  const at = item === null ? null : numberOf(item, "at");
  if (at === null) return null;
  const { accounts, ...shared } = JSON.parse(item?.["count"]?.S ?? "null") as SharedCount;
  return shared.least > least ? null : { at, total: shared.total, accounts: new Map(accounts) };
}
