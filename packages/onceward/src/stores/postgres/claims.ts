// Claims: many keys at once, each made, found, or taken anew where it has expired.

import type { RecordId, StoredRecord } from "../../core/record.js";
import type { ClaimRequest, ClaimResult, StoreLimits } from "../../core/store.js";
import { claimedRecord, claimTimes, RUNNING } from "../sql/states.js";
import type { Row, Value } from "./database.js";
import { BYTES_BEFORE, MAX_FOUND_BYTES, RECORD_COLUMNS, readRecord, textOf } from "./rows.js";
import type { Names } from "./schema.js";
import { joinNumbers, joinTexts, keptText, textsIn } from "./text.js";
import { clock, LIVE } from "./transitions.js";

/** Up to this many records a limit is counted by each claim; beyond it now and then (see room.ts). */
export const COUNTED_BY_CLAIMS = 1_000;

export interface Claim {
  readonly request: ClaimRequest;
  /** The limit that is known to be reached, so that no record may be made. */
  readonly reached: "account" | "store" | null;
}

/** `null`: busy, to be asked again. */
export type ClaimAnswer = ClaimResult | null;

/**
 * One statement, in the order of its parts: what is there is read, without a lock, so that a record which somebody holds
 * keeps no duplicate waiting. Of what has expired, or is the claim's own, the row is locked, or passed over where somebody
 * else has it. Then the absent ones are made, and the expired ones made anew in place, in the order of
 * their ids, so that no two statements wait for each other. A record that came to be while the statement ran is neither
 * seen nor made: it is busy, and seen the next time.
 */
export function claimSql({ records }: Names, limits: StoreLimits): string {
  const columns = `created_at, expires_at, lease_until, state, id, fence, account, key, operation, run_id, fingerprint`;
  const replaced = columns
    .split(", ")
    .filter((column) => column !== "id")
    .map((column) => `${column} = excluded.${column}`);
  return `WITH clock AS MATERIALIZED (SELECT ${clock("$1")} AS now),
input AS MATERIALIZED (
  SELECT ord, decode(id, 'hex') AS id, decode(fence, 'hex') AS fence, fingerprint, account, key, operation, run_id,
    now - age AS created_at, coalesce(until_at, now - age + kept_for) AS expires_at, now + lease AS lease_until, reached
  FROM unnest(${["$2", "$3", "$4", "$5", "$6", "$7", "$8"].map(textsIn).join(", ")},
    $9::text::bigint[], $10::text::bigint[], $11::text::bigint[], $12::text::bigint[], ${textsIn("$13")})
  WITH ORDINALITY AS i (id, fence, fingerprint, account, key, operation, run_id, age, kept_for, until_at, lease, reached, ord)
  CROSS JOIN clock
),
seen AS MATERIALIZED (
  SELECT i.ord, i.fence = r.fence AND r.state = ${RUNNING} AND ${LIVE} AS own, ${LIVE} AS live, ${BYTES_BEFORE} AS before, r.*
  FROM input i CROSS JOIN clock CROSS JOIN LATERAL (SELECT * FROM ${records} r WHERE r.id = i.id LIMIT 1) r
),
absent AS MATERIALIZED (
  SELECT i.ord, coalesce(i.reached${reachedSql(records, limits)}) AS reached
  FROM input i CROSS JOIN clock WHERE NOT EXISTS (SELECT FROM seen s WHERE s.ord = i.ord)
),
locked AS MATERIALIZED (
  SELECT s.ord, s.own, r.place FROM seen s CROSS JOIN LATERAL (
    SELECT r.ctid AS place FROM ${records} r WHERE r.id = s.id FOR NO KEY UPDATE SKIP LOCKED
  ) r
  WHERE s.own OR NOT s.live
),
renewed AS (
  UPDATE ${records} r SET lease_until = i.lease_until
  FROM locked l JOIN input i USING (ord) WHERE l.own AND r.ctid = l.place RETURNING i.ord, i.lease_until
),
made AS (
  INSERT INTO ${records} AS r (${columns})
  SELECT created_at, expires_at, lease_until, ${RUNNING}, id, fence, account, key, operation, run_id, fingerprint
  FROM input i
  WHERE i.ord IN (SELECT ord FROM absent WHERE reached IS NULL)
    OR i.ord IN (SELECT ord FROM locked WHERE NOT own)
  ORDER BY i.id
  ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, ${replaced.join(", ")}, ended_at = NULL, status = NULL,
    unknown = false, waited = false, steps = NULL, payload = NULL
  WHERE r.expires_at <= (SELECT now FROM clock) AND r.lease_until <= (SELECT now FROM clock)
  RETURNING id
)
SELECT string_agg(i.ord::text, ','), now::text, 'made', ${"NULL, ".repeat(13)}NULL
FROM input i JOIN made USING (id) CROSS JOIN clock GROUP BY now
UNION ALL
SELECT i.ord::text, now::text,
  CASE WHEN w.ord IS NOT NULL THEN 'own' WHEN s.live AND NOT s.own AND s.before < ${MAX_FOUND_BYTES} THEN 'found'
    WHEN a.reached IS NOT NULL THEN a.reached ELSE 'busy' END,
  w.lease_until::text, ${RECORD_COLUMNS.replaceAll("r.", "s.")},
  CASE WHEN s.before < ${MAX_FOUND_BYTES} THEN encode(s.payload, 'hex') END
FROM input i CROSS JOIN clock LEFT JOIN renewed w ON w.ord = i.ord LEFT JOIN seen s ON s.ord = i.ord
  LEFT JOIN absent a ON a.ord = i.ord
WHERE i.id NOT IN (SELECT id FROM made)`;
}

