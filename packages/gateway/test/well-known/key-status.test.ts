import type { Store } from "onceward";
import type { HeaderList, LayerRequest } from "onceward/http";
import { memoryStore } from "onceward/stores/memory";
import { faultStore } from "onceward/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AccountConfig, Route } from "../../src/config/config.js";
import type { KeyStatus } from "../../src/contract.js";
import { CREDENTIAL, DOCUMENT, field, get, route, type Setup, setupOn, text } from "./make.js";

const KEY = "8e03978e-40d5-43dd";
const ANN: HeaderList = [["Authorization", "Bearer sk_ann"]];
const BOB: HeaderList = [["Authorization", "Bearer sk_bob"]];

let store: Store;
beforeEach(async () => {
  store = memoryStore();
  await store.open();
});
afterEach(() => store.close());

const setup = (routes: readonly Route[], account?: AccountConfig, on?: Store) => setupOn(store, routes, account, on);

describe("10.2 what became of a key", () => {
  const TRANSFERS = [route("POST /v1/transfers", {})];
  const pathOf = (key: string): string => `${DOCUMENT}/keys/${encodeURIComponent(key)}`;

  /** A keyed request as the data plane gives it to the layer. */
  async function begin(on: Setup, headers: HeaderList, more: Partial<LayerRequest> & { readonly key?: string } = {}) {
    const [first] = on.routes;
    const { key = KEY, ...rest } = more;
    return on.layer.begin({
      policy: first!.policy!,
      route: first!.name,
      method: "POST",
      path: "/v1/transfers",
      query: "",
      headers: [...headers, ["Idempotency-Key", `"${key.replaceAll(/["\\]/g, "\\$&")}"`]],
      namespace: "default",
      environment: "",
      account: async () => on.accounts.resolve(headers),
      body: async () => undefined,
      ...rest,
    });
  }

  async function run(on: Setup, headers: HeaderList, more?: Parameters<typeof begin>[2]) {
    const begun = await begin(on, headers, more);
    if (begun.kind !== "run") throw new Error(`not run: ${begun.kind}`);
    return begun.claim;
  }

  async function status(
    on: Setup,
    key: string,
    headers: HeaderList,
    more: Parameters<typeof get>[3] = {},
  ): Promise<KeyStatus> {
    const answer = await get(on.wellKnown, pathOf(key), headers, more);
    expect(answer.status).toBe(200);
    expect(field(answer, "cache-control")).toBe("no-store");
    return JSON.parse(text(answer)) as KeyStatus;
  }

  const instant = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);

  test("10.2 absent, running, done with when and what, unknown", async () => {
    const on = await setup(TRANSFERS);
    expect(await status(on, KEY, ANN)).toEqual({ state: "absent" });
    const claim = await run(on, ANN);
    expect(await status(on, KEY, ANN)).toEqual({ state: "running", since: instant });
    await claim.finish({ status: 201, headers: [], body: new Uint8Array(0) });
    const done = await status(on, KEY, ANN);
    expect(done).toEqual({ state: "done", since: instant, endedAt: instant, status: 201, expiresAt: instant });
    const lost = await run(on, ANN, { key: "lost" });
    await lost.unknown(502, "the upstream was cut off");
    expect(await status(on, "lost", ANN)).toEqual({ state: "unknown", since: instant, expiresAt: instant });
  });

  test("10.2 S7 another account's key is absent, in the very same bytes as a key that nobody used", async () => {
    const on = await setup(TRANSFERS);
    await run(on, ANN);
    const used = await get(on.wellKnown, pathOf(KEY), BOB);
    const never = await get(on.wellKnown, pathOf("never-used"), BOB);
    expect(text(used)).toBe(text(never));
    expect(used.headers).toEqual(never.headers);
    expect(await status(on, KEY, ANN)).toMatchObject({ state: "running" });
  });

  test("10.2 asking changes nothing and claims nothing", async () => {
    const on = await setup(TRANSFERS);
    await status(on, KEY, ANN);
    expect((await store.list({ limit: 10 })).items).toEqual([]);
    await run(on, ANN);
  });

  test("10.2 K3 the key is percent-decoded, once", async () => {
    const on = await setup(TRANSFERS);
    for (const key of ['a b/c?d#e,"f"\\', "100%", "a%2Fb", "~!$&'()*+;=:@"]) {
      await run(on, ANN, { key });
      expect(await status(on, key, ANN)).toMatchObject({ state: "running" });
    }
    expect(await status(on, "a/b", ANN)).toEqual({ state: "absent" });
  });

  test.each(["", "%", "%zz", "%ff", "%00", "a%0Ab", "%C3%A9", "a".repeat(8_193)])(
    "10.2 K4 what is no key is refused: %j",
    async (encoded) => {
      const { wellKnown } = await setup(TRANSFERS);
      const answer = await get(wellKnown, `${DOCUMENT}/keys/${encoded}`, ANN);
      expect(answer.status).toBe(400);
      expect(JSON.parse(text(answer))).toMatchObject({ code: "key_invalid" });
      expect(field(answer, "link")).toBe(`<${DOCUMENT}>; rel="describedby"`);
    },
  );

  test("10.2 S3 without a credential, or with one that changes, it is refused as any keyed request is", async () => {
    const { wellKnown } = await setup(TRANSFERS);
    for (const headers of [[], [["Cookie", "a=b"]], [["Authorization", "Negotiate abc"]]] as HeaderList[]) {
      const answer = await get(wellKnown, pathOf(KEY), headers);
      expect(answer.status).toBe(400);
      expect(JSON.parse(text(answer))).toMatchObject({ code: "account_unknown" });
    }
  });

  test("10.2 it is refused for anonymous callers, also where they share an account", async () => {
    const on = await setup(TRANSFERS, { ...CREDENTIAL, anonymous: "share" });
    await run(on, []);
    const answer = await get(on.wellKnown, pathOf(KEY), []);
    expect(answer.status).toBe(400);
    expect(JSON.parse(text(answer))).toMatchObject({ code: "account_unknown" });
    expect(await status(on, KEY, ANN)).toEqual({ state: "absent" });
  });

  test("10.2 S2 a token that does not verify is 401 with its challenge", async () => {
    const keys = { kind: "secret", secret: "0123456789abcdef0123456789abcdef" } as const;
    const jwt: AccountConfig = {
      from: "jwt",
      claim: "sub",
      issuer: "i",
      audience: "a",
      keys,
      anonymous: "reject",
      secret: null,
    };
    const { wellKnown } = await setup(TRANSFERS, jwt);
    const answer = await get(wellKnown, pathOf(KEY), [["Authorization", "Bearer a.b.c"]]);
    expect(answer.status).toBe(401);
    expect(field(answer, "www-authenticate")).toContain('error="invalid_token"');
  });

  test("10.2 S5 the environment and the namespace are those of the request", async () => {
    const on = await setup(TRANSFERS);
    await run(on, ANN, { environment: "live" });
    expect(await status(on, KEY, ANN, { environment: "live" })).toMatchObject({ state: "running" });
    expect(await status(on, KEY, ANN, { environment: "test" })).toEqual({ state: "absent" });
    await run(on, ANN, { namespace: "other", key: "elsewhere" });
    expect(await status(on, "elsewhere", ANN)).toEqual({ state: "absent" });
  });

  test("10.2 where keys are for each operation it has to be said which", async () => {
    const on = await setup([route("POST /v1/transfers", { scope: "account+operation" }), route("POST /v1/other", {})]);
    await run(on, ANN);
    const operation = (value: string): Parameters<typeof get>[3] => ({
      query: `?operation=${encodeURIComponent(value)}`,
    });
    const without = await get(on.wellKnown, pathOf(KEY), ANN);
    expect(without.status).toBe(400);
    expect(JSON.parse(text(without)).detail).toContain("operation=");
    expect(await status(on, KEY, ANN, operation("POST /v1/transfers"))).toMatchObject({ state: "running" });
    expect(await status(on, KEY, ANN, operation("POST /v1/./transfers"))).toMatchObject({ state: "running" });
    expect(await status(on, KEY, ANN, operation("POST /v1/other"))).toEqual({ state: "absent" });
    for (const value of ["", "/v1/transfers", "POST", "POST v1", "POST /a%2Fb", "PO ST /v1/transfers"]) {
      expect((await get(on.wellKnown, pathOf(KEY), ANN, operation(value))).status).toBe(400);
    }
    expect(
      (await get(on.wellKnown, pathOf(KEY), ANN, { query: "operation=POST%20/a&operation=POST%20/b" })).status,
    ).toBe(400);
  });

  test("10.2 4.11 while the store is out of reach it is 503, with Retry-After", async () => {
    const { wellKnown } = await setup(
      TRANSFERS,
      CREDENTIAL,
      faultStore(store, () => ({ kind: "fail" })),
    );
    const answer = await get(wellKnown, pathOf(KEY), ANN);
    expect(answer.status).toBe(503);
    expect(field(answer, "retry-after")).toBe("1");
    expect(JSON.parse(text(answer))).toMatchObject({ code: "store_unavailable" });
  });

  test("10.2 S1 a key that was used under a replaced account key is found", async () => {
    const before = await setup(TRANSFERS, { ...CREDENTIAL, secret: "one" });
    await run(before, ANN);
    const after = await setup(TRANSFERS, { ...CREDENTIAL, secret: "two" });
    expect(await status(after, KEY, ANN)).toMatchObject({ state: "running" });
  });
});
