// The memory store: the shared suite, and what is its own.

import { memoryStore } from "onceward/stores/memory";
import { fakeClock, storeSuite } from "onceward/testing";
import { describe, it } from "vitest";

storeSuite({
  name: "memory",
  runner: { describe, it },
  capabilities: { shared: false, history: true, clock: "fake" },
  setUp() {
    const clock = fakeClock();
    return {
      create: (options = {}) => memoryStore({ ...options, clock }),
      advance: (ms) => clock.advance(ms),
    };
  },
});
