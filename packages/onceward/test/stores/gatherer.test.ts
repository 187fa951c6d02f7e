// Gathering: what travels together and when, what fails alone, and that nothing waits or hangs for ever.

import { afterEach, describe, expect, it } from "vitest";
import { Gatherer, type GathererOptions, type Reply } from "../../src/stores/gathering/gatherer.js";

interface Call {
  readonly key: string;
  readonly bytes?: number;
}

/** A round trip that is under way until it is told how it ends. */
interface Trip {
  readonly calls: readonly Call[];
  answer(): void;
  reply(replies: readonly Reply<string>[]): void;
  fail(error: unknown): void;
}

class Bench {
  readonly trips: Trip[] = [];
  readonly gatherer: Gatherer<Call, string>;

  constructor(options: Partial<GathererOptions<Call, string>> = {}) {
    this.gatherer = new Gatherer({
      name: "test",
      ...{ maxBatch: 100, longestWaitMs: 10, maxQueued: 20_000, giveUpAfterMs: 60_000 },
      send: (calls) =>
        new Promise((resolve, fail) => {
          const answer = () => resolve(calls.map(({ key }) => ({ ok: true, value: key })));
          this.trips.push({ calls, answer, reply: resolve, fail });
        }),
      ...options,
    });
    benches.push(this);
  }

  submit(...keys: readonly string[]): Promise<string>[] {
    return keys.map((key) => this.gatherer.submit({ key }));
  }

  trip(index: number): Trip {
    const trip = this.trips[index];
    if (trip === undefined) throw new Error(`There is no round trip ${index} of ${this.trips.length}.`);
    return trip;
  }

  /** The keys of each round trip so far. */
  get sent(): string[] {
    return this.trips.map(({ calls }) => calls.map(({ key }) => key).join(" "));
  }
}

const benches: Bench[] = [];
afterEach(async () => {
  for (const { gatherer, trips } of benches.splice(0)) {
    const closing = gatherer.close();
    for (let answered = 0; answered < trips.length; ) {
      trips[answered++]?.answer();
      await turns(2);
    }
    await closing;
  }
});

async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turns(1);
}

const keyed = { keyOf: ({ key }: Call) => key };

describe("what travels together", () => {
  it("is what was asked for in one turn; one that is alone waits for nothing", async () => {
    const bench = new Bench();
    const first = bench.submit("a");
    await turns(1);
    expect(bench.sent).toEqual(["a"]);
    bench.trip(0).answer();
    expect(await Promise.all(first)).toEqual(["a"]);
    void bench.submit("b", "c");
    await turns(1);
    expect(bench.sent).toEqual(["a", "b c"]);
  });

  it("gathers while a round trip is under way, and goes as soon as it is back", async () => {
    const bench = new Bench();
    const all = bench.submit("a");
    await turns();
    all.push(...bench.submit("b"));
    await turns();
    all.push(...bench.submit("c"));
    await turns();
    expect(bench.sent).toEqual(["a"]);
    bench.trip(0).answer();
    await turns();
    expect(bench.sent).toEqual(["a", "b c"]);
    bench.trip(1).answer();
    expect(await Promise.all(all)).toEqual(["a", "b", "c"]);
  });

  it("is bounded by maxBatch, in the order of asking, and by maxBatchBytes, beyond which one travels alone", async () => {
    const bench = new Bench({ maxBatch: 2 });
    void bench.submit("a", "b", "c", "d", "e");
    for (let trip = 0; trip < 3; trip++) {
      await turns();
      bench.trip(trip).answer();
    }
    expect(bench.sent).toEqual(["a b", "c d", "e"]);

    const heavy = new Bench({ sizeOf: ({ bytes = 0 }) => bytes, maxBatchBytes: 10 });
    for (const [key, bytes] of Object.entries({ a: 4, b: 6, c: 1, d: 99, e: 10, f: 0 }))
      void heavy.gatherer.submit({ key, bytes });
    for (let trip = 0; trip < 4; trip++) {
      await turns();
      heavy.trip(trip).answer();
    }
    expect(heavy.sent).toEqual(["a b", "c", "d", "e f"]);
  });

  it("fills as many lanes at once as a burst needs, and no more", async () => {
    const bench = new Bench({ maxBatch: 2, lanes: 3 });
    void bench.submit("a", "b", "c", "d", "e", "f", "g");
    await turns();
    expect(bench.sent).toEqual(["a b", "c d", "e f"]);
    bench.trip(1).answer();
    await turns();
    expect(bench.sent.slice(3)).toEqual(["g"]);
    const small = new Bench({ lanes: 3 });
    void small.submit("a", "b");
    await turns();
    expect(small.sent).toEqual(["a b"]);
  });

  it("is answered in one burst, before anything of it is sent again", async () => {
    const bench = new Bench();
    const again = bench
      .submit("a", "b", "c")
      .map(async (answered) => bench.gatherer.submit({ key: `${await answered}2` }));
    await turns();
    bench.trip(0).answer();
    await turns();
    expect(bench.sent).toEqual(["a b c", "a2 b2 c2"]);
    bench.trip(1).answer();
    await Promise.all(again);
  });
});

