import type { Store } from "onceward";
import { decodeResponse, type HttpResponse } from "onceward/http";
import { type FaultOperation, faultStore } from "onceward/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { releaseRecord, type Settlement, settleRecord } from "../../src/admin/settle.js";
import { type Claimed, claim, done, type Fixture, hex, LEASE_MS, start, unknown } from "./make.js";

let fixture: Fixture;
let store: Store;
beforeEach(async () => {
  fixture = await start();
  store = fixture.store;
});
afterEach(() => fixture.close());

const NEVER: Settlement = { outcome: "never-happened" };
const RESPONSE: HttpResponse = { status: 201, headers: [["X-Transfer", "t1"]], body: new Uint8Array([0, 255, 10]) };
const DONE: Settlement = { outcome: "done", response: RESPONSE };
const settle = (id: string, decision: Settlement, on: Store = store) =>
  settleRecord(on, id, decision, "ann", "asked the bank");
const release = (id: string, force: boolean, on: Store = store) => releaseRecord(on, id, { force }, "ann", "stuck");

const audit = async () => (await store.history!.listAudit({ limit: 100 })).items;
const runOf = ({ runId }: Claimed) => store.history!.getRun(runId);

/** Runs `first` before the store's next call of this operation, as somebody who is quicker would. */
function overtaken(operation: FaultOperation, first: () => Promise<unknown>): Store {
  const faulty = faultStore(store, () => undefined);
  const original = faulty[operation as "release"];
  const overtake = async (...args: Parameters<typeof original>) => {
    await first();
    return original(...args);
  };
  return Object.assign(faulty, { [operation]: overtake });
}

