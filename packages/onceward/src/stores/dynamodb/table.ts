// The table as the store uses it: reads that are strongly consistent, and writes that say what stood in their way.

import type { DynamoDBItem, DynamoDBLike, DynamoDBPage } from "./client.js";
import { isConditionFailure } from "./faults.js";
import type { Requests } from "./requests.js";

/** A condition, and values for it and for the update; those that neither names are left out. */
export interface Condition {
  /** null: whatever is there. */
  readonly when: string | null;
  readonly values: DynamoDBItem;
}

const ANYWAY: Condition = { when: null, values: {} };

/** What came of a conditional write. */
export type Written =
  /** `item`: after an update, and before a deletion, where it was asked for. */
  | { readonly done: true; readonly item: DynamoDBItem | null }
  /**
   * The condition did not hold. `found`: what is there, where that was asked for: the item that was judged or, where the
   * server does not say or there was none, what is there a moment later.
   */
  | { readonly done: false; readonly found: DynamoDBItem | null };

export interface WriteOptions {
  /** Asks for the item of a condition that does not hold. Default false. */
  readonly look?: boolean;
  /** Asks for the item after an update or before a deletion. Default false. */
  readonly returns?: boolean;
}

export interface PageQuery {
  readonly index: string;
  readonly shard: string;
  /** Only what lies beyond this place, in the order of reading. */
  readonly beyond?: string | null;
  readonly newestFirst: boolean;
  readonly filter?: string;
  readonly values?: DynamoDBItem;
  /** Attributes to answer. Default: all that the index has. */
  readonly attributes?: readonly string[];
  readonly limit?: number;
  readonly from?: DynamoDBItem | undefined;
}

export class Table {
  readonly name: string;
  readonly #client: DynamoDBLike;
  readonly #requests: Requests;

  constructor(client: DynamoDBLike, name: string, requests: Requests) {
    this.#client = client;
    this.name = name;
    this.#requests = requests;
  }

  async get(key: DynamoDBItem): Promise<DynamoDBItem | null> {
    const input = { TableName: this.name, Key: key, ConsistentRead: true };
    const { Item } = await this.#requests.run((options) => this.#client.getItem(input, options));
    return Item ?? null;
  }

  /** Replaces the item whole. */
  put(item: DynamoDBItem, condition: Condition = ANYWAY, options: WriteOptions = {}): Promise<Written> {
    const input = { TableName: this.name, Item: item, ...this.#conditional(condition, "", options) };
    return this.#write(item, options, async (request) => {
      await this.#client.putItem(input, request);
      return null;
    });
  }

  async update(key: DynamoDBItem, change: string, condition: Condition, options: WriteOptions = {}): Promise<Written> {
    const input = {
      TableName: this.name,
      Key: key,
      UpdateExpression: change,
      ...this.#conditional(condition, change, options),
      ReturnValues: options.returns ? "ALL_NEW" : "NONE",
    };
    return this.#write(
      key,
      options,
      async (request) => (await this.#client.updateItem(input, request)).Attributes ?? null,
    );
  }

  async remove(key: DynamoDBItem, condition: Condition = ANYWAY, options: WriteOptions = {}): Promise<Written> {
    const input = {
      TableName: this.name,
      Key: key,
      ...this.#conditional(condition, "", options),
      ReturnValues: options.returns ? "ALL_OLD" : "NONE",
    };
    return this.#write(
      key,
      options,
      async (request) => (await this.#client.deleteItem(input, request)).Attributes ?? null,
    );
  }

  /** One page of an index; that is eventually consistent. */
  page(query: PageQuery): Promise<DynamoDBPage> {
    const { index, shard, beyond, newestFirst, filter, attributes, limit, from } = query;
    const keys = `#shard = :shard${beyond ? ` AND #seq ${newestFirst ? "<" : ">"} :beyond` : ""}`;
    const projection = attributes?.map((name) => `#${name}`).join(", ");
    const values = { ...query.values, ":shard": { S: shard }, ...(beyond ? { ":beyond": { S: beyond } } : {}) };
    const input = {
      TableName: this.name,
      IndexName: index,
      KeyConditionExpression: keys,
      ...(filter === undefined ? {} : { FilterExpression: filter }),
      ...(projection === undefined ? {} : { ProjectionExpression: projection }),
      ...named([keys, filter, projection].join(" "), values),
      ScanIndexForward: !newestFirst,
      ...(limit === undefined ? {} : { Limit: limit }),
      ...(from === undefined ? {} : { ExclusiveStartKey: from }),
    };
    return this.#requests.run((options) => this.#client.query(input, options));
  }

  #conditional({ when, values }: Condition, change: string, { look }: WriteOptions): object {
    const names = named(`${when ?? ""} ${change}`, values);
    if (when === null) return names;
    return { ...names, ConditionExpression: when, ReturnValuesOnConditionCheckFailure: look ? "ALL_OLD" : "NONE" };
  }

  async #write(
    key: DynamoDBItem,
    { look }: WriteOptions,
    send: (options: { readonly abortSignal: AbortSignal }) => Promise<DynamoDBItem | null>,
  ): Promise<Written> {
    try {
      return { done: true, item: await this.#requests.run(send) };
    } catch (error) {
      if (!isConditionFailure(error)) throw error;
      if (!look) return { done: false, found: null };
      // DynamoDB says what it found; servers that only speak its language may not, and say nothing of an absent item.
      const { pk, sk } = key;
      if (error.Item !== undefined || pk === undefined || sk === undefined) {
        return { done: false, found: error.Item ?? null };
      }
      return { done: false, found: await this.get({ pk, sk }) };
    }
  }
}

/** The names and values that expressions mention: DynamoDB refuses to be given others. */
function named(expressions: string, values: DynamoDBItem): object {
  const names = new Set(expressions.match(/#\w+/g) ?? []);
  const used = new Set(expressions.match(/:\w+/g) ?? []);
  const given = Object.entries(values).filter(([name]) => used.has(name));
  return {
    ...(names.size === 0
      ? {}
      : { ExpressionAttributeNames: Object.fromEntries([...names].map((n) => [n, n.slice(1)])) }),
    ...(given.length === 0 ? {} : { ExpressionAttributeValues: Object.fromEntries(given) }),
  };
}