/** SQL: what a limit that each claim counts says; nothing where the limits are large. */
function reachedSql(records: string, { maxRecordsPerAccount, maxRecords }: StoreLimits): string {
  const counted = (limit: number, which: string, condition: string): string => {
    if (limit > COUNTED_BY_CLAIMS) return "";
    const rows = `SELECT FROM ${records} r WHERE ${condition}${LIVE} LIMIT ${limit}`;
    return `, CASE WHEN (SELECT count(*) FROM (${rows}) r) >= ${limit} THEN '${which}' END`;
  };
  const ofAccount = "r.account_hash = hashtextextended(i.account, 0) AND r.account = i.account AND ";
  return counted(maxRecordsPerAccount, "account", ofAccount) + counted(maxRecords, "store", "");
}

/**
 * One claim of each key: of several of one key the first speaks for the others, which find what it found, or ask again
 * where it made the record (null).
 */
export function distinct(claims: readonly Claim[]): {
  readonly first: readonly Claim[];
  answers(told: readonly ClaimAnswer[]): readonly ClaimAnswer[];
} {
  const places = new Map<RecordId, number>();
  const first: Claim[] = [];
  for (const claim of claims) {
    if (places.has(claim.request.id)) continue;
    places.set(claim.request.id, first.length);
    first.push(claim);
  }
  const answers = (told: readonly ClaimAnswer[]): readonly ClaimAnswer[] =>
    claims.map((claim) => {
      const place = places.get(claim.request.id) ?? -1;
      const answer = told[place] ?? null;
      return first[place] === claim || answer === null ? answer : another(answer);
    });
  return { first, answers };
}

/** The same answer for another claim; callers must not be able to change each other's copies. */
function another(answer: ClaimResult): ClaimAnswer {
  if (answer.outcome === "claimed") return null;
  if (answer.outcome === "full") return answer;
  const payload = answer.record.payload?.slice() ?? null;
  return { ...answer, record: { ...answer.record, payload } };
}

/** The parameters of {@link claimSql}, for claims of different keys. */
export function claimValues(claims: readonly Claim[], now: number | null): readonly Value[] {
  const requests = claims.map(({ request }) => request);
  const times = requests.map(claimTimes);
  const labels = requests.map((request) => request.labels);
  return [
    now === null ? null : String(now),
    joinTexts(requests.map(({ id }) => id)),
    joinTexts(requests.map(({ fence }) => fence)),
    joinTexts(requests.map(({ fingerprint }) => (fingerprint === null ? null : keptText(fingerprint)))),
    joinTexts(labels.map(({ account }) => keptText(account))),
    joinTexts(labels.map(({ key }) => keptText(key))),
    joinTexts(labels.map(({ operation }) => keptText(operation))),
    joinTexts(labels.map(({ runId }) => keptText(runId))),
    joinNumbers(times.map(({ ageMs }) => ageMs)),
    joinNumbers(times.map(({ forMs }) => forMs)),
    joinNumbers(times.map(({ untilAt }) => untilAt)),
    joinNumbers(times.map(({ leaseMs }) => leaseMs)),
    joinTexts(claims.map(({ reached }) => reached)),
  ];
}

/** What each claim came to, in their order. */
export function claimAnswers(rows: readonly Row[], claims: readonly Claim[]): readonly ClaimAnswer[] {
  const answers = new Array<ClaimAnswer>(claims.length).fill(null);
  for (const row of rows) {
    for (const ord of textOf(row[0]).split(",")) {
      const claim = claims[Number(ord) - 1];
      if (claim !== undefined) answers[Number(ord) - 1] = answerOf(row, claim.request);
    }
  }
  return answers;
}

function answerOf(row: Row, request: ClaimRequest): ClaimAnswer {
  const [, instant, outcome, leaseUntil] = row;
  const now = Number(instant);
  switch (outcome) {
    case "made":
      return { outcome: "claimed", record: claimedRecord(request, now), now };
    case "own":
      return { outcome: "claimed", record: { ...found(row, request), leaseUntil: Number(leaseUntil) }, now };
    case "found":
      return { outcome: "found", record: found(row, request), now };
    case "account":
    case "store":
      return { outcome: "full", limit: outcome };
    default:
      return null;
  }
}

function found(row: Row, { id }: ClaimRequest): StoredRecord {
  return readRecord(id, row.slice(4));
}
