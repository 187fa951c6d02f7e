// The DynamoDB store: the shared suite.

import { storeSuite } from "onceward/testing";
import { afterAll, beforeAll, describe, it, vi } from "vitest";
import { dynamodbPlace, dynamodbServer } from "./dynamodb-place.js";

// The AWS SDK takes its time, in four processes at once the more so.
vi.setConfig({ testTimeout: 120_000 });

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
