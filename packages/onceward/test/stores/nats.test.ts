// The NATS store: the shared suite.

import { storeSuite } from "onceward/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { describeNats } from "./nats-client.js";
import { natsPlace, natsServer } from "./nats-place.js";

describeNats("on nats-server", () => {
  let server: Awaited<ReturnType<typeof natsServer>>;
  beforeAll(async () => {
    server = await natsServer();
  });
  afterAll(() => server.remove());

  storeSuite({
    name: "nats",
    runner: { describe, it },
    capabilities: { shared: true, history: false, clock: "fake" },
    setUp: () => natsPlace(server.url),
  });
});
