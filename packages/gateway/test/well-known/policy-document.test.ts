import { createHash } from "node:crypto";
import type { Store } from "onceward";
import { memoryStore } from "onceward/stores/memory";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Route } from "../../src/config/config.js";
import type { PolicyDocument } from "../../src/contract.js";
import { DOCUMENT, field, get, route, setupOn, text } from "./make.js";

let store: Store;
beforeEach(async () => {
  store = memoryStore();
  await store.open();
});
afterEach(() => store.close());

const setup = (routes: readonly Route[]) => setupOn(store, routes);

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

  test("10.1 4.8 §12 says that glyue and apiture record a 503 with Retry-After", async () => {
    const { wellKnown } = await setup([
      route("POST /a", { profile: "glyue" }),
      route("POST /b", { profile: "apiture" }),
    ]);
    const document = JSON.parse(text(await get(wellKnown, DOCUMENT))) as PolicyDocument;
    const recorded = { statuses: "all", except: [401, 403, 429], exceptWithRetryAfter: [] };
    for (const { policy } of document.routes) expect(policy?.recorded).toMatchObject(recorded);
    expect(text(await get(wellKnown, DOCUMENT, [["Accept", "text/html"]]))).toContain(
      "every answer but 401, 403, 429, after",
    );
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
    const style = /<style>([\s\S]*)<\/style>/.exec(page)?.[1] ?? "";
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
