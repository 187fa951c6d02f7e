// Changes of records by whoever has their fence, many in one statement.

import { IdempotencyError } from "../../core/errors.js";
import type { Answer, Fence, RecordId } from "../../core/record.js";
import { encodeEntry } from "../../core/step-log.js";
import type { SqlStatement } from "../../core/transactions.js";
import type { Reply } from "../gathering/gatherer.js";
import { DONE, RUNNING, UNKNOWN } from "../sql/states.js";
import type { Row } from "./client.js";
import { BY_PLACE, type Held, type Places } from "./places.js";
import { BY_ID, expired, live, OPEN } from "./record-rows.js";
import type { Query } from "./sessions.js";
import { bytes, hex, integer, readHex, readInteger, readIntegerOrNull, statusCode } from "./statements.js";

/** One change: the record, its fence, and what it sets, as it is written into statements. */
export interface Change extends Held {
  readonly values: readonly string[];
}

/** What a kind of change writes into its statement. */
interface Parts {
  /** The server's clock. Where a row is changed it is given back once, so that it can be told by it. */
  readonly clock: string;
  readonly markedClock: string;
  /** The row's fence is the change's. */
  readonly fits: string;
  /** The value at this place of the change that the row is of. */
  value(index: number): string;
  number(index: number): string;
}

/** A record as it is after a statement of changes. */
interface After {
  readonly fence: Fence;
  readonly state: number;
  readonly expired: boolean;
  /** Whether it became done or unknown by that statement. */
  readonly endedNow: boolean;
  readonly stepBytes: number;
}

/** A kind of change. MySQL assigns from left to right, and what stands further right sees what was assigned. */
export interface ChangeKind {
  set(parts: Parts): string;
  where(parts: Parts): string;
  /**
   * Whether a change holds whose row is so after it: since it was made, or had been before (it was repeated). A fence
   * that was lost never comes back, so that what holds afterwards held.
   */
  holds(change: Change, after: After): boolean;
}

const DONE_NOW = `state = ${DONE}, lease_until = 0, steps = NULL`;

export const renewal: ChangeKind = {
  set: ({ markedClock, number }) => `lease_until = ${markedClock} + ${number(0)}`,
  where: ({ clock, fits }) => `${fits} AND ${OPEN} AND ${live(clock)}`,
  holds: ({ fence }, after) => after.fence === fence && after.state !== DONE && !after.expired,
};

export const completion: ChangeKind = {
  set: ({ markedClock, value, number }) =>
    `${DONE_NOW}, ended_at = ${markedClock}, status = ${number(0)}, payload = ${value(1)}`,
  where: ({ clock, fits }) => `${fits} AND ${OPEN} AND ${live(clock)}`,
  // One that completes after its retention is done and expired at once.
  holds: ({ fence }, after) => after.fence === fence && after.state === DONE && (after.endedNow || !after.expired),
};

export const interruptionByOwner: ChangeKind = {
  set: ({ markedClock, number }) =>
    `lease_until = 0, ended_at = IF(state = ${RUNNING}, ${markedClock}, ended_at), ` +
    `status = IF(state = ${RUNNING}, ${number(0)}, status), state = ${UNKNOWN}`,
  where: ({ clock, fits }) => `${fits} AND ${OPEN} AND ${live(clock)}`,
  holds: ({ fence }, after) => after.fence === fence && after.state === UNKNOWN && (after.endedNow || !after.expired),
};

export const interruptionByFinder: ChangeKind = {
  set: ({ markedClock, number }) => `state = ${UNKNOWN}, ended_at = ${markedClock}, status = ${number(0)}`,
  where: ({ clock, fits }) => `${fits} AND state = ${RUNNING} AND lease_until <= ${clock} AND expires_at > ${clock}`,
  holds: ({ fence }, after) => after.fence === fence && after.state === UNKNOWN && !after.expired,
};

/** Its values: the next fence, the lease, the run. */
export const takeOver: ChangeKind = {
  set: ({ markedClock, value, number }) =>
    `state = ${RUNNING}, fence = ${value(0)}, lease_until = ${markedClock} + ${number(1)}, ended_at = NULL, ` +
    `status = NULL, run_id = COALESCE(${value(2)}, run_id)`,
  where: ({ clock, fits, value }) =>
    `((${fits} AND ${OPEN} AND lease_until <= ${clock} AND expires_at > ${clock}) ` +
    `OR (fence = ${value(0)} AND state = ${RUNNING} AND ${live(clock)}))`,
  holds: ({ values }, after) => hex(after.fence) === values[0] && after.state === RUNNING && !after.expired,
};

/** Its values: the next fence, the status, the payload. */
export const settlement: ChangeKind = {
  set: ({ markedClock, value, number }) =>
    `${DONE_NOW}, fence = ${value(0)}, ended_at = ${markedClock}, status = ${number(1)}, payload = ${value(2)}`,
  where: ({ clock, fits }) =>
    `${fits} AND (state = ${UNKNOWN} OR (state = ${RUNNING} AND lease_until <= ${clock})) AND ${live(clock)}`,
  holds: ({ values }, after) =>
    hex(after.fence) === values[0] && after.state === DONE && (after.endedNow || !after.expired),
};

