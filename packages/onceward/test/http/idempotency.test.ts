// The runtime of the adapters: options checked at the start, a store opened once, tidied up and closed.

import { afterEach, describe, expect, it, test, vi } from "vitest";
import { IdempotencyError } from "../../src/core/errors.js";
import type { Store } from "../../src/core/store.js";
import { createIdempotency, type Idempotency, type IdempotencyOptions } from "../../src/http/idempotency.js";
import type { Begin } from "../../src/http/layer.js";
import type { HeaderList } from "../../src/http/message.js";
import { memoryStore } from "../../src/stores/memory.js";
import { fakeClock } from "../../src/testing/fake-clock.js";
import { type FaultStore, faultStore } from "../../src/testing/fault-store.js";

type Options = IdempotencyOptions<object>;

const made: Idempotency<object>[] = [];
afterEach(async () => {
  for (const runtime of made.splice(0)) await runtime.close(100);
});

function create(over: Partial<Options> = {}): Idempotency<object> {
  const runtime = createIdempotency<object>({
    store: memoryStore(),
    account: () => "alice",
    background: false,
    ...over,
  });
  made.push(runtime);
  return runtime;
}

function begin(runtime: Idempotency<object>, target = "/orders", headers: HeaderList = [["Idempotency-Key", "k"]]) {
  return runtime.begin({}, { method: "POST", target, headers, body: async () => undefined });
}

function codeOf(begun: Begin): string | null {
  return begun.kind === "answer" ? begun.code : begun.kind;
}

async function finish(begun: Begin): Promise<void> {
  if (begun.kind !== "run") throw new Error(`not run: ${codeOf(begun)}`);
  await begun.claim.finish({ status: 200, headers: [], body: new Uint8Array(0) });
}

/** A store that counts, and that can be kept from opening. */
function watched(): FaultStore & { opened: number; closed: number; fault: Error | null } {
  const inner = memoryStore();
  const store = Object.assign(
    faultStore(inner, () => undefined),
    { opened: 0, closed: 0, fault: null as Error | null },
  );
  store.open = async () => {
    store.opened += 1;
    if (store.fault !== null) throw store.fault;
  };
  store.close = async () => {
    store.closed += 1;
  };
  return store;
}

describe("options", () => {
  test.each<readonly [string, object, string]>([
    ["no store", { store: undefined }, "`store` is missing"],
    ["something else for a store", { store: { path: "x" } }, "`store` is missing or no store"],
    ["no account", { account: undefined }, "`singleTenant` where there is only one account"],
    ["an account that is no function", { account: "alice" }, "`account` is missing"],
    ["an unknown option", { retries: 3 }, 'unknown option "retries"'],
    ["a slip in a policy option's name", { retension: "1h" }, 'did you mean "retention"?'],
    ["a slip in one of its own", { autorizeReplay: () => true }, 'did you mean "authorizeReplay"?'],
    ["dashes", { "on-event": () => {} }, 'did you mean "onEvent"?'],
    ["a malformed policy option", { lease: "soon" }, "lease is"],
    ["a contradiction", { duplicates: "reject", whileRunning: { wait: "1s" } }, "nothing to wait for"],
    ["what only the gateway has", { forwardKey: false }, "gateway only"],
    ["what only the gateway can ask", { onInterrupted: { ask: "http://x/" } }, "the library takes a function"],
    ["an empty namespace", { namespace: "" }, "`namespace` must be"],
    ["a number for an environment", { environment: 7 }, "`environment` must be"],
    ["a text for a switch", { transactional: "yes" }, "`transactional` must be true or false"],
    ["a tiny buffer", { maxBuffer: "1KB" }, "of at least 1 MiB"],
    ["a background that is on", { background: true }, "`background` must be false"],
    ["a background with a slip", { background: { purgeEach: "1s" } }, "`background` must be false"],
    ["a background that never rests", { background: { purgeEvery: 1 } }, "`background` must be false"],
    ["half a waiter", { maxWaiters: 0.5 }, "`maxWaiters` must be"],
    ["no time for the store", { storeTimeoutMs: 0 }, "`storeTimeoutMs` must be"],
  ])("13 %s is refused at once, with the place and the fix", (_what, over, message) => {
    const make = (): unknown => create(over as Partial<Options>);
    expect(make).toThrow(
      expect.objectContaining({ code: "config_invalid", message: expect.stringContaining(message) }),
    );
  });

  it("13 a store that cannot keep the retention is refused at once", () => {
    const store: Store = {
      ...faultStore(memoryStore(), () => undefined),
      info: { ...memoryStore().info, maxRetentionMs: 3_600_000 },
    };
    expect(() => create({ store })).toThrow(
      expect.objectContaining({ code: "store_unsuitable", message: expect.stringContaining("shorten `retention`") }),
    );
    expect(create({ store, retention: "1h" }).policy.retentionMs).toBe(3_600_000);
  });

  it("7.1 transactional needs a store in a database, and runs interrupted operations again by default", () => {
    expect(() => create({ transactional: true })).toThrow(expect.objectContaining({ code: "store_unsuitable" }));
    const transactions = { dialect: "sqlite", completion: () => ({ text: "", values: [] }) } as const;
    const store: Store = { ...faultStore(memoryStore(), () => undefined), transactions };
    expect(create({ store, transactional: true }).policy.onInterrupted).toBe("rerun");
    expect(create({ store, transactional: true, onInterrupted: "hold" }).policy.onInterrupted).toBe("hold");
    expect(create({ store, transactional: false }).policy.onInterrupted).toBe("hold");
  });

  it("12 a profile that covers named APIs is taken, since it is mounted on some", () => {
    expect(create({ profile: "fyno" }).policy.profile).toBe("fyno");
  });

  it("an option that is undefined is left out", () => {
    expect(create({ namespace: undefined, lease: undefined } as object).policy.leaseMs).toBe(30_000);
  });
});

