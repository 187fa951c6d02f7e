// Records for an operator, newest first, a slice at a time, so that no listing keeps a claim waiting.

import { sequenceOf } from "../sql/checks.js";
import type { Slice } from "../sql/slices.js";
import { stateNumber } from "../sql/states.js";
import type { SqlValue } from "./driver.js";
import type { ListArgs, RecordRow } from "./protocol.js";
import { LISTED_COLUMNS, readRecord } from "./records.js";
import type { Session } from "./session.js";
import { bindText, readNumber, readNumberOrNull } from "./text.js";

/** Rows that one slice looks at. */
export const SLICE_ROWS = 2_000;

/** Looks at up to {@link SLICE_ROWS} records before the cursor; `next` says where to go on, also where none matched. */
export function listSlice(session: Session, query: ListArgs): Slice<RecordRow> {
  const { sql, now } = session;
  const before = sequenceOf(query.cursor ?? undefined);
  const state = query.state === null ? null : stateNumber(query.state);
  // There is an index of the unknown ones, which are found without looking at others.
  const floor = query.state === "unknown" ? 0 : sliceFloor(session, before);

  const conditions = ["seq < ?", "seq >= ?", "(expires_at > ? OR lease_until > ?)"];
  const parameters: SqlValue[] = [before, floor, now, now];
  if (state !== null) {
    // Spelled out and not bound, since only so SQLite knows that the index has them all.
    conditions.push(`state = ${state}`);
  }
  if (query.account !== null) {
    conditions.push("account_id = (SELECT id FROM onceward_accounts WHERE name = ?)");
    parameters.push(bindText(query.account));
  }
  if (query.key !== null) {
    conditions.push("key = ?");
    parameters.push(bindText(query.key));
  }
  const rows = sql.all(
    `SELECT ${LISTED_COLUMNS} FROM onceward_records WHERE ${conditions.join(" AND ")} ORDER BY seq DESC LIMIT ?`,
    ...parameters,
    query.limit + 1,
  );
  const items = rows.slice(0, query.limit);
  const more = rows.length > query.limit ? readNumber(items.at(-1)?.["seq"]) : floor;
  return { items: items.map(readRecord), next: more > 0 ? String(more) : null };
}

/** The lowest sequence number of a slice that ends before `before`; 0 where the slice is the last one. */
function sliceFloor({ sql }: Session, before: number): number {
  const row = sql.get(
    "SELECT seq FROM onceward_records WHERE seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?",
    before,
    SLICE_ROWS - 1,
  );
  return readNumberOrNull(row?.["seq"]) ?? 0;
}
