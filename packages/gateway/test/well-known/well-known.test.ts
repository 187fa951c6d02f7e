import { createHash } from "node:crypto";
import { type PolicyOptions, resolvePolicy, type Store } from "onceward";
import { createLayer, type HeaderList, type HttpResponse, type Layer, type LayerRequest } from "onceward/http";
import { memoryStore } from "onceward/stores/memory";
import { faultStore } from "onceward/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Accounts, createAccounts } from "../../src/accounts/accounts.js";
import type { AccountConfig, Route } from "../../src/config/config.js";
import type { KeyStatus, PolicyDocument } from "../../src/contract.js";
import { createWellKnown, type WellKnown } from "../../src/well-known/well-known.js";

const DOCUMENT = "/.well-known/idempotency";
const KEY = "8e03978e-40d5-43dd";
const ANN: HeaderList = [["Authorization", "Bearer sk_ann"]];
const BOB: HeaderList = [["Authorization", "Bearer sk_bob"]];
const CREDENTIAL: AccountConfig = {
  from: "credential",
  changingCredentials: "reject",
  anonymous: "reject",
  secret: null,
};

let store: Store;
beforeEach(async () => {
  store = memoryStore();
  await store.open();
});
afterEach(() => store.close());

function route(name: string, options: PolicyOptions | null, more: Partial<Route> = {}): Route {
  const [method = "", path = ""] = name.split(" ");
  return {
    name,
    methods: method === "" ? null : new Set([method]),
    matches: (candidate) => candidate === path,
    when: null,
    policy: options === null ? null : resolvePolicy(options, { surface: "gateway", hasRoutes: true }),
    upstream: "http://user:secret@upstream.internal:3000",
    authorizeUrl: "http://auth.internal/ask",
    ...more,
  };
}

interface Setup {
  readonly wellKnown: WellKnown;
  readonly layer: Layer;
  readonly accounts: Accounts;
  readonly routes: readonly Route[];
}

async function setup(routes: readonly Route[], account: AccountConfig = CREDENTIAL, on: Store = store): Promise<Setup> {
  const accounts = await createAccounts(account, store, { longestRetentionMs: 86_400_000 });
  const layer = createLayer({ store: on, history: false });
  const findRoute = (method: string, path: string): Route | null =>
    routes.find((candidate) => candidate.methods?.has(method) !== false && candidate.matches(path)) ?? null;
  return {
    wellKnown: createWellKnown({ routes, namespace: "default", layer, accounts, findRoute }),
    layer,
    accounts,
    routes,
  };
}

async function get(
  wellKnown: WellKnown,
  path: string,
  headers: HeaderList = [],
  more: { readonly query?: string; readonly environment?: string; readonly method?: string } = {},
): Promise<HttpResponse> {
  const answer = wellKnown({ method: "GET", query: "", environment: "", ...more, path, headers });
  if (answer === null) throw new Error(`not answered: ${path}`);
  return answer;
}

const text = (response: HttpResponse): string => new TextDecoder().decode(response.body);
const field = (response: HttpResponse, name: string): string | undefined =>
  response.headers.find(([known]) => known.toLowerCase() === name)?.[1];

