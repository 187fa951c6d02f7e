// How the table is laid out: its keys, its one index, and the statement that makes it.

import type { DynamoDBItem, DynamoDBTable } from "./client.js";

/**
 * The partition `pk` is a record's id, and everything of a record lies in it: its head at the sort key `head`, and
 * chunks of what is too long for the head. Partitions whose names begin with `#` are the store's own.
 */
const HEAD = "head";
export const CHUNK = "chunk:";

/** The number of the layout, kept in the table; a higher one is refused. */
export const LAYOUT_VERSION = 1;

/**
 * Records and groups of chunks by their age, for listings and purging: 16 partitions, by the first digit of the id, so
 * that no single one takes all writes.
 */
export const INDEX = "listing";
export const SHARDS: readonly string[] = [..."0123456789abcdef"];

/** What time to live is told of; see item.ts. */
export const TTL_ATTRIBUTE = "ttl";

/** Everything that a listing shows, so that it reads nothing but the index. */
const INDEXED: readonly string[] = [
  ...["state", "fence", "fingerprint", "created", "expires", "lease", "ended", "status"],
  ...["account", "key", "operation", "run", "parts"],
];

export function headKey(id: string): DynamoDBItem {
  return { pk: { S: id }, sk: { S: HEAD } };
}

export function chunkKey(id: string, name: string): DynamoDBItem {
  return { pk: { S: id }, sk: { S: CHUNK + name } };
}

export function ownKey(name: string, sub = "-"): DynamoDBItem {
  return { pk: { S: `#${name}` }, sk: { S: sub } };
}

/**
 * What the SDK's `createTable` takes to make the store's table, for tools that make tables ahead of time. Beside it turn
 * time to live on, for the attribute `ttl`: `updateTimeToLive({ TableName, TimeToLiveSpecification: { Enabled: true,
 * AttributeName: "ttl" } })`.
 */
export function dynamodbTable(options: { readonly table: string }): DynamoDBTable {
  return {
    TableName: options.table,
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: ["pk", "sk", "shard", "seq"].map((name) => ({ AttributeName: name, AttributeType: "S" })),
    KeySchema: [
      { AttributeName: "pk", KeyType: "HASH" },
      { AttributeName: "sk", KeyType: "RANGE" },
    ],
    GlobalSecondaryIndexes: [
      {
        IndexName: INDEX,
        KeySchema: [
          { AttributeName: "shard", KeyType: "HASH" },
          { AttributeName: "seq", KeyType: "RANGE" },
        ],
        Projection: { ProjectionType: "INCLUDE", NonKeyAttributes: [...INDEXED] },
      },
    ],
  };
}