describe("4.14 settling", () => {
  test("4.14 as done with a response: the record is done with exactly that, and the run and the trail say so", async () => {
    const record = await unknown(store);
    expect(await settle(record.id, DONE)).toMatchObject({ kind: "changed", audited: true, amended: true });
    const found = (await store.find(record.id))!.record;
    expect(found).toMatchObject({ state: "done", status: 201 });
    expect(decodeResponse(201, found.payload!)).toEqual(RESPONSE);
    expect(await runOf(record)).toMatchObject({ outcome: "recorded", status: 201 });
    expect(await audit()).toEqual([
      {
        id: expect.any(String),
        at: expect.any(Number),
        who: "ann",
        action: "settle",
        recordId: record.id,
        account: "acme",
        key: "key-1",
        reason: "asked the bank",
        detail: "settled as done with status 201",
      },
    ]);
  });

  test("4.14 as never happened: the key is unused again", async () => {
    const record = await unknown(store);
    expect(await settle(record.id, NEVER)).toMatchObject({ kind: "changed" });
    expect(await store.find(record.id)).toBeNull();
    expect(await runOf(record)).toMatchObject({ outcome: "not_started", status: 502 });
    expect((await audit())[0]).toMatchObject({ detail: "settled as never happened" });
  });

  test.each<[string, Settlement]>([
    ["done", DONE],
    ["never happened", NEVER],
  ])("4.14 4.2 an owner that comes back after it finds its fence stale: %s", async (_, decision) => {
    const record = await unknown(store);
    await settle(record.id, decision);
    expect(await store.renew(record.id, record.fence, LEASE_MS)).toBe(false);
    expect(await store.complete(record.id, record.fence, { status: 500, payload: new Uint8Array() })).toBe(false);
    expect((await store.find(record.id))?.record.status ?? null).toBe(decision === DONE ? 201 : null);
  });

  test("4.14 a running record whose lease has lapsed is settled, one whose owner is alive is not", async () => {
    const record = await claim(store);
    const refused = await settle(record.id, DONE);
    expect(refused).toMatchObject({ kind: "conflict", detail: expect.stringContaining("alive") });
    expect(await audit()).toEqual([]);
    fixture.clock.advance(LEASE_MS);
    expect(await settle(record.id, DONE)).toMatchObject({ kind: "changed" });
  });

  test("4.14 an unknown one whose owner has come back is not settled", async () => {
    const record = await unknown(store);
    expect(await store.renew(record.id, record.fence, LEASE_MS)).toBe(true);
    for (const decision of [DONE, NEVER]) expect(await settle(record.id, decision)).toMatchObject({ kind: "conflict" });
    expect(await store.complete(record.id, record.fence, { status: 200, payload: new Uint8Array() })).toBe(true);
  });

  test("4.14 what is done stays as it is", async () => {
    const record = await done(store);
    for (const decision of [DONE, NEVER]) {
      expect(await settle(record.id, decision)).toMatchObject({
        kind: "conflict",
        detail: expect.stringContaining("status 201"),
      });
    }
    expect(await release(record.id, true)).toMatchObject({ kind: "conflict" });
    expect((await store.find(record.id))!.record.state).toBe("done");
  });

  test("4.14 what is not there, or has expired, is said to be missing", async () => {
    expect(await settle(hex(32), NEVER)).toMatchObject({ kind: "missing" });
    const record = await unknown(store);
    fixture.clock.advance(86_400_000);
    expect(await settle(record.id, NEVER)).toMatchObject({ kind: "missing" });
    expect(await release(record.id, true)).toMatchObject({ kind: "missing" });
  });

  test("4.14 without a reason nothing happens", async () => {
    const record = await unknown(store);
    for (const reason of ["", " \t\n", "x".repeat(2_001)]) {
      expect(await settleRecord(store, record.id, NEVER, "ann", reason)).toMatchObject({
        kind: "invalid",
        detail: expect.stringContaining("reason"),
      });
      expect(await releaseRecord(store, record.id, { force: true }, "ann", reason)).toMatchObject({ kind: "invalid" });
    }
    expect((await store.find(record.id))!.record.state).toBe("unknown");
  });

  test.each<[string, Partial<HttpResponse>]>([
    ["status 99", { status: 99 }],
    ["status 101", { status: 101 }],
    ["status 600", { status: 600 }],
    ["a fraction", { status: 200.5 }],
    ["204 with a body", { status: 204 }],
    ["a header name with a space", { headers: [["a b", "c"]] }],
    ["a header value with a line break", { headers: [["a", "b\r\nSet-Cookie: x"]] }],
    ["a header value beyond bytes", { headers: [["a", "€"]] }],
    ["a length of its own", { headers: [["Content-Length", "1"]] }],
    ["a field of the connection", { headers: [["Transfer-Encoding", "chunked"]] }],
    ["too many fields", { headers: Array.from({ length: 101 }, () => ["a", "b"] as const) }],
    ["a large header", { headers: [["a", "b".repeat(16_385)]] }],
    ["a large body", { body: new Uint8Array(1_048_577) }],
  ])("4.14 a response that could not be replayed is refused: %s", async (_, fault) => {
    const record = await unknown(store);
    expect(await settle(record.id, { outcome: "done", response: { ...RESPONSE, ...fault } })).toMatchObject({
      kind: "invalid",
    });
    expect((await store.find(record.id))!.record.state).toBe("unknown");
  });
});

describe("4.14 releasing", () => {
  test("4.14 a running record is released with force only", async () => {
    const record = await claim(store);
    expect(await release(record.id, false)).toMatchObject({
      kind: "conflict",
      detail: expect.stringContaining("force"),
    });
    expect(await release(record.id, true)).toMatchObject({
      kind: "changed",
      entry: { action: "release", detail: "released with force while running" },
    });
    expect(await store.find(record.id)).toBeNull();
    expect(await runOf(record)).toMatchObject({ outcome: "unknown" });
    expect(await store.complete(record.id, record.fence, { status: 200, payload: new Uint8Array() })).toBe(false);
  });

  test("4.14 a lapsed lease is no proof that the owner is dead: force is needed too", async () => {
    const record = await claim(store);
    fixture.clock.advance(LEASE_MS);
    expect(await release(record.id, false)).toMatchObject({ kind: "conflict" });
    expect(await release(record.id, true)).toMatchObject({ kind: "changed" });
  });

  test("4.14 an unknown record is released without force, unless its owner has come back", async () => {
    const record = await unknown(store);
    expect(await store.renew(record.id, record.fence, LEASE_MS)).toBe(true);
    expect(await release(record.id, false)).toMatchObject({ kind: "conflict" });
    fixture.clock.advance(LEASE_MS);
    expect(await release(record.id, false)).toMatchObject({ kind: "changed" });
    expect(await store.find(record.id)).toBeNull();
  });
});