describe("calls of one key", () => {
  it("never share a round trip, keep their order, and a round trip's calls are in the order of their keys", async () => {
    const bench = new Bench(keyed);
    const order: string[] = [];
    const note = (name: string, key: string) => bench.gatherer.submit({ key }).then(() => order.push(name));
    const all = [note("b1", "b"), note("a1", "a"), note("b2", "b"), note("c1", "c"), note("b3", "b"), note("a2", "a")];
    for (let trip = 0; trip < 3; trip++) {
      await turns();
      bench.trip(trip).answer();
    }
    await Promise.all(all);
    expect(bench.sent).toEqual(["a b c", "a b", "b"]);
    expect(order.filter((name) => name.startsWith("b"))).toEqual(["b1", "b2", "b3"]);
  });

  it("that come while one of them is under way go with the next", async () => {
    const bench = new Bench(keyed);
    void bench.submit("a");
    await turns();
    void bench.submit("a", "b", "a");
    bench.trip(0).answer();
    await turns();
    bench.trip(1).answer();
    await turns();
    expect(bench.sent).toEqual(["a", "a b", "a"]);
  });

  it("hold up no other key, however many they are, and cost a round trip nothing", async () => {
    let looks = 0;
    const keyOf = ({ key }: Call): string => {
      looks++;
      return key;
    };
    const bench = new Bench({ keyOf, maxBatch: 50, maxQueued: 100_000 });
    const storm = bench.submit(...Array.from({ length: 10_000 }, () => "hot"));
    await turns();
    const others = bench.submit(...Array.from({ length: 40 }, (_, index) => `cold ${index}`));
    for (let trip = 0; trip < 10_000; trip++) {
      bench.trip(trip).answer();
      await until(() => bench.trips.length > trip + 1 || trip === 9_999);
    }
    await Promise.all([...storm, ...others]);
    expect(bench.trips).toHaveLength(10_000);
    expect(bench.trip(1).calls).toHaveLength(41);
    expect(looks).toBe(10_040);
  });

  it("take turns with other keys of which there are many too", async () => {
    const bench = new Bench({ ...keyed, maxBatch: 2 });
    void bench.submit("a", "a", "a", "b", "b", "c", "d");
    for (let trip = 0; trip < 4; trip++) {
      await turns();
      bench.trip(trip).answer();
    }
    expect(bench.sent).toEqual(["a b", "c d", "a b", "a"]);
  });
});

describe("a member that fails", () => {
  it("fails alone where the round trip says so", async () => {
    const bench = new Bench();
    const [a, b, c] = bench.submit("a", "b", "c");
    await turns();
    bench.trip(0).reply([
      { ok: true, value: "a" },
      { ok: false, error: new Error("too large") },
    ]);
    expect(await a).toBe("a");
    await expect(b).rejects.toThrow("too large");
    await expect(c).rejects.toThrow("answered fewer calls");
  });

  it("is found by halves where the round trip fails as a whole and had no effect; each other takes effect once", async () => {
    const effects = new Map<string, number>();
    let trips = 0;
    const bench = new Bench({
      retryAlone: (error) => (error as Error).message === "of a member",
      async send(calls) {
        trips++;
        if (calls.some(({ key }) => key === "bad")) throw new Error("of a member");
        for (const { key } of calls) effects.set(key, (effects.get(key) ?? 0) + 1);
        return calls.map(({ key }) => ({ ok: true, value: key }));
      },
    });
    const keys = Array.from({ length: 64 }, (_, index) => (index === 41 ? "bad" : `key ${index}`));
    const settled = await Promise.allSettled(bench.submit(...keys));
    expect(settled.map(({ status }) => status)).toEqual(keys.map((key) => (key === "bad" ? "rejected" : "fulfilled")));
    expect([...effects.values()].every((count) => count === 1) && effects.size === 63).toBe(true);
    expect(trips).toBe(13);
  });

  it("takes the others with it where nobody knows whether the round trip had an effect", async () => {
    let trips = 0;
    const bench = new Bench({
      retryAlone: () => false,
      send: () => {
        trips++;
        throw new Error("cut off");
      },
    });
    const settled = await Promise.allSettled(bench.submit("a", "b"));
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(trips).toBe(1);
  });

  it("frees its lane", async () => {
    const bench = new Bench();
    const [a] = bench.submit("a");
    await turns();
    const [b] = bench.submit("b");
    bench.trip(0).fail(new Error("cut off"));
    await expect(a).rejects.toThrow("cut off");
    await turns();
    bench.trip(1).answer();
    expect(await b).toBe("b");
  });
});

