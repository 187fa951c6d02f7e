// The lanes on which operations travel: gathered by kind, sent together, and sent again where a row was busy.

import { setTimeout as sleep } from "node:timers/promises";
import { IdempotencyError } from "../../core/errors.js";
import type { Fence, RecordId } from "../../core/record.js";
import type { ClaimRequest, ClaimResult, StoreLimits } from "../../core/store.js";
import { Gatherer, type GathererOptions, type Reply } from "../gathering/gatherer.js";
import { Room } from "../sql/room.js";
import {
  type Claim,
  type ClaimAnswer,
  COUNTED_BY_CLAIMS,
  claimAnswers,
  claimSql,
  claimValues,
  distinct,
} from "./claims.js";
import { isContention, isMembersFault, unavailable } from "./faults.js";
import { type FoundRow, Keeping } from "./keeping.js";
import type { Queries } from "./queries.js";
import type { Names } from "./schema.js";
import {
  type Transition,
  type TransitionName,
  transitionSql,
  transitionValues,
  type Verdict,
  verdictsOf,
} from "./transitions.js";

export interface RoundTripOptions {
  readonly limits: StoreLimits;
  readonly maxBatch: number;
  readonly longestWaitMs: number;
  readonly maxQueued: number;
  readonly maxWaitMs: number;
  /** The instant that a test judges by; null for the server's clock. */
  readonly now: () => number | null;
}

/** An operation about one record that is neither a claim nor a completion. */
type Asked = Transition | { readonly name: "find"; readonly id: RecordId; readonly bytes: null };
type Told = Verdict | FoundRow | null;

/** Bytes of answers that one round trip carries, but for one answer that is larger alone. */
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
/** Before an operation on a row that is busy is tried again: at once, and then after ever longer pauses. */
const SECOND_PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 100;

export class RoundTrips {
  readonly keeping: Keeping;
  readonly #queries: Queries;
  readonly #options: RoundTripOptions;
  readonly #room: Room;
  readonly #claimSql: string;
  readonly #transitionSql = new Map<TransitionName, string>();
  readonly #names: Names;
  readonly #claims: Gatherer<Claim, ClaimAnswer>;
  readonly #completions: Gatherer<Transition, Verdict>;
  readonly #rest: Gatherer<Asked, Told>;
  /** What takes long, a few at a time. */
  readonly #slow: Gatherer<() => Promise<unknown>, unknown>;
  #underWay = 0;
  #idle: (() => void) | undefined;