describe("4.14 races with the owner are answered honestly", () => {
  test.each<[string, Settlement, FaultOperation]>([
    ["as done", DONE, "settle"],
    ["as never happened", NEVER, "takeOver"],
  ])(
    "4.14 the owner comes back and answers just before a settling %s: its answer stands",
    async (_, decision, operation) => {
      const record = await unknown(store);
      const owner = () => store.complete(record.id, record.fence, { status: 202, payload: new Uint8Array([1]) });
      const result = await settle(record.id, decision, overtaken(operation, owner));
      expect(result).toMatchObject({ kind: "conflict", detail: expect.stringContaining("status 202") });
      expect((await store.find(record.id))!.record).toMatchObject({ state: "done", status: 202 });
      const trail = await audit();
      expect(trail).toHaveLength(2);
      expect(trail.map(({ detail }) => detail.startsWith("not settled"))).toContain(true);
      expect(await runOf(record)).toMatchObject({ outcome: "unknown" });
    },
  );

  test("4.14 the owner comes back and renews just before a settling as never happened: it goes on", async () => {
    const record = await claim(store);
    fixture.clock.advance(LEASE_MS);
    const owner = () => store.renew(record.id, record.fence, LEASE_MS);
    const result = await settle(record.id, NEVER, overtaken("takeOver", owner));
    expect(result).toMatchObject({ kind: "conflict", detail: expect.stringContaining("came back") });
    expect(await store.complete(record.id, record.fence, { status: 200, payload: new Uint8Array() })).toBe(true);
  });

  test("4.14 the owner cannot come back between the two steps of a settling as never happened", async () => {
    const record = await unknown(store);
    const owner = async () => {
      expect(await store.renew(record.id, record.fence, LEASE_MS)).toBe(false);
      expect(await store.complete(record.id, record.fence, { status: 200, payload: new Uint8Array() })).toBe(false);
    };
    expect(await settle(record.id, NEVER, overtaken("release", owner))).toMatchObject({ kind: "changed" });
    expect(await store.find(record.id)).toBeNull();
  });

  test("4.14 the owner answers just before a release with force: its answer stands", async () => {
    const record = await claim(store);
    const owner = () => store.complete(record.id, record.fence, { status: 200, payload: new Uint8Array() });
    expect(await release(record.id, true, overtaken("release", owner))).toMatchObject({
      kind: "conflict",
      detail: expect.stringContaining("done"),
    });
  });

  test("4.14 of operators who settle at once one is believed, the others are told", async () => {
    const record = await unknown(store);
    const results = await Promise.all(
      Array.from({ length: 16 }, (_, index) =>
        settle(record.id, { outcome: "done", response: { ...RESPONSE, status: 400 + index } }),
      ),
    );
    const changed = results.filter((result) => result.kind === "changed");
    expect(changed).toHaveLength(1);
    expect(results.filter((result) => result.kind === "conflict")).toHaveLength(15);
    const { status } = (await store.find(record.id))!.record;
    expect(changed[0]).toMatchObject({ entry: { detail: `settled as done with status ${status}` } });
  });
});

describe("9.5 the audit trail", () => {
  test("9.5 where it cannot be written nothing is changed", async () => {
    const record = await unknown(store);
    const deaf = faultStore(store, ({ operation }) => (operation === "putAudit" ? { kind: "fail" } : undefined));
    await expect(settle(record.id, NEVER, deaf)).rejects.toMatchObject({ code: "store_unavailable" });
    expect((await store.find(record.id))!.record.state).toBe("unknown");
  });

  test("9.5 a store without history is settled all the same, and its caller knows", async () => {
    const { history: _history, ...bare } = faultStore(store, () => undefined);
    const record = await unknown(store);
    expect(await settle(record.id, NEVER, bare)).toMatchObject({
      kind: "changed",
      audited: false,
      entry: { reason: "asked the bank" },
    });
  });

  test("4.14 a history that cannot be amended does not make a change that happened an error", async () => {
    const record = await unknown(store);
    const deaf = faultStore(store, ({ operation }) => (operation === "amendRun" ? { kind: "fail" } : undefined));
    expect(await settle(record.id, DONE, deaf)).toMatchObject({ kind: "changed", amended: false });
  });
});
