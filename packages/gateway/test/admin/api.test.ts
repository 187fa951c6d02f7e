import type { AuditEntry, Page, Run, Store } from "onceward";
import { encodeResponse } from "onceward/http";
import { sealedStore } from "onceward/stores/sealed";
import { faultStore } from "onceward/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { timeOrderedId } from "../../src/admin/time-ordered-id.js";
import type { RecordItem } from "../../src/contract.js";
import { ask, claim, done, type Fixture, hex, LEASE_MS, run, start, unknown } from "./make.js";

let fixture: Fixture;
let store: Store;
beforeEach(async () => {
  fixture = await start();
  store = fixture.store;
});
afterEach(() => fixture.close());

const get = (path: string) => ask(fixture.admin, path);
const post = (path: string, json: unknown) => ask(fixture.admin, path, { json });
const T0 = Date.UTC(2026, 0, 1);

async function getPage<T>(path: string): Promise<Page<T>> {
  const answer = await get(path);
  expect(answer.status).toBe(200);
  return answer.json as unknown as Page<T>;
}

describe("11 GET /api/runs", () => {
  const at = (index: number): string => timeOrderedId(T0 + index);
  const ids = (page: Page<Run>): number[] => page.items.map((item) => item.at - T0);

  test("11 newest first, page by page, each run once, also while new ones come", async () => {
    await store.history!.putRuns(Array.from({ length: 130 }, (_, index) => run({ id: at(index), at: T0 + index })));
    const seen: number[] = [];
    let cursor = "";
    let pages = 0;
    do {
      const page = await getPage<Run>(
        `/api/runs?limit=25${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`,
      );
      seen.push(...ids(page));
      cursor = page.next ?? "";
      pages += 1;
      await store.history!.putRuns([run({ id: at(1_000 + pages), at: T0 + 1_000 + pages })]);
    } while (cursor !== "");
    expect(pages).toBe(6);
    expect(seen).toEqual(Array.from({ length: 130 }, (_, index) => 129 - index));
    expect((await getPage<Run>("/api/runs")).items).toHaveLength(50);
    expect((await getPage<Run>("/api/runs?limit=200")).items).toHaveLength(136);
  });

  test("11 each filter must hold", async () => {
    const recordId = hex(32);
    const values: Partial<Run>[] = [
      { account: "acme", key: "a/b c", outcome: "recorded", recordId },
      { account: "acme", key: "k2", outcome: "replayed", flags: ["IDEMPOTENT_REQUEST"] },
      { account: "other & co", key: "k2", outcome: "refused", code: "key_reused", route: "PATCH /v1/**" },
      { account: "other & co", key: "k3", outcome: "replayed", flags: ["WAITED", "IDEMPOTENT_REQUEST"] },
    ];
    await store.history!.putRuns(values.map((value, index) => run({ ...value, id: at(index), at: T0 + index })));
    const found = async (query: string): Promise<number[]> => ids(await getPage<Run>(`/api/runs?${query}`));
    expect(await found("account=acme")).toEqual([1, 0]);
    expect(await found("account=other+%26+co")).toEqual([3, 2]);
    expect(await found("key=k2")).toEqual([2, 1]);
    expect(await found("key=a%2Fb%20c")).toEqual([0]);
    expect(await found("key=A%2Fb%20c")).toEqual([]);
    expect(await found("key=k2&account=acme")).toEqual([1]);
    expect(await found("route=PATCH%20/v1/**")).toEqual([2]);
    expect(await found("outcome=replayed")).toEqual([3, 1]);
    expect(await found("flag=WAITED")).toEqual([3]);
    expect(await found(`record=${recordId}`)).toEqual([0]);
    expect(await found(`from=${T0 + 1}&to=${T0 + 3}`)).toEqual([2, 1]);
    expect(await found("to=2026-01-01T00:00:00.001Z")).toEqual([0]);
    expect(await found("from=2026-01-01T01:00:00.003%2B01:00")).toEqual([3]);
  });

  test("11 a run is shown whole, with its flags in every list item", async () => {
    const whole = run({
      id: at(1),
      at: T0,
      steps: [{ name: "IDEMPOTENT_REQUEST", atMs: 0.2 }],
      flags: ["IDEMPOTENT_REQUEST"],
      replayOf: at(0),
    });
    await store.history!.putRuns([whole]);
    expect((await getPage<Run>("/api/runs")).items).toEqual([whole]);
    const one = await get(`/api/runs/${whole.id}`);
    expect(one.json).toEqual(whole);
    expect((await get(`/api/runs/${at(2)}`)).status).toBe(404);
  });

  test.each<[string, string]>([
    ["limit=0", "limit"],
    ["limit=201", "limit"],
    ["limit=ten", "limit"],
    ["limit=1e2", "limit"],
    ["limit=", "limit"],
    ["limit=-1", "limit"],
    ["outcome=done", "outcome"],
    ["outcome=constructor", "outcome"],
    ["flag=idempotent_request", "flag"],
    ["from=yesterday", "from"],
    ["from=2026-01-01", "from"],
    ["from=2026-01-01T00:00:00", "from"],
    ["to=2026-13-01T00:00:00Z", "to"],
    ["from=5&to=5", "from"],
    ["record=abc", "record"],
    ["account=", "account"],
    ["key=a&key=b", "key"],
    ["colour=red", "colour"],
    ["__proto__=x", "__proto__"],
  ])("a bad filter is 400 and named: %s", async (query, parameter) => {
    const answer = await get(`/api/runs?${query}`);
    expect(answer.status).toBe(400);
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(answer.json).toMatchObject({ status: 400, parameter, detail: expect.stringContaining(parameter) });
  });
});

