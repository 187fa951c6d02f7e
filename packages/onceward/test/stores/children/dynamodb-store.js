// What a process of its own makes a DynamoDB store with, in races of the store suite.

import { DynamoDB } from "@aws-sdk/client-dynamodb";
import { dynamodbStore } from "onceward/stores/dynamodb";
import { sealedStore } from "onceward/stores/sealed";

/**
 * `argument` is JSON: the options of the client; the table; the instant at which the suite's clock stands; and `key`
 * (hexadecimal), where the store is to be sealed.
 */
export function createStore(argument) {
  const { client, table, now: instant, key } = JSON.parse(argument);
  const store = dynamodbStore({
    client: new DynamoDB(client),
    table,
    createTable: false,
    maxWaitMs: 60_000,
    maxClockSkewMs: 0,
    now: () => instant,
    onWarning() {},
  });
  return key === undefined ? store : sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
}