describe("10.1 the policy document", () => {
  const ROUTES = [
    route("POST /v1/transfers", { required: true }),
    route("POST /v1/:workspace/event", { profile: "fyno" }, { when: { header: "X-Environment", equals: "live" } }),
    route("POST /v1/charges", {
      profile: "stripe",
      fingerprint: ["amount", "card.secretName"],
      whileRunning: { wait: "10s" },
      scope: "account+operation",
    }),
    route("GET /v1/reports", null),
    route("PUT /v1/settings", {}),
    route("POST /v1/asked", {
      onInterrupted: { ask: "http://upstream.internal/ask" },
      strict: true,
      unknownStatuses: [502],
      marker: false,
      mode: "observe",
    }),
  ];

  test("10.1 says of each route what a caller has to know", async () => {
    const { wellKnown } = await setup(ROUTES);
    const answer = await get(wellKnown, DOCUMENT);
    expect(answer.status).toBe(200);
    expect(field(answer, "content-type")).toBe("application/json");
    const document = JSON.parse(text(answer)) as PolicyDocument;
    expect(document.keyStatus).toBe("/.well-known/idempotency/keys/{key}{?operation}");
    expect(document.routes.map(({ route: name }) => name)).toEqual(ROUTES.map(({ name }) => name));
    const [transfers, event, charges, reports, settings, asked] = document.routes;
    expect(transfers).toEqual({
      route: "POST /v1/transfers",
      when: null,
      policy: {
        profile: "ietf",
        enforced: true,
        methods: ["POST"],
        header: "Idempotency-Key",
        required: true,
        key: { format: "quoted-or-bare", minLength: 1, maxLength: 255, uniquePer: "account" },
        retention: { seconds: 86_400, header: null, minSeconds: 86_400, maxSeconds: 86_400 },
        mismatch: { compared: "request", answer: 422 },
        duplicate: "first-answer",
        inFlight: { status: 409, waitSeconds: 0, retryAfterSeconds: 1 },
        interrupted: "held",
        recorded: {
          statuses: "all",
          except: [400, 401, 403, 404, 405, 406, 409, 411, 413, 414, 415, 422, 425, 426, 428, 429, 431],
          exceptWithRetryAfter: [503],
          unknown: [],
          maxBodyBytes: 1_048_576,
        },
        maxRequestBytes: 104_857_600,
        replayMarker: "Idempotent-Replayed",
        errorFormat: "application/problem+json",
      },
    });
    expect(event?.when).toEqual({ header: "X-Environment", equals: "live" });
    expect(event?.policy).toMatchObject({
      key: { maxLength: 8_192 },
      mismatch: { compared: "nothing", answer: "first-answer" },
      replayMarker: null,
      retention: { header: "x-idempotency-expiration", minSeconds: 86_400, maxSeconds: 31_536_000 },
    });
    expect(charges?.policy).toMatchObject({
      key: { uniquePer: "operation" },
      mismatch: { compared: "fields", answer: 400 },
      inFlight: { status: 409, waitSeconds: 10 },
      errorFormat: "application/json",
    });
    expect(reports?.policy).toBeNull();
    expect(settings?.policy).toBeNull();
    expect(asked?.policy).toMatchObject({
      enforced: false,
      key: { format: "quoted" },
      interrupted: "asked-about",
      recorded: { unknown: [502] },
    });
  });

  test("10.1 5.6 names no upstream, no field of a body and nothing else of the operator's", async () => {
    const { wellKnown } = await setup(ROUTES);
    for (const accept of ["application/json", "text/html"]) {
      const page = text(await get(wellKnown, DOCUMENT, [["Accept", accept]]));
      for (const secret of ["internal", "secret", "card"]) expect(page).not.toContain(secret);
    }
  });

  test("10.1 a browser is given a page", async () => {
    const { wellKnown } = await setup(ROUTES);
    const answer = await get(wellKnown, DOCUMENT, [
      ["Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
    ]);
    expect(field(answer, "content-type")).toBe("text/html; charset=utf-8");
    const page = text(answer);
    const style = /<style>([^]*)<\/style>/.exec(page)?.[1] ?? "";
    const hash = createHash("sha256").update(style).digest("base64");
    expect(field(answer, "content-security-policy")).toMatch(/^default-src 'none'; /);
    expect(field(answer, "content-security-policy")).toContain(`style-src 'sha256-${hash}'`);
    for (const words of [
      "POST /v1/transfers",
      "Idempotency-Key, required",
      "1 to 255 characters",
      "24 h",
      "Idempotent-Replayed: true",
      "Keys mean nothing here",
      "On trial",
    ]) {
      expect(page).toContain(words);
    }
  });

  test.each<[string | null, string]>([
    [null, "json"],
    ["*/*", "json"],
    ["application/json", "json"],
    ["application/json, text/html", "json"],
    ["text/html;q=0.4, application/json;q=0.5", "json"],
    ["text/html", "html"],
    ["text/*", "html"],
    ["application/json;q=0.1, text/html", "html"],
    ["text/html;q=0", "json"],
    ["text/html;q=nonsense", "json"],
    ["TEXT/HTML", "html"],
  ])("10.1 Accept: %s is given %s", async (accept, form) => {
    const { wellKnown } = await setup(ROUTES);
    const answer = await get(wellKnown, DOCUMENT, accept === null ? [] : [["Accept", accept]]);
    expect(field(answer, "content-type")).toContain(form);
    expect(field(answer, "vary")).toBe("Accept");
  });

  test("10.1 whatever a configuration holds, the page is markup of ours alone", async () => {
    const evil = `<script>alert("x")</script>&'`;
    const { wellKnown } = await setup([
      route(`POST /${evil}`, {}, { name: evil, when: { header: "X", equals: evil } }),
    ]);
    const page = text(await get(wellKnown, DOCUMENT, [["Accept", "text/html"]]));
    expect(page).not.toContain("<script");
    expect(page).not.toContain('alert("');
    expect(page).toContain("&#60;script&#62;alert(&#34;x&#34;)&#60;/script&#62;&#38;&#39;");
  });

  test("10.1 it can be cached and asked for again: ETag, and 304 where it is the same", async () => {
    const { wellKnown } = await setup(ROUTES);
    const first = await get(wellKnown, DOCUMENT);
    const etag = field(first, "etag") ?? "";
    expect(etag).toMatch(/^"[\w-]{22}"$/);
    expect(field(first, "cache-control")).toBe("public, max-age=60");
    for (const condition of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const again = await get(wellKnown, DOCUMENT, [["If-None-Match", condition]]);
      expect(again).toMatchObject({ status: 304, body: new Uint8Array(0) });
      expect(field(again, "etag")).toBe(etag);
    }
    expect((await get(wellKnown, DOCUMENT, [["If-None-Match", '"other"']])).status).toBe(200);
    expect(field(await get(wellKnown, DOCUMENT, [["Accept", "text/html"]]), "etag")).not.toBe(etag);
    const changed = await setup(ROUTES.slice(1));
    expect(field(await get(changed.wellKnown, DOCUMENT), "etag")).not.toBe(etag);
  });

  test("10.1 only GET and HEAD of these very paths are answered; the rest is the upstream's", async () => {
    const { wellKnown } = await setup(ROUTES);
    expect((await get(wellKnown, DOCUMENT, [], { method: "HEAD" })).status).toBe(200);
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      expect(wellKnown({ method, path: DOCUMENT, query: "", headers: [], environment: "" })).toBeNull();
    }
    for (const path of [
      "/",
      "/.well-known/",
      `${DOCUMENT}/`,
      `${DOCUMENT}x`,
      `${DOCUMENT}/keys`,
      "/.WELL-KNOWN/idempotency",
    ]) {
      expect(wellKnown({ method: "GET", path, query: "", headers: [], environment: "" })).toBeNull();
    }
  });
});

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