describe("GET /api/records", () => {
  test("filters by state, account and key, newest first, page by page", async () => {
    const made = [
      await claim(store, { key: "1" }),
      await unknown(store, { key: "2" }),
      await done(store, { key: "3", account: "b" }),
      await done(store, { key: "3" }),
    ];
    const found = async (query: string): Promise<number[]> =>
      (await getPage<RecordItem>(`/api/records?${query}`)).items.map(({ id }) =>
        made.findIndex((record) => record.id === id),
      );
    expect(await found("")).toEqual([3, 2, 1, 0]);
    expect(await found("state=unknown")).toEqual([1]);
    expect(await found("state=done")).toEqual([3, 2]);
    expect(await found("account=b")).toEqual([2]);
    expect(await found("key=3&account=acme")).toEqual([3]);
    const first = await getPage<RecordItem>("/api/records?limit=3");
    const second = await getPage<RecordItem>(`/api/records?limit=3&cursor=${first.next}`);
    expect([first.items.length, second.items.length, second.next]).toEqual([3, 1, null]);
    expect((await get("/api/records?state=absent")).json).toMatchObject({ parameter: "state" });
    expect((await get("/api/records?cursor=nonsense")).json).toMatchObject({ status: 400, parameter: "cursor" });
  });

  test("9.2 5.6 neither list nor detail holds the answer's content, the fence or the fingerprint", async () => {
    const record = await done(store);
    const detail = await get(`/api/records/${record.id}`);
    expect(detail.json).toMatchObject({
      state: "done",
      status: 201,
      operation: "POST /v1/transfers",
      leaseUntil: null,
      lapsed: false,
      answer: { readable: true, status: 201, headerNames: ["Content-Type", "X-Secret"], bodyBytes: 27 },
    });
    for (const { text } of [detail, await get("/api/records"), await get(`/api/records/${record.id}?`)]) {
      for (const secret of ["hunter2", "of the account", record.fence, "fence", "fingerprint"])
        expect(text).not.toContain(secret);
    }
    expect((await get(`/api/records/${record.id}?body=1`)).status).toBe(400);
  });

  test("a running record shows its lease, and when that has lapsed", async () => {
    const record = await claim(store);
    expect((await get(`/api/records/${record.id}`)).json).toMatchObject({
      state: "running",
      lapsed: false,
      answer: null,
      leaseUntil: fixture.clock.now() + LEASE_MS,
    });
    fixture.clock.advance(LEASE_MS);
    expect((await get(`/api/records/${record.id}`)).json).toMatchObject({
      state: "running",
      lapsed: true,
      now: fixture.clock.now(),
    });
  });

  test("an answer that cannot be read is said to be so", async () => {
    const record = await claim(store);
    await store.complete(record.id, record.fence, { status: 200, payload: new Uint8Array([99, 1, 2]) });
    expect((await get(`/api/records/${record.id}`)).json["answer"]).toMatchObject({
      readable: false,
      detail: expect.any(String),
    });
  });

  test("9.1 a sealed answer is read with its key, and without it the operator is told which one is missing", async () => {
    const record = await claim(store);
    const seal = (id: string) => sealedStore(store, { keys: [{ id, key: new Uint8Array(32).fill(id.length) }] });
    const payload = encodeResponse({ status: 200, headers: [["X-A", "b"]], body: new Uint8Array(3) });
    await seal("old-key").complete(record.id, record.fence, { status: 200, payload });
    for (const [id, expected] of [
      ["old-key", { status: 200, json: { answer: { readable: true, headerNames: ["X-A"], bodyBytes: 3 } } }],
      ["new-key!", { status: 500, json: { detail: expect.stringContaining('"old-key"') } }],
    ] as const) {
      const admin = await start({ wrap: () => seal(id) });
      try {
        expect(await ask(admin.admin, `/api/records/${record.id}`)).toMatchObject(expected);
      } finally {
        await admin.close();
      }
    }
  });

  test.each([hex(32), "abc", hex(32).toUpperCase(), "../runs", "%2e%2e"])("no record %s: 404", async (id) => {
    expect((await get(`/api/records/${id}`)).status).toBe(404);
    expect((await post(`/api/records/${id}/release`, { reason: "x" })).status).toBe(404);
  });
});

