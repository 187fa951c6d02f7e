// Parts of the NATS store that need no server: what a purge remembers, and how records are counted.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ExpiryZones } from "../../src/stores/nats/expiry-zones.js";
import { RecordCount } from "../../src/stores/nats/record-count.js";

/** A stream as a purge sees it: revisions, and from when on each record may go. */
class Stream {
  readonly records = new Map<number, number>();
  readonly zones = new ExpiryZones();
  last = 0;
  read = 0;

  write(freeAt: number): void {
    this.records.set(++this.last, freeAt);
  }

  /** As the store's purge does it. */
  purge(now: number, limit: number): number {
    let purged = 0;
    for (const zone of this.zones.due(now)) {
      const reading = this.zones.reading(zone);
      let full = false;
      for (const [revision, freeAt] of [...this.records].filter(([at]) => at >= zone.from && at <= zone.to)) {
        this.read++;
        if (freeAt > now) reading.stays(revision, freeAt);
        else if (purged === limit) {
          full = true;
          break;
        } else {
          purged++;
          this.records.delete(revision);
          reading.goes(revision);
        }
      }
      if (full) {
        reading.end();
        return purged;
      }
      reading.end(zone.to);
    }
    return purged;
  }

  due(now: number): number {
    return [...this.records.values()].filter((freeAt) => freeAt <= now).length;
  }
}

describe("4.10 what a purge remembers of the stream", () => {
  test("whatever is written, rewritten and deleted between purges, each deletes all that is due, up to its limit", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("write" as const), many: fc.integer({ min: 1, max: 3_000 }), forMs: fc.nat(50) }),
      fc.record({ kind: fc.constant("rewrite" as const), at: fc.nat(100), forMs: fc.nat(50) }),
      fc.record({ kind: fc.constant("delete" as const), at: fc.nat(100) }),
      fc.record({ kind: fc.constant("purge" as const), limit: fc.constantFrom(1, 500, 100_000) }),
      fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const stream = new Stream();
        let now = 1_000;
        for (const event of steps) {
          const at = (place: number) => [...stream.records.keys()][place % Math.max(1, stream.records.size)] ?? 0;
          if (event.kind === "write") for (let many = event.many; many > 0; many--) stream.write(now + event.forMs);
          else if (event.kind === "pass") now += event.ms;
          else if (event.kind === "delete") stream.records.delete(at(event.at));
          else if (event.kind === "rewrite") {
            if (stream.records.delete(at(event.at))) stream.write(now + event.forMs);
          } else {
            const due = stream.due(now);
            expect(stream.purge(now, event.limit)).toBe(Math.min(due, event.limit));
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  test("what is not due is read once", () => {
    const stream = new Stream();
    for (let index = 0; index < 10_000; index++) stream.write(1_000 + (index % 2) * 1_000);
    for (let now = 0; now < 1_000; now += 100) stream.purge(now, 500);
    expect(stream.read).toBe(10_000);
    while (stream.purge(1_000, 500) > 0);
    expect(stream.records.size).toBe(5_000);
    // Each batch reads to its end, and its zone again: far from all of it each time.
    expect(stream.read).toBeLessThan(40_000);
    const before = stream.read;
    stream.purge(1_500, 500);
    expect(stream.read).toBe(before);
  });
});

describe("9.4 counting records", () => {
  /** A bucket that several nodes count. */
  function bucket(limits: { maxRecords?: number; maxRecordsPerAccount?: number } = {}) {
    const records = new Map<string, number>();
    const cost = { sizes: 0, counts: 0 };
    const node = () => {
      const count = new RecordCount({
        limits: { maxRecords: 10_000_000, maxRecordsPerAccount: 1_000_000, ...limits },
        async size() {
          cost.sizes++;
          return [...records.values()].reduce((sum, many) => sum + many, 0);
        },
        async count() {
          cost.counts++;
          return new Map(records);
        },
      });
      return {
        async claim(account = "acme"): Promise<"claimed" | "account" | "store"> {
          const limit = await count.reached(account);
          if (limit !== null) return limit;
          records.set(account, (records.get(account) ?? 0) + 1);
          count.made(account);
          return "claimed";
        },
        release(account = "acme") {
          records.set(account, (records.get(account) ?? 0) - 1);
          count.gone(account);
        },
      };
    };
    return { records, cost, node };
  }

  test("far from the limits nothing is counted, and the size is asked for once", async () => {
    const { node, cost } = bucket();
    const one = node();
    for (let index = 0; index < 10_000; index++) expect(await one.claim()).toBe("claimed");
    expect(cost).toEqual({ sizes: 1, counts: 0 });
  });

  test("one node keeps a limit exactly, and what is given back or expires makes room", async () => {
    const { node, records } = bucket({ maxRecordsPerAccount: 100 });
    const one = node();
    for (let index = 0; index < 100; index++) expect(await one.claim()).toBe("claimed");
    expect(await one.claim()).toBe("account");
    expect(await one.claim("other")).toBe("claimed");
    one.release();
    expect(await one.claim()).toBe("claimed");
    expect(await one.claim()).toBe("account");
    records.set("acme", 50);
    for (let index = 0; index < 50; index++) expect(await one.claim()).toBe("claimed");
    expect(await one.claim()).toBe("account");
  });

  test("several nodes keep a limit about: each adds a sixteenth of the room before it looks again", async () => {
    const { node, records } = bucket({ maxRecordsPerAccount: 10_000 });
    const nodes = Array.from({ length: 8 }, node);
    let full = 0;
    while (full < nodes.length) {
      full = 0;
      for (const one of nodes) if ((await one.claim()) === "account") full++;
    }
    expect(records.get("acme")).toBeGreaterThanOrEqual(10_000);
    expect(records.get("acme")).toBeLessThan(10_010);
  });

  test("an account at its limit makes no work for others", async () => {
    const { node, cost } = bucket({ maxRecordsPerAccount: 1_000 });
    const one = node();
    while ((await one.claim("greedy")) === "claimed");
    await one.claim("modest");
    const before = { ...cost };
    for (let index = 0; index < 50; index++) expect(await one.claim("modest")).toBe("claimed");
    expect(cost).toEqual(before);
  });

  test("the store's own limit holds for all accounts together", async () => {
    const { node } = bucket({ maxRecords: 20 });
    const one = node();
    for (let index = 0; index < 20; index++) expect(await one.claim(`account-${index}`)).toBe("claimed");
    expect(await one.claim("another")).toBe("store");
  });
});
