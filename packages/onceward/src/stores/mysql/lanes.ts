// Operations that arrive together travel together: one statement for many claims, many answers, many of any other kind.

import { IdempotencyError } from "../../core/errors.js";
import type { RecordId } from "../../core/record.js";
import type { Found } from "../../core/store.js";
import { Gatherer, type GathererOptions, type GatheringOptions, type Reply } from "../gathering/gatherer.js";
import { type Change, type ChangeKind, type Changes, KINDS } from "./changes.js";
import type { Claim, Claimed, Claims } from "./claims.js";
import { isLockTimeout, isMembersFault, unavailable } from "./faults.js";
import type { Held } from "./places.js";
import type { Records } from "./records.js";
import type { Query, Sessions } from "./sessions.js";

export interface LaneOptions extends GatheringOptions {
  readonly maxQueued: number;
  readonly maxWaitMs: number;
}

/** A piece of work by itself. */
interface Work {
  readonly repeatable: boolean;
  run(query: Query): Promise<unknown>;
}

/** Round trips of one kind under way at once, where the ones before take too long. */
const MAX_LANES = 4;
/** Bytes that one statement carries, but for an operation that is larger alone. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024;
/** What a statement holds beside its values; and each member, such as its id in several places. */
const STATEMENT_BYTES = 4 * 1024;
const MEMBER_BYTES = 512;

/** A lane for each kind of operation. Each rejects with `store_unavailable` or `store_closed`. */
export class Lanes {
  readonly #sessions: Sessions;
  readonly #options: LaneOptions;
  readonly #claims: Gatherer<Claim, Claimed>;
  readonly #changes: ReadonlyMap<ChangeKind, Gatherer<Change, boolean>>;
  readonly #releases: Gatherer<Held, boolean>;
  readonly #finds: Gatherer<{ readonly id: RecordId }, Found | null>;
  readonly #works: Gatherer<Work, unknown>;
  /** `max_allowed_packet` of the server; known once the store is open. */
  maxPacketBytes: number = 16 * 1024 * 1024;

