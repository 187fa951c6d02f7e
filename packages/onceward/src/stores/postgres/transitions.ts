// The operations that change a record which is there, each as one statement for many records at once.

import type { Answer, Fence, RecordId } from "../../core/record.js";
import type { SqlStatement } from "../../core/transactions.js";
import { DONE, RUNNING, UNKNOWN } from "../sql/states.js";
import type { Row, Value } from "./database.js";
import { textOf } from "./rows.js";
import type { Names } from "./schema.js";
import { joinNumbers, joinTexts, textsIn } from "./text.js";

/** SQL: the server's clock in epoch milliseconds, or the instant that a test gave as `parameter`. */
export function clock(parameter: string): string {
  return `coalesce(${parameter}::text::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)`;
}

/** SQL: whether a record `r` has not expired (SPEC §4.10). */
const liveAt = (now: string): string => `(r.expires_at > ${now} OR r.lease_until > ${now})`;
export const LIVE: string = liveAt("now");
const OPEN = `r.fence = i.fence AND r.state <> ${DONE} AND ${LIVE}`;

interface Rule {
  /** What is assigned; null deletes the record. */
  readonly set: string | null;
  /** When it applies to record `r`, asked by `i`. */
  readonly when: string;
  /** When it has been done already, so that repeating it is as good (SPEC §4.12). */
  readonly done?: string;
  /** Whether somebody who waits for the record is told. */
  readonly tells: boolean;
}

/** SQL: what completing and settling assign. */
const ending = (now: string, status: string, payload: string): string =>
  `state = ${DONE}, unknown = false, lease_until = 0, ended_at = ${now}, status = ${status}, payload = ${payload}, steps = NULL`;
const END = ending("now", "i.status", "i.bytes");

export type TransitionName =
  | "renew"
  | "complete"
  | "interruptByOwner"
  | "interruptByFinder"
  | "takeOver"
  | "settle"
  | "release"
  | "appendStep"
  | "watch";

const RULES: Readonly<Record<TransitionName, Rule>> = {
  renew: { set: "lease_until = now + i.lease", when: OPEN, tells: false },
  complete: { set: END, when: OPEN, done: `r.fence = i.fence AND r.state = ${DONE} AND ${LIVE}`, tells: true },
  interruptByOwner: {
    set: `state = ${UNKNOWN}, unknown = true, lease_until = 0,
      ended_at = CASE r.state WHEN ${RUNNING} THEN now ELSE r.ended_at END,
      status = CASE r.state WHEN ${RUNNING} THEN i.status ELSE r.status END`,
    when: OPEN,
    tells: true,
  },
  interruptByFinder: {
    set: `state = ${UNKNOWN}, unknown = true, ended_at = now, status = i.status`,
    when: `r.fence = i.fence AND r.state = ${RUNNING} AND r.lease_until <= now AND r.expires_at > now`,
    done: `r.fence = i.fence AND r.state = ${UNKNOWN} AND ${LIVE}`,
    tells: true,
  },
  takeOver: {
    set: `state = ${RUNNING}, unknown = false, fence = i.next, lease_until = now + i.lease, ended_at = NULL,
      status = NULL, run_id = coalesce(i.run_id, r.run_id)`,
    when: `(r.fence = i.fence AND r.state <> ${DONE} AND r.lease_until <= now AND r.expires_at > now)
      OR (r.fence = i.next AND r.state = ${RUNNING} AND ${LIVE})`,
    tells: true,
  },
  settle: {
    set: `fence = i.next, ${END}`,
    when: `r.fence = i.fence AND (r.state = ${UNKNOWN} OR (r.state = ${RUNNING} AND r.lease_until <= now)) AND ${LIVE}`,
    done: `r.fence = i.next AND r.state = ${DONE} AND ${LIVE}`,
    tells: true,
  },
  release: { set: null, when: OPEN, tells: true },
  appendStep: { set: "steps = coalesce(r.steps, ''::bytea) || i.bytes", when: OPEN, tells: false },
  /** Somebody on another node waits for the record, whoever has it. */
  watch: {
    set: "waited = true",
    when: `r.state = ${RUNNING} AND NOT r.waited AND ${LIVE}`,
    done: `r.state = ${RUNNING} AND ${LIVE}`,
    tells: false,
  },
};

/** One change of one record. What its kind has no use for is null. */
export interface Transition {
  readonly name: TransitionName;
  readonly id: RecordId;
  readonly fence: Fence | null;
  readonly next: Fence | null;
  readonly leaseMs: number | null;
  readonly status: number | null;
  /** As kept. */
  readonly runId: string | null;
  readonly bytes: Uint8Array | null;
}

/** `busy`: another transaction holds the record's row, or changed it just now; to be asked again. */
export type Verdict = "yes" | "no" | "busy";