describe("concerns", () => {
  test.each([
    ["POST", true, {}, true],
    ["POST", false, {}, false],
    ["POST", false, { required: true }, true],
    ["GET", true, {}, false],
    ["GET", true, { announceIgnored: true }, true],
    ["GET", false, { announceIgnored: true, required: true }, false],
    ["HEAD", true, { methods: "all", required: true }, false],
    ["GET", true, { methods: "all" }, true],
  ] as const)("K7 K8 %s with a key %s under %j: %s", (method, hasKey, over, expected) => {
    expect(create(over).concerns(method, hasKey)).toBe(expected);
  });
});

describe("the target", () => {
  it("5.8 two spellings of one path are the same request", async () => {
    const runtime = create();
    await finish(await begin(runtime, "/a/./b%41?x=1"));
    expect(codeOf(await begin(runtime, "/a/bA?x=1"))).toBeNull();
    expect(codeOf(await begin(runtime, "/a/bA?x=2"))).toBe("key_reused");
  });

  it("5.8 what can be read in two ways is compared as it is: the framework has matched it", async () => {
    const runtime = create();
    await finish(await begin(runtime, "/files/a%2Fb?x=1"));
    expect(codeOf(await begin(runtime, "/files/a%2Fb?x=1"))).toBeNull();
    expect(codeOf(await begin(runtime, "/files/a%2fb?x=1"))).toBe("key_reused");
  });
});

describe("the store", () => {
  it("is opened once and closed by the last middleware that lets go of it", async () => {
    const store = watched();
    const [one, other] = [create({ store }), create({ store, namespace: "other" })];
    await Promise.all([one.ready(), other.ready(), begin(one), begin(other)]);
    expect(store.opened).toBe(1);
    await one.close(100);
    expect(store.closed).toBe(0);
    await other.close(100);
    await other.close(100);
    expect([store.opened, store.closed]).toEqual([1, 1]);
  });

  it("is opened when it is first needed where the platform wants no I/O before", async () => {
    const store = watched();
    const runtime = createIdempotency<object>({ store, account: () => "alice", background: false }, [], false);
    made.push(runtime);
    expect(store.opened).toBe(0);
    await finish(await begin(runtime));
    expect(store.opened).toBe(1);
  });

  it("that its owner opened is left for him to close", async () => {
    const store = watched();
    store.fault = new IdempotencyError("store_closed", "it is open already");
    const runtime = create({ store });
    await runtime.ready();
    await finish(await begin(runtime));
    await runtime.close(100);
    expect(store.closed).toBe(0);
  });

  it("4.11 that cannot be opened: ready() says why, requests are refused, and it is tried again", async () => {
    const clock = fakeClock();
    const store = watched();
    const fault = new IdempotencyError("store_inaccessible", "no such folder: create it");
    store.fault = fault;
    const events: unknown[] = [];
    const runtime = create({ store, clock, onEvent: (event) => void events.push(event) });
    await expect(runtime.ready()).rejects.toBe(fault);
    expect(events).toContainEqual(
      expect.objectContaining({ type: "store-failed", operation: "open the store", error: fault }),
    );
    expect(codeOf(await begin(runtime))).toBe("store_unavailable");
    expect(store.opened).toBe(1);
    clock.advance(1_000);
    store.fault = null;
    await finish(await begin(runtime));
    expect(store.opened).toBe(2);
  });

  it("4.11 a pause that grows is between the attempts to open it", async () => {
    const clock = fakeClock();
    const store = watched();
    store.fault = new Error("down");
    const runtime = create({ store, clock, onEvent: () => {} });
    await expect(runtime.ready()).rejects.toThrow("down");
    const attempts: number[] = [];
    for (let elapsed = 0; elapsed < 60_000; elapsed += 50) {
      const before = store.opened;
      await runtime.ready().catch(() => {});
      if (store.opened > before) attempts.push(elapsed);
      clock.advance(50);
    }
    expect(attempts.slice(0, 4)).toEqual([100, 300, 700, 1_500]);
    expect((attempts.at(-1) ?? 0) - (attempts.at(-2) ?? 0)).toBe(5_000);
  });

  it("4.11 that takes too long to open: the request is refused in time", async () => {
    const clock = fakeClock();
    const store = watched();
    store.open = () => new Promise(() => {});
    const runtime = create({ store, clock, storeTimeoutMs: 700 });
    const begun = begin(runtime);
    await clock.run(700);
    expect(codeOf(await begun)).toBe("store_unavailable");
    made.splice(0);
  });

  it("4.11 onStoreError: bypass lets requests through meanwhile", async () => {
    const store = watched();
    store.fault = new Error("down");
    expect(codeOf(await begin(create({ store, onStoreError: "bypass", onEvent: () => {} })))).toBe("pass");
  });

  it("P4 that cannot be opened is told on the console where nobody listens", async () => {
    const told = vi.spyOn(console, "error").mockImplementation(() => {});
    const store = watched();
    store.fault = new Error("no such folder");
    await create({ store })
      .ready()
      .catch(() => {});
    expect(told).toHaveBeenCalledExactlyOnceWith("onceward: could not open the store (memory): no such folder");
    told.mockRestore();
  });
});