describe("4.14 POST /api/records/{id}/settle and /release", () => {
  test("4.14 settling, a conflict and the trail", async () => {
    const first = await unknown(store, { key: "1" });
    const second = await unknown(store, { key: "2" });
    const body = Buffer.from([0, 200, 255]);
    const settled = await post(`/api/records/${first.id}/settle`, {
      reason: "the bank confirmed transfer t1",
      response: { status: 201, headers: [["X-Transfer", "t1"]], body: body.toString("base64") },
    });
    expect(settled.status).toBe(200);
    expect(settled.json).toMatchObject({
      record: { state: "done", status: 201 },
      amended: true,
      entry: { who: "local" },
    });
    expect(
      (await post(`/api/records/${second.id}/settle`, { reason: "not there", outcome: "never-happened" })).json,
    ).toMatchObject({ record: null });
    const again = await post(`/api/records/${first.id}/settle`, { reason: "again", outcome: "never-happened" });
    expect(again.status).toBe(409);
    expect(again.json["detail"]).toContain("done already");
    const { items } = await getPage<AuditEntry>("/api/audit");
    expect(items.map(({ key, reason }) => [key, reason]).sort()).toEqual([
      ["1", "the bank confirmed transfer t1"],
      ["2", "not there"],
    ]);
    expect((await getPage<Run>(`/api/runs?record=${second.id}`)).items).toMatchObject([{ outcome: "not_started" }]);
  });

  test("4.14 releasing a running record needs force", async () => {
    const record = await claim(store);
    const path = `/api/records/${record.id}/release`;
    expect((await post(path, { reason: "stuck" })).status).toBe(409);
    expect((await post(path, { reason: "stuck", force: false })).status).toBe(409);
    expect(await store.find(record.id)).not.toBeNull();
    expect(await post(path, { reason: "stuck", force: true })).toMatchObject({ status: 200, json: { record: null } });
    expect((await post(path, { reason: "stuck", force: true })).status).toBe(404);
  });

  test.each<[string, unknown]>([
    ["no reason", { outcome: "never-happened" }],
    ["an empty reason", { reason: " ", outcome: "never-happened" }],
    ["no decision", { reason: "x" }],
    ["two decisions", { reason: "x", outcome: "never-happened", response: { status: 200 } }],
    ["an unknown decision", { reason: "x", outcome: "done" }],
    ["an unknown member", { reason: "x", outcome: "never-happened", force: true }],
    ["a status as text", { reason: "x", response: { status: "200" } }],
    ["a body that is not Base64", { reason: "x", response: { status: 200, body: "{}" } }],
    ["a body without padding", { reason: "x", response: { status: 200, body: "YQ" } }],
    ["headers as an object", { reason: "x", response: { status: 200, headers: { A: "b" } } }],
    ["a header that forges lines", { reason: "x", response: { status: 200, headers: [["A", "b\r\nC: d"]] } }],
    ["null", null],
    ["a list", []],
  ])("4.14 a malformed order is 400 and changes nothing: %s", async (_, order) => {
    const record = await unknown(store);
    const answer = await post(`/api/records/${record.id}/settle`, order);
    expect(answer.status).toBe(400);
    expect(answer.json["detail"]).toEqual(expect.any(String));
    expect((await store.find(record.id))!.record.state).toBe("unknown");
    expect((await getPage<AuditEntry>("/api/audit")).items).toEqual([]);
  });

  test.each(["", "{", '{"reason":"x"', "\u00ff"])("a body that is no JSON is 400: %j", async (body) => {
    const record = await unknown(store);
    const raw = body === "\u00ff" ? Buffer.from([0xff]) : body;
    const answer = await ask(fixture.admin, `/api/records/${record.id}/release`, {
      method: "POST",
      body: raw,
      headers: { "Content-Type": "application/json" },
    });
    expect(answer.status).toBe(400);
  });

  test("9.5 every change is in the log too, with the key shortened", async () => {
    const record = await unknown(store, { key: "8e03978e-40d5-43dd-bc93-6894a57f9324" });
    await post(`/api/records/${record.id}/settle`, { reason: "asked", outcome: "never-happened" });
    const line = fixture.lines.find((text) => text.includes(record.id)) ?? "";
    expect(JSON.parse(line)).toMatchObject({ level: "info", audit: { who: "local", reason: "asked" } });
    expect(line).not.toContain("8e03978e-40d5-43dd");
  });
});