/**
 * The statement of a kind. A row that somebody else has locked is passed over, since waiting for it would hold up its
 * neighbours. What it means that a row was not changed is told by the row as the statement first saw it.
 * Rows are changed by their place (`ctid`): a row that changed after the statement began is at another place by then,
 * and is busy.
 */
export function transitionSql({ records, channel }: Names, name: TransitionName): string {
  const { set, when, done, tells } = RULES[name];
  const place = `FROM locked l JOIN input i USING (ord) CROSS JOIN clock WHERE r.ctid = l.place RETURNING i.ord, r.id, r.waited`;
  const removal = "USING locked l WHERE r.ctid = l.place RETURNING l.ord, r.id, r.waited";
  const told = tells ? `count(CASE WHEN waited THEN pg_notify('${channel}', encode(id, 'hex'))::text END)` : "0";
  return `WITH clock AS MATERIALIZED (SELECT ${clock("$1")} AS now),
input AS MATERIALIZED (
  SELECT ord, decode(id, 'hex') AS id, decode(fence, 'hex') AS fence, decode(next, 'hex') AS next, lease, status, run_id,
    substring($9::bytea FROM start FOR length) AS bytes
  FROM unnest(${textsIn("$2")}, ${textsIn("$3")}, ${textsIn("$4")}, $5::text::bigint[], $6::text::smallint[],
    ${textsIn("$7")}, $8::text::int[], $10::text::int[])
  WITH ORDINALITY AS i (id, fence, next, lease, status, run_id, start, length, ord)
),
locked AS MATERIALIZED (
  SELECT i.ord, r.place FROM input i CROSS JOIN clock CROSS JOIN LATERAL (
    SELECT r.ctid AS place FROM ${records} r WHERE r.id = i.id AND (${when}) FOR NO KEY UPDATE SKIP LOCKED
  ) r
),
changed AS (
  ${set === null ? `DELETE FROM ${records} r ${removal}` : `UPDATE ${records} r SET ${set} ${place}`}
)
SELECT string_agg(ord::text, ','), 'yes', (${told})::text FROM changed HAVING count(*) > 0
UNION ALL
SELECT i.ord::text, coalesce((
    SELECT CASE WHEN ${when} THEN 'busy' WHEN ${done ?? "false"} THEN 'yes' END FROM ${records} r WHERE r.id = i.id
  ), 'no'), NULL
FROM input i CROSS JOIN clock WHERE i.ord NOT IN (SELECT ord FROM changed)`;
}

/** The parameters of {@link transitionSql} for transitions of that kind. */
export function transitionValues(transitions: readonly Transition[], now: number | null): readonly Value[] {
  const starts: number[] = [];
  let length = 0;
  for (const { bytes } of transitions) {
    starts.push(length + 1);
    length += bytes?.byteLength ?? 0;
  }
  const of = <K extends keyof Transition>(key: K): Transition[K][] => transitions.map((transition) => transition[key]);
  return [
    now === null ? null : String(now),
    joinTexts(of("id")),
    joinTexts(of("fence")),
    joinTexts(of("next")),
    joinNumbers(of("leaseMs")),
    joinNumbers(of("status")),
    joinTexts(of("runId")),
    joinNumbers(starts),
    // One value for all, which clients send as it is, where an array of bytes would be spelled out.
    Buffer.concat(of("bytes").map((bytes) => bytes ?? NOTHING)),
    joinNumbers(of("bytes").map((bytes) => bytes?.byteLength ?? 0)),
  ];
}

const NOTHING = new Uint8Array(0);

/** The verdict on each of `count` transitions, in their order. */
export function verdictsOf(rows: readonly Row[], count: number): readonly Verdict[] {
  const verdicts = new Array<Verdict>(count).fill("busy");
  for (const [ords, verdict] of rows) {
    for (const ord of textOf(ords).split(",")) verdicts[Number(ord) - 1] = verdict as Verdict;
  }
  return verdicts;
}

/** The completion of a record as a statement of the user's own transaction (SPEC §7.1); `instant` is null but in tests. */
export function completion(
  { records, channel }: Names,
  id: RecordId,
  fence: Fence,
  { status, payload }: Answer,
  instant: number | null,
): SqlStatement {
  const now = clock("$5");
  const text = `UPDATE ${records} r SET ${ending(now, "$3::int", "$4::bytea")}
WHERE r.id = decode($1::text, 'hex') AND r.fence = decode($2::text, 'hex') AND r.state <> ${DONE} AND ${liveAt(now)}
RETURNING CASE WHEN r.waited THEN pg_notify('${channel}', $1::text) END::text AS told`;
  return { text, values: [id, fence, status, Buffer.from(payload), instant === null ? null : String(instant)] };
}
