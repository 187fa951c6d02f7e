// Opening: the table is there or made, is ours, and can keep what the store promises.

import { IdempotencyError, isIdempotencyError } from "../../core/errors.js";
import type { DynamoDBDescription, DynamoDBKeyPart, DynamoDBLike } from "./client.js";
import { explain, isNamed } from "./faults.js";
import { number, numberOf, text } from "./item.js";
import { dynamodbTable, INDEX, LAYOUT_VERSION, ownKey, TTL_ATTRIBUTE } from "./layout.js";
import type { Requests } from "./requests.js";
import type { Table } from "./table.js";

export interface OpenOptions {
  readonly client: DynamoDBLike;
  readonly table: Table;
  readonly requests: Requests;
  readonly createTable: boolean;
  /** Whether only one Region of a global table writes. */
  readonly oneRegion: boolean;
  readonly onWarning: (message: string) => void;
  readonly signal: AbortSignal;
}

/** A new table takes seconds; one that still is not there then has something else the matter. */
const LONGEST_CREATION_MS = 120_000;
const FIRST_LOOK_MS = 25;
const LONGEST_LOOK_MS = 1_000;
const DOCS = "docs/stores/dynamodb.md";

/** Resolves to whether DynamoDB deletes expired records by itself. */
export async function openTable(options: OpenOptions): Promise<{ readonly timeToLive: boolean }> {
  const description = await standing(options);
  assertShape(description, options.table.name);
  assertRegions(description, options);
  await adopt(options);
  return { timeToLive: await timeToLive(options) };
}

