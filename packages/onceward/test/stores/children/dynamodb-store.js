// What a process of its own makes a DynamoDB store with, in races of the store suite.

import { DynamoDB } from "@aws-sdk/client-dynamodb";
import { dynamodbStore } from "onceward/stores/dynamodb";

/** `argument` is JSON: the options of the client; the table; and the instant at which the suite's clock stands. */
export function createStore(argument) {
  const { client, table, now } = JSON.parse(argument);
  return dynamodbStore({
    client: new DynamoDB(client),
    table,
    createTable: false,
    maxClockSkewMs: 0,
    now: () => now,
    onWarning() {},
  });
}
