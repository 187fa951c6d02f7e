// Reads the notes of all records: for an operator's listings, and where limits must be counted.

import type { Page } from "../../core/page.js";
import { isExpired, type StoredRecord } from "../../core/record.js";
import type { RecordQuery } from "../../core/store.js";
import type { Head } from "../heads/head.js";
import { pageLimit, sequenceOf } from "../sql/checks.js";
import type { NatsBucket } from "./bucket.js";
import { listedHead, RECORDS } from "./keys.js";

/** Newest first. Each page reads the notes of all records, since NATS keeps no index; it holds one page in memory. */
export async function listRecords(
  bucket: NatsBucket,
  query: RecordQuery,
  judgedAt: number,
): Promise<Page<StoredRecord>> {
  const limit = pageLimit(query.limit);
  const before = sequenceOf(query.cursor);
  // By their place, so that one that is read twice counts once, as it was read last. One more than the page, to know
  // whether there is another; sorted out whenever it has grown to twice that.
  let newest = new Map<number, StoredRecord>();
  const sortOut = (): void => {
    newest = new Map([...newest].sort(([one], [other]) => other - one).slice(0, limit + 1));
  };
  for await (const { record, order } of heads(bucket, judgedAt)) {
    if (order === null || order >= before) continue;
    if (matches(record, query)) newest.set(order, record);
    else newest.delete(order);
    if (newest.size > 2 * limit + 2) sortOut();
  }
  sortOut();
  const page = [...newest].slice(0, limit);
  return {
    items: page.map(([, record]) => record),
    next: newest.size > limit ? String(page.at(-1)?.[0]) : null,
  };
}

/** How many records that have not expired each account has. */
export async function countRecords(bucket: NatsBucket, judgedAt: number): Promise<ReadonlyMap<string, number>> {
  const accounts = new Map<string, number>();
  for await (const { record } of heads(bucket, judgedAt)) {
    accounts.set(record.account, (accounts.get(record.account) ?? 0) + 1);
  }
  return accounts;
}

async function* heads(bucket: NatsBucket, judgedAt: number): AsyncGenerator<Head, void, undefined> {
  for await (const listed of bucket.scan(`${RECORDS}*`)) {
    const head = listedHead(listed);
    if (head !== null && !isExpired(head.record, judgedAt)) yield head;
  }
}

function matches(record: StoredRecord, { state, account, key }: RecordQuery): boolean {
  return (
    (state === undefined || record.state === state) &&
    (account === undefined || record.account === account) &&
    (key === undefined || record.key === key)
  );
}