/** Its values: the entry, and how long the log may be before it. */
export const step: ChangeKind = {
  // A value longer than `max_allowed_packet` would become NULL.
  set: ({ value }) => `steps = CONCAT(COALESCE(steps, X''), ${value(0)})`,
  where: ({ clock, fits, number }) =>
    `${fits} AND ${OPEN} AND ${live(clock)} AND OCTET_LENGTH(COALESCE(steps, X'')) <= ${number(1)}`,
  holds: ({ fence, values }, after) => {
    if (after.fence !== fence || after.state === DONE || after.expired) return false;
    if (after.stepBytes <= Number(values[1])) return true;
    throw new IdempotencyError(
      "store_unavailable",
      "The record's step log would be longer than the server's `max_allowed_packet`: raise it, or keep less in steps.",
    );
  },
};

/** All kinds. */
export const KINDS: readonly ChangeKind[] = [
  renewal,
  completion,
  interruptionByOwner,
  interruptionByFinder,
  takeOver,
  settlement,
  step,
];

/** The values of a completion. */
export function answerValues({ status, payload }: Answer): readonly [string, string] {
  return [statusCode(status), bytes(payload)];
}

/** The values of a step. `maxBytes` is how long the log may become. */
export function stepValues(entry: Uint8Array, maxBytes: number): readonly [string, string] {
  const encoded = encodeEntry(entry);
  return [bytes(encoded), integer(maxBytes - encoded.byteLength)];
}

/** Makes changes of one kind, of different records; they are to be in the order of their ids. */
export class Changes {
  readonly #table: string;
  readonly #clock: () => string;
  readonly #places: Places;

  constructor(table: string, clock: () => string, places: Places) {
    this.#table = table;
    this.#clock = clock;
    this.#places = places;
  }

  /** What became of each, in their order. Where all are made, as nearly always, one round trip is all. */
  async run(kind: ChangeKind, query: Query, changes: readonly Change[]): Promise<readonly Reply<boolean>[]> {
    const parts = partsOf(changes, this.#clock());
    const { index, which } = this.#places.reach(changes);
    const { affected, lastId } = await query(
      `UPDATE ${this.#table} ${index} SET ${kind.set(parts)} WHERE ${which} AND ${kind.where(parts)}`,
    );
    if (affected === changes.length) return changes.map(() => ({ ok: true, value: true }));
    const ids = changes.map(({ id }) => hex(id)).join(", ");
    const { rows } = await query(
      `SELECT id, fence, state, ${expired(this.#clock())}, ended_at, OCTET_LENGTH(steps) FROM ${this.#table} ${BY_ID} WHERE id IN (${ids})`,
    );
    const after = new Map(rows.map((row) => [readHex(row[0]), afterOf(row, lastId)]));
    return changes.map((change) => {
      const found = after.get(change.id);
      try {
        return { ok: true, value: found !== undefined && kind.holds(change, found) };
      } catch (error) {
        return { ok: false, error };
      }
    });
  }

  /** The one statement that records an answer, for a transaction of the user's own. */
  completion(id: RecordId, fence: Fence, { status, payload }: Answer): SqlStatement {
    const clock = this.#clock();
    // It leaves the session's LAST_INSERT_ID() alone, which is the user's.
    const parts = { clock, markedClock: clock, fits: "fence = ?", value: () => "?", number: () => "?" };
    const madeAt = this.#places.of({ id, fence });
    const reach = madeAt === undefined ? `${BY_ID} SET` : `${BY_PLACE} SET`;
    const which = madeAt === undefined ? "id = ?" : "made_at = ? AND id = ?";
    const text = `UPDATE ${this.#table} ${reach} ${completion.set(parts)} WHERE ${which} AND ${completion.where(parts)}`;
    const place = madeAt === undefined ? [] : [madeAt];
    const values = [
      Number(statusCode(status)),
      Buffer.from(payload),
      ...place,
      Buffer.from(id, "hex"),
      Buffer.from(fence, "hex"),
    ];
    return { text, values };
  }
}

function partsOf(changes: readonly Change[], clock: string): Parts {
  const ids = changes.map(({ id }) => hex(id)).join(", ");
  const pick = (values: readonly string[]): string | null => {
    const [first = ""] = values;
    return values.every((value) => value === first) ? first : null;
  };
  const select = (values: readonly string[]) => `ELT(FIELD(id, ${ids}), ${values.join(", ")})`;
  const valuesAt = (index: number) => changes.map(({ values }) => values[index] ?? "NULL");
  const of = (values: readonly string[]) => pick(values) ?? select(values);
  return {
    clock,
    markedClock: `LAST_INSERT_ID(${clock})`,
    fits: `fence = ${of(changes.map(({ fence }) => hex(fence)))}`,
    value: (index) => of(valuesAt(index)),
    // ELT answers strings.
    number: (index) => pick(valuesAt(index)) ?? `CAST(${select(valuesAt(index))} AS SIGNED)`,
  };
}

function afterOf(row: Row, lastId: number): After {
  return {
    fence: readHex(row[1]),
    state: readInteger(row[2]),
    expired: readInteger(row[3]) === 1,
    endedNow: lastId > 0 && readIntegerOrNull(row[4]) === lastId,
    stepBytes: readIntegerOrNull(row[5]) ?? 0,
  };
}