describe("the background", () => {
  it("4.10 purges and trims, once for a store however many use it, until the last lets go", async () => {
    const clock = fakeClock();
    const store = faultStore(memoryStore({ clock }), () => undefined, { clock });
    const over = { store, clock, background: { purgeEvery: "5s", keepRuns: 1 } } as const;
    const [one, other] = [create(over), create({ ...over, namespace: "other" })];
    await one.ready();
    const rounds = (): number => store.calls.filter(({ operation }) => operation === "purge").length;
    await clock.run(4_999);
    expect(rounds()).toBe(0);
    await clock.run(10_001);
    expect(rounds()).toBe(3);
    expect(store.calls.filter(({ operation }) => operation === "trimRuns").length).toBe(3);
    await one.close(100);
    await clock.run(5_000);
    expect(rounds()).toBe(4);
    const closing = other.close(100);
    await clock.run(1_000);
    await closing;
    await clock.run(60_000);
    expect(rounds()).toBe(4);
    made.splice(0);
  });

  it("P5 finds what was interrupted although no client comes back, first when every lease has lapsed", async () => {
    const clock = fakeClock();
    const store = faultStore(memoryStore({ clock }), () => undefined, { clock });
    const dead = create({ store, clock, lease: "10s" });
    await begin(dead);
    // Its renewals stop with it.
    store.plan = ({ operation }) => (operation === "renew" ? { kind: "fail" } : undefined);
    create({ store, clock, lease: "10s", background: { purgeEvery: "1s" } });
    await clock.run(9_500);
    expect((await store.list({ state: "unknown", limit: 1 })).items).toHaveLength(0);
    await clock.run(2_000);
    expect((await store.list({ state: "unknown", limit: 1 })).items).toHaveLength(1);
    made.splice(0);
  });

  it("that fails is told of and goes on", async () => {
    const clock = fakeClock();
    const store = faultStore(memoryStore({ clock }), ({ operation }) =>
      operation === "purge" ? { kind: "fail" } : undefined,
    );
    const events: string[] = [];
    const onEvent: NonNullable<Options["onEvent"]> = (event) => {
      if (event.type === "store-failed") events.push(event.operation);
    };
    create({ store, clock, background: { purgeEvery: "1s" }, onEvent });
    await clock.run(2_500);
    expect(events).toEqual(["tidy the store up", "tidy the store up"]);
    made.splice(0);
  });
});

describe("close", () => {
  it("4.11 waits for answers that could not be recorded yet", async () => {
    const store = watched();
    store.plan = ({ operation }) => (operation === "complete" ? { kind: "fail" } : undefined);
    const runtime = create({ store });
    await finish(await begin(runtime));
    expect((await store.list({ state: "done", limit: 1 })).items).toHaveLength(0);
    store.plan = () => undefined;
    await runtime.close();
    expect((await store.list({ state: "done", limit: 1 })).items).toHaveLength(1);
    expect(store.closed).toBe(1);
  });
});