describe("health and everything else", () => {
  test("healthz and readyz, and not ready while stopping", async () => {
    expect(await get("/healthz")).toMatchObject({ status: 200, json: { status: "ok" } });
    expect(await get("/readyz")).toMatchObject({ status: 200, json: { status: "ok" } });
    fixture.stopping = true;
    expect(await get("/readyz")).toMatchObject({ status: 503, json: { status: "stopping" } });
    expect((await get("/healthz")).status).toBe(200);
  });

  test.each(["fail", "hang"] as const)(
    "readyz says so while the store is out of reach, and recovers: %s",
    async (kind) => {
      const fixtureDown = await start({
        wrap: (inner) => faultStore(inner, () => (kind === "fail" ? { kind } : { kind, effect: false })),
      });
      try {
        expect(await ask(fixtureDown.admin, "/readyz")).toMatchObject({
          status: 503,
          json: { status: "store unavailable" },
        });
        expect((await ask(fixtureDown.admin, "/healthz")).status).toBe(200);
        (fixtureDown.store as ReturnType<typeof faultStore>).plan = () => undefined;
        expect((await ask(fixtureDown.admin, "/readyz")).status).toBe(200);
      } finally {
        await fixtureDown.close();
      }
    },
  );

  test("4.11 while the store is out of reach listings and changes are 503, with Retry-After", async () => {
    const down = await start({ wrap: (inner) => faultStore(inner, () => ({ kind: "fail" })) });
    try {
      for (const path of ["/api/runs", "/api/records", `/api/records/${hex(32)}`, "/api/audit"]) {
        expect(await ask(down.admin, path)).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
      }
      expect(await ask(down.admin, `/api/records/${hex(32)}/release`, { json: { reason: "x" } })).toMatchObject({
        status: 503,
      });
    } finally {
      await down.close();
    }
  });

  test("a store without history says so", async () => {
    const bare = await start({
      wrap(inner) {
        const { history: _history, ...rest } = faultStore(inner, () => undefined);
        return rest;
      },
    });
    try {
      expect((await ask(bare.admin, "/api/runs")).status).toBe(501);
      expect((await ask(bare.admin, "/api/records")).status).toBe(200);
    } finally {
      await bare.close();
    }
  });

  test("HEAD is GET without a body", async () => {
    const answer = await ask(fixture.admin, "/api/runs", { method: "HEAD" });
    expect(answer).toMatchObject({ status: 200, text: "" });
    expect(Number(answer.headers["content-length"])).toBeGreaterThan(0);
  });

  test.each<[string, string, string]>([
    ["POST", "/api/runs", "GET, HEAD"],
    ["DELETE", `/api/records/${hex(32)}`, "GET, HEAD"],
    ["GET", `/api/records/${hex(32)}/settle`, "POST"],
    ["POST", "/healthz", "GET, HEAD"],
    ["PUT", "/readyz", "GET, HEAD"],
    ["PATCH", "/", "GET, HEAD"],
  ])("%s %s is 405 and says what is allowed", async (method, path, allow) => {
    const answer = await ask(fixture.admin, path, { method });
    expect(answer).toMatchObject({ status: 405, headers: { allow } });
  });

  test.each([
    "/api",
    "/api/",
    "/api/runs/",
    "/api/runs/a/b",
    "/api//runs",
    "/API/runs",
    "/metrics/",
    "//evil.test/",
    "/api/records/{id}",
    "/api/{id}",
  ])("%s is 404", async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  test("the page at / lists the endpoints", async () => {
    const answer = await get("/");
    expect(answer.headers["content-type"]).toBe("text/html; charset=utf-8");
    for (const text of ["/api/runs", "/metrics", "/readyz", "1.2.3"]) expect(answer.text).toContain(text);
  });

  test("it closes while a client keeps its connection open", async () => {
    const other = await start();
    await ask(other.admin, "/healthz", { headers: { Connection: "keep-alive" } });
    await expect(other.close()).resolves.toBeUndefined();
  });
});
