// Operations side by side: bounded, none held up by a slow one, none lost at the end.

import { describe, expect, test } from "vitest";
import { InFlight, type InFlightOptions } from "../../../src/stores/heads/in-flight.js";

function lane(change: Partial<InFlightOptions> = {}): InFlight {
  return new InFlight({ name: "test", most: 2, longestWaitMs: 60_000, maxQueued: 10, ...change });
}

/** Operations that end when they are told to. */
class Operations {
  readonly started: number[] = [];
  readonly #ends = new Map<number, () => void>();

  work(index: number): () => Promise<number> {
    return () => {
      this.started.push(index);
      return new Promise((resolve) => this.#ends.set(index, () => resolve(index)));
    };
  }

  end(index: number): void {
    this.#ends.get(index)?.();
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("operations in flight", () => {
  test("one that comes alone starts in the same turn", () => {
    const operations = new Operations();
    void lane().run(operations.work(1));
    expect(operations.started).toEqual([1]);
  });

  test("no more than the bound are under way, and the rest follow in their order", async () => {
    const inFlight = lane();
    const operations = new Operations();
    const all = [1, 2, 3, 4].map((index) => inFlight.run(operations.work(index)));
    expect(operations.started).toEqual([1, 2]);
    operations.end(2);
    await turn();
    expect(operations.started).toEqual([1, 2, 3]);
    for (const index of [1, 3]) operations.end(index);
    await turn();
    operations.end(4);
    expect(await Promise.all(all)).toEqual([1, 2, 3, 4]);
  });

  test("slow ones hold nobody up for longer than the longest wait", async () => {
    const inFlight = lane({ longestWaitMs: 5 });
    const operations = new Operations();
    const all = [1, 2, 3, 4, 5].map((index) => inFlight.run(operations.work(index)));
    await expect.poll(() => [...operations.started].sort()).toEqual([1, 2, 3, 4, 5]);
    for (const index of [1, 2, 3, 4, 5]) operations.end(index);
    await Promise.all(all);
  });

  test("one that fails fails alone and makes room", async () => {
    const inFlight = lane({ most: 1 });
    const failing = inFlight.run(() => Promise.reject(new Error("its own")));
    const next = inFlight.run(async () => "fine");
    await expect(failing).rejects.toThrow("its own");
    expect(await next).toBe("fine");
  });

  test("where too many wait, more are store_unavailable at once", async () => {
    const inFlight = lane({ most: 1, maxQueued: 1 });
    const operations = new Operations();
    const all = [1, 2].map((index) => inFlight.run(operations.work(index)));
    await expect(inFlight.run(operations.work(3))).rejects.toMatchObject({ code: "store_unavailable" });
    operations.end(1);
    await turn();
    operations.end(2);
    expect(await Promise.all(all)).toEqual([1, 2]);
  });

  test("P5 in an overload the latest start first, and those that waited for too long not at all", async () => {
    const inFlight = lane({ giveUpAfterMs: 20 });
    const operations = new Operations();
    const all = [1, 2, 3, 4, 5, 6, 7].map((index) => inFlight.run(operations.work(index)));
    operations.end(1);
    operations.end(2);
    await turn();
    expect(operations.started).toEqual([1, 2, 7, 6]);
    const given = Promise.allSettled(all);
    await new Promise((resolve) => setTimeout(resolve, 25));
    const fresh = inFlight.run(operations.work(8));
    operations.end(7);
    operations.end(6);
    await turn();
    expect(operations.started).toEqual([1, 2, 7, 6, 8]);
    operations.end(8);
    expect(await fresh).toBe(8);
    expect((await given).map((one) => (one.status === "fulfilled" ? one.value : one.reason.code))).toEqual([
      ...[1, 2],
      ...["store_unavailable", "store_unavailable", "store_unavailable"],
      ...[6, 7],
    ]);
  });

  test("4.4 closing waits for those under way and those that wait, and refuses new ones", async () => {
    const inFlight = lane({ most: 1 });
    const operations = new Operations();
    const all = [1, 2].map((index) => inFlight.run(operations.work(index)));
    let closed = false;
    const closing = inFlight.close().then(() => (closed = true));
    await expect(inFlight.run(operations.work(3))).rejects.toMatchObject({ code: "store_closed" });
    operations.end(1);
    await turn();
    expect(closed).toBe(false);
    operations.end(2);
    await Promise.all([...all, closing]);
    expect(closed).toBe(true);
  });
});
