// The DynamoDB store on a server that does not say what a condition failed on, as dynalite is and DynamoDB was until 2023;
// sealed, so that both are proven by one run of the shared suite.

import { storeSuite } from "onceward/testing";
import { afterAll, beforeAll, describe, it, vi } from "vitest";
import { dynamodbPlace, dynamodbServer } from "./dynamodb-place.js";

// The AWS SDK takes its time, in four processes at once the more so.
vi.setConfig({ testTimeout: 120_000 });

let server: Awaited<ReturnType<typeof dynamodbServer>>;
beforeAll(async () => {
  server = await dynamodbServer({ answersFound: false });
});
afterAll(() => server.remove());

storeSuite({
  name: "sealed(dynamodb), which reads what it found",
  runner: { describe, it },
  capabilities: { shared: true, history: false, clock: "fake" },
  setUp: () => dynamodbPlace(server.url, { key: "5e".repeat(32) }),
});
