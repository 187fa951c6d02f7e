// How the tests' clients of DynamoDB are made.

import type { DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";

/** What a client is made with, here and in other processes. */
export function clientOptions(url: string): DynamoDBClientConfig {
  return {
    endpoint: url,
    region: "eu-central-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  };
}