/** The table once it can be used, made where it is missing. */
async function standing(options: OpenOptions): Promise<DynamoDBDescription> {
  const { table, createTable } = options;
  const until = performance.now() + LONGEST_CREATION_MS;
  let asked = false;
  for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_LOOK_MS)) {
    const found = await describe(options);
    if (found === null && !asked) {
      if (!createTable) {
        const mend = `create it as ${DOCS} says, or leave \`createTable\` on`;
        throw inaccessible(`The DynamoDB table ${table.name} does not exist in this Region and account: ${mend}.`);
      }
      await create(options);
      asked = true;
      pauseMs = FIRST_LOOK_MS;
    } else if (found !== null && isReady(found, table.name)) return found;
    if (performance.now() > until) {
      const status = found?.TableStatus ?? "not there yet";
      throw inaccessible(
        `The DynamoDB table ${table.name} is still ${status} after ${LONGEST_CREATION_MS / 1_000} s: look at it in the AWS console.`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    options.signal.throwIfAborted();
  }
}

async function describe({ client, table, requests }: OpenOptions): Promise<DynamoDBDescription | null> {
  try {
    const { Table: found } = await requests.run((options) => client.describeTable({ TableName: table.name }, options));
    return found ?? null;
  } catch (error) {
    if (isNamed(error, "ResourceNotFoundException")) return null;
    throw inaccessible(explain(error, table.name), error);
  }
}

async function create({ client, table, requests }: OpenOptions): Promise<void> {
  try {
    await requests.run((options) => client.createTable(dynamodbTable({ table: table.name }), options));
  } catch (error) {
    // Another node was faster.
    if (isNamed(error, "ResourceInUseException")) return;
    throw inaccessible(
      `The DynamoDB table ${table.name} does not exist and could not be made. ${explain(error, table.name)}`,
      error,
    );
  }
}

function isReady({ TableStatus, GlobalSecondaryIndexes = [] }: DynamoDBDescription, name: string): boolean {
  if (TableStatus === "CREATING") return false;
  if (TableStatus !== "ACTIVE" && TableStatus !== "UPDATING") {
    const mend = TableStatus === "DELETING" ? "start again when it is gone" : "look at it in the AWS console";
    throw inaccessible(`The DynamoDB table ${name} is ${TableStatus}: ${mend}.`);
  }
  const index = GlobalSecondaryIndexes.find(({ IndexName }) => IndexName === INDEX);
  return index === undefined || index.IndexStatus !== "CREATING";
}

/** SPEC P4: a table of the same name that was made for something else. */
function assertShape(description: DynamoDBDescription, name: string): void {
  const wanted = dynamodbTable({ table: name });
  const types = new Map(description.AttributeDefinitions?.map((part) => [part.AttributeName, part.AttributeType]));
  const keysOf = (schema: readonly DynamoDBKeyPart[] = []): string =>
    schema.map(({ AttributeName, KeyType }) => `${AttributeName} (${KeyType}, ${types.get(AttributeName)})`).join(", ");
  const keys = keysOf(description.KeySchema);
  if (keys !== "pk (HASH, S), sk (RANGE, S)") {
    throw new IdempotencyError(
      "store_foreign",
      `The DynamoDB table ${name} has the key ${keys}, where Onceward's is pk (HASH, S), sk (RANGE, S): give \`table\` another name.`,
    );
  }
  const index = description.GlobalSecondaryIndexes?.find(({ IndexName }) => IndexName === INDEX);
  const { NonKeyAttributes: attributes } = wanted.GlobalSecondaryIndexes[0]?.Projection ?? { NonKeyAttributes: [] };
  const projected = new Set(index?.Projection?.NonKeyAttributes);
  const whole =
    index?.Projection?.ProjectionType === "ALL" || attributes.every((attribute) => projected.has(attribute));
  if (keysOf(index?.KeySchema) === "shard (HASH, S), seq (RANGE, S)" && whole) return;
  const what = index === undefined ? `has no index \`${INDEX}\`` : `has another index \`${INDEX}\` than Onceward's`;
  throw new IdempotencyError(
    "store_foreign",
    `The DynamoDB table ${name} ${what}: make the table as ${DOCS} says, or give \`table\` another name.`,
  );
}

/** Replicas that are written one by one would each give the same key away (SPEC P1). */
function assertRegions({ Replicas = [], MultiRegionConsistency }: DynamoDBDescription, options: OpenOptions): void {
  if (Replicas.length === 0 || MultiRegionConsistency === "STRONG") return;
  const { table, oneRegion, onWarning } = options;
  const regions = Replicas.map(({ RegionName }) => RegionName ?? "?").join(", ");
  const what = `The DynamoDB table ${table.name} is a global table (${regions}) whose Regions agree only eventually`;
  if (oneRegion) {
    onWarning(`${what}: keep to one Region at a time; what was not replicated when that fails is lost.`);
    return;
  }
  const mend =
    "use a table without replicas or one with multi-Region strong consistency, or say `oneRegion: true` where only one Region ever runs";
  throw new IdempotencyError("store_unsuitable", `${what}, so a key could run in each: ${mend}.`);
}

const MARK = ownKey("onceward");

/** Marks an empty table as ours and knows one that is; writes at each start, so that who may only read learns of it then. */
async function adopt({ client, table, requests }: OpenOptions): Promise<void> {
  try {
    if (await isOurs(table)) return;
    const input = { TableName: table.name, Limit: 1, ConsistentRead: true };
    const { Items = [] } = await requests.run((options) => client.scan(input, options));
    if (Items.length === 0) {
      const mark = { ...MARK, version: number(LAYOUT_VERSION) };
      await table.put(mark, { when: "attribute_not_exists(pk)", values: {} });
    }
    // Another node may have been faster.
    if (await isOurs(table)) return;
  } catch (error) {
    if (isIdempotencyError(error, "store_schema_newer")) throw error;
    throw inaccessible(explain(error, table.name), error);
  }
  throw new IdempotencyError(
    "store_foreign",
    `The DynamoDB table ${table.name} holds items that are not Onceward's: give \`table\` another name.`,
  );
}

async function isOurs(table: Table): Promise<boolean> {
  const condition = {
    when: "#version <= :version",
    values: { ":version": number(LAYOUT_VERSION), ":opened": text(new Date().toISOString()) },
  };
  for (;;) {
    const written = await table.update(MARK, "SET #opened = :opened", condition, { look: true });
    if (written.done) return true;
    const version = written.found === null ? null : numberOf(written.found, "version");
    if (version === null) return false;
    if (version <= LAYOUT_VERSION) continue;
    throw new IdempotencyError(
      "store_schema_newer",
      `The DynamoDB table ${table.name} has layout ${version}, this version of Onceward knows ${LAYOUT_VERSION}: upgrade it.`,
    );
  }
}

/** Turned on where it is not, as far as that is allowed; without it all is well, but each deletion is paid for. */
async function timeToLive({ client, table, requests, createTable, onWarning }: OpenOptions): Promise<boolean> {
  const TableName = table.name;
  const without = (why: string): false => {
    onWarning(
      `DynamoDB does not delete expired records of the table ${TableName} by itself (${why}), so Onceward does, at a write unit each: turn time to live on for the attribute \`${TTL_ATTRIBUTE}\`.`,
    );
    return false;
  };
  try {
    const { TimeToLiveDescription } = await requests.run((options) =>
      client.describeTimeToLive({ TableName }, options),
    );
    const { TimeToLiveStatus: status, AttributeName: attribute } = TimeToLiveDescription ?? {};
    if (status === "ENABLED" || status === "ENABLING") {
      return attribute === TTL_ATTRIBUTE || without(`its time to live goes by \`${attribute}\``);
    }
    if (!createTable) return without("time to live is off");
    const TimeToLiveSpecification = { Enabled: true, AttributeName: TTL_ATTRIBUTE };
    await requests.run((options) => client.updateTimeToLive({ TableName, TimeToLiveSpecification }, options));
    return true;
  } catch (error) {
    // Two nodes that open a new table both turn it on; the second is told that it is on.
    if (isNamed(error, "ValidationException") && /already enabled/i.test(String((error as Error).message))) return true;
    return without(String((error as Error).name ?? error));
  }
}

function inaccessible(message: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError("store_inaccessible", message, cause === undefined ? undefined : { cause });
}