  constructor(queries: Queries, names: Names, options: RoundTripOptions) {
    this.#queries = queries;
    this.#names = names;
    this.#options = options;
    this.keeping = new Keeping(queries, names, () => this.#instant());
    this.#claimSql = claimSql(names, options.limits);
    this.#room = new Room(options.limits, COUNTED_BY_CLAIMS, (account, limit) =>
      this.slowly(() => this.keeping.count(account, limit)),
    );
    this.#claims = gatherer<Claim, ClaimAnswer>(options, { send: (claims) => this.#sendClaims(claims) });
    this.#completions = gatherer<Transition, Verdict>(options, {
      ...BY_RECORD,
      send: (transitions) => this.#sendTransitions("complete", transitions),
    });
    this.#rest = gatherer<Asked, Told>(options, { ...BY_RECORD, lanes: 2, send: (asked) => this.#sendRest(asked) });
    this.#slow = gatherer<() => Promise<unknown>, unknown>(options, {
      maxBatch: 1,
      lanes: 2,
      send: ([work]) => replies(work, (value) => [value]),
    });
  }

  claim(request: ClaimRequest): Promise<ClaimResult> {
    const reached = this.#room.reached(request.labels.account);
    return this.#whileBusy(() => this.#claims.submit({ request, reached }));
  }

  async change(
    name: TransitionName,
    id: RecordId,
    fence: Fence | null,
    more: Partial<Omit<Transition, "name" | "id" | "fence">> = {},
  ): Promise<boolean> {
    const transition = { ...NOTHING_MORE, ...more, name, id, fence };
    const lane = name === "complete" ? this.#completions : this.#rest;
    const verdict = await this.#whileBusy(async () => {
      const told = await lane.submit(transition);
      return told === "busy" ? null : told;
    });
    return verdict === "yes";
  }

  async find(id: RecordId): Promise<FoundRow | null> {
    const { found } = await this.#whileBusy(async () => {
      const told = await this.#rest.submit({ name: "find", id, bytes: null });
      return told === "busy" ? null : { found: told as FoundRow | null };
    });
    return found;
  }

  /** Runs what takes longer than a round trip, in its turn. */
  async slowly<T>(work: () => Promise<T>): Promise<T> {
    return (await this.#slow.submit(work)) as T;
  }

  /** Finishes what is under way. */
  async close(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    await Promise.all([this.#claims, this.#completions, this.#rest, this.#slow].map((lane) => lane.close()));
  }

  /** Asks until the answer is another than null. No connection waits for a lock meanwhile. */
  async #whileBusy<T>(ask: () => Promise<T | null>): Promise<T> {
    const { maxWaitMs } = this.#options;
    const untilMs = performance.now() + maxWaitMs;
    this.#underWay++;
    try {
      for (let pauseMs = 0; ; pauseMs = Math.min(2 * pauseMs || SECOND_PAUSE_MS, LONGEST_PAUSE_MS)) {
        const told = await ask();
        if (told !== null) return told;
        if (performance.now() >= untilMs) {
          const reason = `Another transaction has held the record's row for ${maxWaitMs} ms; see pg_locks.`;
          throw new IdempotencyError("store_unavailable", reason);
        }
        if (pauseMs > 0) await sleep(pauseMs);
      }
    } finally {
      if (--this.#underWay === 0) this.#idle?.();
    }
  }

  async #sendClaims(claims: readonly Claim[]): Promise<readonly Reply<ClaimAnswer>[]> {
    const { first, answers } = distinct(claims);
    const ask = () => this.#queries.kept(this.#claimSql, claimValues(first, this.#options.now()));
    return replies(
      ask,
      (rows) => {
        const told = claimAnswers(rows, first);
        const made = first.filter((_, index) => told[index]?.outcome === "claimed");
        for (const { request } of made) this.#room.made(request.labels.account);
        this.#queries.grew(made.length);
        return answers(told);
      },
      () => claims.map(() => null),
    );
  }

  #sendTransitions(name: TransitionName, transitions: readonly Transition[]): Promise<readonly Reply<Verdict>[]> {
    let sql = this.#transitionSql.get(name);
    if (sql === undefined) {
      sql = transitionSql(this.#names, name);
      this.#transitionSql.set(name, sql);
    }
    const text = sql;
    return replies(
      () => this.#queries.kept(text, transitionValues(transitions, this.#options.now())),
      (rows) => verdictsOf(rows, transitions.length),
      () => transitions.map(() => "busy"),
    );
  }

  /** A statement for each kind, side by side; one that fails fails its own. */
  async #sendRest(asked: readonly Asked[]): Promise<readonly Reply<Told>[]> {
    const kinds = new Map<Asked["name"], number[]>();
    for (const [index, { name }] of asked.entries()) kinds.set(name, [...(kinds.get(name) ?? []), index]);
    const told = new Array<Reply<Told>>(asked.length);
    const send = async (name: Asked["name"], indexes: readonly number[]): Promise<void> => {
      const alike = indexes.map((index) => asked[index] as Asked);
      const sent: Promise<readonly Reply<Told>[]> =
        name === "find"
          ? replies(
              () => this.keeping.find(alike.map(({ id }) => id)),
              (found) => found,
            )
          : this.#sendTransitions(name, alike as readonly Transition[]);
      const answers = await sent.catch((error: unknown) => alike.map((): Reply<Told> => ({ ok: false, error })));
      for (const [at, index] of indexes.entries()) told[index] = answers[at] as Reply<Told>;
    };
    await Promise.all([...kinds].map(([name, indexes]) => send(name, indexes)));
    // Alone, so that the one whose fault it was is told from the others.
    if (kinds.size === 1 && told.every((reply) => !reply.ok) && told[0]?.ok === false) throw told[0].error;
    return told;
  }

  #instant(): string | null {
    const now = this.#options.now();
    return now === null ? null : String(now);
  }
}

const NOTHING_MORE = { next: null, leaseMs: null, status: null, runId: null, bytes: null };

const BY_RECORD = {
  keyOf: ({ id }: { readonly id: RecordId }): string => id,
  sizeOf: ({ bytes }: { readonly bytes: Uint8Array | null }): number => bytes?.byteLength ?? 0,
  maxBatchBytes: MAX_BATCH_BYTES,
};

function gatherer<Call, Value>(
  { maxBatch, longestWaitMs, maxQueued, maxWaitMs }: RoundTripOptions,
  more: Pick<GathererOptions<Call, Value>, "send"> & Partial<GathererOptions<Call, Value>>,
): Gatherer<Call, Value> {
  const lanes = more.lanes ?? 1;
  const common = { name: "PostgreSQL", maxBatch, longestWaitMs, maxQueued, giveUpAfterMs: maxWaitMs };
  return new Gatherer({ ...common, maxLanes: lanes + 1, retryAlone: isMembersFault, ...more });
}

/** What a round trip brought for each of its calls; `busy` where another transaction got in its way. */
async function replies<T, Value>(
  ask: (() => Promise<T>) | undefined,
  read: (answer: T) => readonly Value[],
  busy?: () => readonly Value[],
): Promise<readonly Reply<Value>[]> {
  const ok = (value: Value): Reply<Value> => ({ ok: true, value });
  if (ask === undefined) return [];
  try {
    return read(await ask()).map(ok);
  } catch (error) {
    if (busy !== undefined && isContention(error)) return busy().map(ok);
    throw unavailable(error);
  }
}