  constructor(sessions: Sessions, options: LaneOptions, claims: Claims, changes: Changes, records: Records) {
    this.#sessions = sessions;
    this.#options = options;
    this.#claims = this.#gatherer({
      sizeOf: sizeOfClaim,
      send: (all) => this.#together(all, async (query) => (await claims.run(query, all)).map(ok)),
    });
    const changer = (kind: ChangeKind): Gatherer<Change, boolean> =>
      this.#gatherer<Change, boolean>({
        keyOf,
        sizeOf: sizeOfChange,
        send: (all) =>
          this.#together(all, (query) =>
            withoutLocked(
              all,
              (ids) => records.locked(query, ids),
              (some) => changes.run(kind, query, some),
            ),
          ),
      });
    this.#changes = new Map(KINDS.map((kind) => [kind, changer(kind)]));
    this.#releases = this.#gatherer<Held, boolean>({
      keyOf,
      send: (all) => {
        const release = async (query: Query, some: readonly Held[]) => (await records.release(query, some)).map(ok);
        const locked = (query: Query) => (ids: readonly RecordId[]) => records.locked(query, ids);
        return this.#together(all, (query) => withoutLocked(all, locked(query), (some) => release(query, some)), false);
      },
    });
    this.#finds = this.#gatherer<{ readonly id: RecordId }, Found | null>({
      send: (all) => this.#together(all, async (query) => (await records.find(query, all.map(keyOf))).map(ok)),
    });
    this.#works = this.#gatherer({
      maxBatch: 1,
      lanes: 2,
      send: ([work]) => this.#together([work], async (query) => [ok(await work?.run(query))], work?.repeatable),
    });
  }

  claim(claim: Claim): Promise<Claimed> {
    return this.#fits(sizeOfClaim(claim)) ?? this.#claims.submit(claim);
  }

  change(kind: ChangeKind, change: Change): Promise<boolean> {
    const lane = this.#changes.get(kind);
    if (lane === undefined) throw new TypeError("There is no lane for this kind of change.");
    return this.#fits(sizeOfChange(change)) ?? lane.submit(change);
  }

  release(release: Held): Promise<boolean> {
    return this.#releases.submit(release);
  }

  find(id: RecordId): Promise<Found | null> {
    return this.#finds.submit({ id });
  }

  /** Work that takes longer, a few pieces at once. One that is not repeatable is not begun again on a lost connection. */
  work<T>(run: (query: Query) => Promise<T>, repeatable = true): Promise<T> {
    return this.#works.submit({ run, repeatable }) as Promise<T>;
  }

  async close(): Promise<void> {
    const all = [this.#claims, ...this.#changes.values(), this.#releases, this.#finds, this.#works];
    await Promise.all(all.map((lane: { close(): Promise<void> }) => lane.close()));
    await this.#sessions.close();
  }

  #gatherer<Call extends object, Value>(
    own: Pick<GathererOptions<Call, Value>, "send"> & Partial<GathererOptions<Call, Value>>,
  ): Gatherer<Call, Value> {
    const { maxWaitMs, ...options } = this.#options;
    const lanes = this;
    return new Gatherer({
      ...{ name: "MySQL", ...options, giveUpAfterMs: maxWaitMs, maxLanes: MAX_LANES, retryAlone: isMembersFault },
      ...own,
      get maxBatchBytes(): number {
        return Math.min(MAX_BATCH_BYTES, lanes.maxPacketBytes - STATEMENT_BYTES);
      },
    });
  }

  /** Runs a round trip of these calls; one that is a member's fault keeps its error, by which each is sent alone. */
  async #together<T>(calls: readonly unknown[], round: (query: Query) => Promise<T>, repeatable = true): Promise<T> {
    try {
      // Who waits alone holds nobody up, and waits as long as the session's settings say.
      return await this.#sessions.use(round, { impatient: calls.length > 1, repeatable });
    } catch (error) {
      throw calls.length > 1 && isMembersFault(error) ? error : unavailable(error);
    }
  }

  /** Rejects what no statement can carry. */
  #fits(bytes: number): Promise<never> | null {
    if (bytes + STATEMENT_BYTES <= this.maxPacketBytes) return null;
    const most = Math.floor((this.maxPacketBytes - STATEMENT_BYTES - MEMBER_BYTES) / 2);
    const reason =
      `The MySQL store cannot record so much at once: the server's max_allowed_packet is ${this.maxPacketBytes} bytes, ` +
      `which hold an answer of ${most} bytes. Raise it, or lower \`maxBody\`.`;
    return Promise.reject(new IdempotencyError("store_unavailable", reason));
  }
}

/**
 * Runs calls together. Where somebody has locked a row for longer than they would wait, those whose rows are not locked
 * are run without the others.
 */
async function withoutLocked<Call extends { readonly id: RecordId }, Value>(
  calls: readonly Call[],
  lockedOf: (ids: readonly RecordId[]) => Promise<ReadonlySet<RecordId>>,
  run: (calls: readonly Call[]) => Promise<readonly Reply<Value>[]>,
): Promise<readonly Reply<Value>[]> {
  const replies = new Map<Call, Reply<Value>>();
  for (let left = calls; left.length > 0; ) {
    try {
      const given = await run(left);
      for (const [index, call] of left.entries()) replies.set(call, given[index] as Reply<Value>);
      break;
    } catch (error) {
      if (!isLockTimeout(error) || calls.length === 1) throw error;
      const locked = await lockedOf(left.map(({ id }) => id));
      const blocked = left.filter(({ id }) => locked.has(id));
      if (blocked.length === 0) throw error;
      for (const call of blocked) replies.set(call, { ok: false, error: unavailable(error) });
      left = left.filter(({ id }) => !locked.has(id));
    }
  }
  return calls.map((call) => replies.get(call) as Reply<Value>);
}

function ok<T>(value: T): Reply<T> {
  return { ok: true, value };
}

function keyOf({ id }: { readonly id: RecordId }): string {
  return id;
}

function sizeOfClaim({ row }: Claim): number {
  return MEMBER_BYTES + row.length;
}

function sizeOfChange({ values }: Change): number {
  return values.reduce((bytes, value) => bytes + value.length, MEMBER_BYTES);
}
