// The DynamoDB store: the shared suite.

import { storeSuite } from "onceward/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { dynamodbPlace, dynamodbServer } from "./dynamodb-place.js";

let server: Awaited<ReturnType<typeof dynamodbServer>>;
beforeAll(async () => {
  server = await dynamodbServer();
});
afterAll(() => server.remove());

storeSuite({
  name: "dynamodb",
  runner: { describe, it },
  capabilities: { shared: true, history: false, clock: "fake" },
  setUp: () => dynamodbPlace(server.url),
});
