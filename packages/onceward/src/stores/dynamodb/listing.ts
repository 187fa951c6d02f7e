// Listings, newest first: the index's partitions read side by side and merged.

import { IdempotencyError } from "../../core/errors.js";
import type { Page } from "../../core/page.js";
import type { StoredRecord } from "../../core/record.js";
import type { RecordQuery } from "../../core/store.js";
import type { Moment } from "../heads/head.js";
import { pageLimit } from "../sql/checks.js";
import { CHUNK_STATE } from "./chunks.js";
import type { DynamoDBItem } from "./client.js";
import { number, recordOf, text } from "./item.js";
import { INDEX, SHARDS } from "./layout.js";
import type { PageQuery, Table } from "./table.js";

/** Places in listings of one node: by the creation of the record, then in the order of claiming. */
export function sequencer(): (createdAt: number) => string {
  let count = 0;
  // Two nodes may give one place twice; the end tells them apart.
  const node = Math.floor(Math.random() * 36 ** 6).toString(36);
  return (createdAt) => {
    count = (count + 1) % 36 ** 6;
    const instant = String(Math.max(0, createdAt)).padStart(15, "0");
    return `${instant}-${count.toString(36).padStart(6, "0")}-${node.padStart(6, "0")}`;
  };
}

const PLACE = /^\d{15}-[0-9a-z]{6}-[0-9a-z]{6}$/;

interface Entry {
  readonly place: string;
  readonly item: DynamoDBItem;
}

/** What matches, page by page; of a long index DynamoDB answers 1 MB at a time, matching or not. */
export async function* entriesOf(table: Table, query: Omit<PageQuery, "index" | "from">): AsyncGenerator<Entry> {
  for (let from: DynamoDBItem | undefined; ; ) {
    const page = await table.page({ ...query, index: INDEX, from });
    for (const item of page.Items ?? []) yield { place: item["seq"]?.S ?? "", item };
    from = page.LastEvaluatedKey;
    if (from === undefined) return;
  }
}

export async function listRecords(table: Table, query: RecordQuery, moment: Moment): Promise<Page<StoredRecord>> {
  const { state, account, key, cursor } = query;
  if (cursor !== undefined && !PLACE.test(cursor)) {
    throw new IdempotencyError("request_invalid", "The cursor is not one that a listing of records gave.");
  }
  const limit = pageLimit(query.limit);
  const filters = { state, account, key };
  const given = Object.entries(filters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const filter = ["#state <> :chunk", "(#expires > :judged OR #lease > :judged)"];
  const common = {
    newestFirst: true,
    beyond: cursor ?? null,
    filter: [...filter, ...given.map(([name]) => `#${name} = :${name}`)].join(" AND "),
    values: {
      ":chunk": text(CHUNK_STATE),
      ":judged": number(moment.judgedAt),
      ...Object.fromEntries(given.map(([name, value]) => [`:${name}`, text(value)])),
    },
    // Ids are spread evenly, so that each partition has about as much of a page. Where few match, pages are to be long.
    ...(given.length > 0 ? {} : { limit: Math.ceil(limit / SHARDS.length) + 4 }),
  };
  const items: Entry[] = [];
  for await (const entry of newestOf(SHARDS.map((shard) => entriesOf(table, { ...common, shard })))) {
    if (items.length === limit) return { items: items.map(recordOfEntry), next: items.at(-1)?.place ?? null };
    items.push(entry);
  }
  return { items: items.map(recordOfEntry), next: null };
}

/** Several listings, newest first each, as one. */
async function* newestOf(listings: readonly AsyncGenerator<Entry>[]): AsyncGenerator<Entry> {
  const heads = await Promise.all(listings.map((listing) => listing.next()));
  for (;;) {
    let newest = -1;
    let place = "";
    for (const [index, head] of heads.entries()) {
      if (head.done || head.value.place <= place) continue;
      newest = index;
      place = head.value.place;
    }
    const head = heads[newest];
    const listing = listings[newest];
    if (head === undefined || head.done || listing === undefined) return;
    yield head.value;
    heads[newest] = await listing.next();
  }
}

function recordOfEntry({ item }: Entry): StoredRecord {
  return recordOf(item);
}