describe("a round trip that takes long", () => {
  it("is overtaken after longestWaitMs, in as many lanes as there may be", async () => {
    const bench = new Bench({ lanes: 1, maxLanes: 2, longestWaitMs: 10 });
    void bench.submit("a");
    await turns();
    const [b] = bench.submit("b");
    await turns();
    expect(bench.sent).toEqual(["a"]);
    await until(() => bench.trips.length === 2);
    void bench.submit("c");
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(bench.sent).toEqual(["a", "b"]);
    bench.trip(1).answer();
    expect(await b).toBe("b");
    await until(() => bench.trips.length === 3);
  });

  it("is not overtaken where there is one lane", async () => {
    const bench = new Bench({ longestWaitMs: 5 });
    void bench.submit("a");
    await turns();
    void bench.submit("b");
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(bench.sent).toEqual(["a"]);
  });

  it("is given up, with those that wait for it; then its lane is free again, and its late answer is nobody's", async () => {
    const bench = new Bench({ giveUpAfterMs: 50 });
    const hung = bench.submit("a", "b");
    await turns();
    const [waiting] = bench.submit("c");
    for (const promise of [...hung, waiting])
      await expect(promise).rejects.toMatchObject({
        code: "store_unavailable",
        message: expect.stringMatching(/50 ms/),
      });
    const [next] = bench.submit("d");
    await until(() => bench.trips.length === 2);
    expect(bench.sent).toEqual(["a b", "d"]);
    bench.trip(0).answer();
    bench.trip(1).answer();
    expect(await next).toBe("d");
  });

  it("keeps its lane where a connection does one thing at a time, and what gave up meanwhile has no effect", async () => {
    const bench = new Bench({ giveUpAfterMs: 50, exclusive: true });
    const [hung] = bench.submit("a");
    await turns();
    const [waiting] = bench.submit("b");
    await expect(hung).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(waiting).rejects.toMatchObject({ code: "store_unavailable" });
    const [later] = bench.submit("c");
    await turns();
    expect(bench.sent).toEqual(["a"]);
    bench.trip(0).answer();
    await turns();
    expect(bench.sent).toEqual(["a", "c"]);
    bench.trip(1).answer();
    expect(await later).toBe("c");
  });

  it("fails as a whole only for those who still wait: the others are not sent again", async () => {
    let fail = (): void => {};
    const sent: string[] = [];
    const bench = new Bench({
      giveUpAfterMs: 50,
      exclusive: true,
      retryAlone: () => true,
      send: (calls) => {
        sent.push(calls.map(({ key }) => key).join(" "));
        return new Promise((_, reject) => {
          fail = () => reject(new Error("of a member"));
        });
      },
    });
    const all = bench.submit("a", "b");
    await turns();
    for (const promise of all) await expect(promise).rejects.toMatchObject({ code: "store_unavailable" });
    fail();
    await turns();
    expect(sent).toEqual(["a b"]);
  });
});

describe("bounds and the end", () => {
  it("9.3 more than maxQueued are refused at once, duplicates of one key too; one that gave up makes room", async () => {
    const bench = new Bench({ ...keyed, maxQueued: 3, giveUpAfterMs: 50, exclusive: true });
    const all = bench.submit("a");
    await turns();
    all.push(...bench.submit("b", "b", "b"));
    await expect(bench.gatherer.submit({ key: "c" })).rejects.toMatchObject({
      code: "store_unavailable",
      message: "3 operations wait for the test store already.",
    });
    for (const promise of all) await expect(promise).rejects.toMatchObject({ code: "store_unavailable" });
    const [next] = bench.submit("c");
    bench.trip(0).answer();
    await turns();
    bench.trip(1).answer();
    expect(await next).toBe("c");
  });

  it("4.4 closing finishes what is under way and what waits, and refuses what comes then", async () => {
    const bench = new Bench({ maxBatch: 1 });
    const all = bench.submit("a", "b");
    const closing = [bench.gatherer.close(), bench.gatherer.close()];
    await expect(bench.gatherer.submit({ key: "c" })).rejects.toMatchObject({ code: "store_closed" });
    let closed = 0;
    for (const close of closing) void close.then(() => closed++);
    for (let trip = 0; trip < 2; trip++) {
      await turns();
      expect(closed).toBe(0);
      bench.trip(trip).answer();
    }
    expect(await Promise.all(all)).toEqual(["a", "b"]);
    await Promise.all(closing);
    await bench.gatherer.close();
  });

  it.each([true, false])("closing does not hang with a round trip that hangs (exclusive: %s)", async (exclusive) => {
    const bench = new Bench({ ...keyed, exclusive, giveUpAfterMs: 50, send: () => new Promise(() => {}) });
    const all = bench.submit("a");
    await turns();
    all.push(...bench.submit("a", "b", "a"));
    const settled = Promise.allSettled(all);
    await bench.gatherer.close();
    expect((await settled).every(({ status }) => status === "rejected")).toBe(true);
  });

  it("closing one that was never used, or has nothing to do, is done at once", async () => {
    await new Bench().gatherer.close();
    const bench = new Bench();
    const [a] = bench.submit("a");
    await turns();
    bench.trip(0).answer();
    await a;
    await bench.gatherer.close();
  });
});
