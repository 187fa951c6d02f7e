import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT, UnsecuredJWT } from "jose";
import type { HeaderList } from "onceward/http";
import { type FakeClock, fakeClock } from "onceward/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Accounts } from "../../src/accounts/accounts.js";
import type { JwksTiming } from "../../src/accounts/jwt-keys.js";
import type { AccountConfig } from "../../src/config/config.js";
import { accountFor, accountsOf, refusalFor } from "./make.js";

const ISSUER = "https://issuer.test";
const AUDIENCE = "payments";
const SECRET = "0123456789abcdef0123456789abcdef";
type Keys = Extract<AccountConfig, { from: "jwt" }>["keys"];

/** An issuer: its key set is served over HTTP, its keys can be rotated, and it can be out of order. */
interface Issuer {
  readonly url: string;
  readonly fetches: () => number;
  publish(...keys: readonly JWK[]): void;
  break(how: "error" | "garbage" | "hang" | null): void;
}

const servers: Server[] = [];
let clock: FakeClock;
beforeEach(() => {
  clock = fakeClock(Date.now());
});
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function startIssuer(): Promise<Issuer> {
  let keys: readonly JWK[] = [];
  let broken: "error" | "garbage" | "hang" | null = null;
  let fetches = 0;
  const server = createServer((_request, response) => {
    fetches += 1;
    if (broken === "hang") return;
    response.writeHead(broken === "error" ? 500 : 200, { "Content-Type": "application/json" });
    response.end(broken === "garbage" ? "<html>" : JSON.stringify({ keys }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    fetches: () => fetches,
    publish(...published) {
      keys = published;
    },
    break(how) {
      broken = how;
    },
  };
}

interface Signer {
  readonly jwk: JWK;
  readonly sign: (payload?: Record<string, unknown>) => Promise<string>;
}

async function signer(kid: string | null, alg = "ES256"): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), alg, use: "sig", ...(kid === null ? {} : { kid }) };
  const header = kid === null ? { alg } : { alg, kid };
  return { jwk, sign: (payload) => new SignJWT(claims(payload)).setProtectedHeader(header).sign(privateKey) };
}

const seconds = (): number => Math.floor(clock.now() / 1_000);

/** A token's content, as it should be but for what is given; undefined leaves a claim out. */
function claims(given: Record<string, unknown> = {}): JWTPayload {
  const all = { iss: ISSUER, aud: AUDIENCE, sub: "acme", iat: seconds(), exp: seconds() + 600, ...given };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

const byKeys = (keys: Keys, claim = "sub", jwks: JwksTiming = {}): Promise<Accounts> =>
  accountsOf({ from: "jwt", claim, issuer: ISSUER, audience: AUDIENCE, keys }, { clock, jwks });
const bearer = (token: string): HeaderList => [["Authorization", `Bearer ${token}`]];

async function started(jwks: JwksTiming = {}): Promise<{ issuer: Issuer; one: Signer; accounts: Accounts }> {
  const issuer = await startIssuer();
  const one = await signer("one");
  issuer.publish(one.jwk);
  return { issuer, one, accounts: await byKeys({ kind: "jwks", url: issuer.url }, "sub", jwks) };
}

describe("S2 a verified token", () => {
  test("S2 the account is issuer and claim, so a refreshed token is the same account", async () => {
    const { one, accounts } = await started();
    const first = await accountFor(accounts, bearer(await one.sign()));
    expect(first).toEqual({ kind: "account", account: `jwt:["${ISSUER}","acme"]`, label: "acme" });
    clock.advance(300_000);
    const refreshed = await one.sign({ jti: "2" });
    expect((await accountFor(accounts, bearer(refreshed))).account).toBe(first.account);
    expect((await accountFor(accounts, bearer(await one.sign({ sub: "other" })))).account).not.toBe(first.account);
  });

  test("S2 S4 the claim may be a whole number, and is not the text of it", async () => {
    const issuer = await startIssuer();
    const one = await signer("one");
    issuer.publish(one.jwk);
    const accounts = await byKeys({ kind: "jwks", url: issuer.url }, "https://claims.test/tenant");
    const number = await accountFor(accounts, bearer(await one.sign({ "https://claims.test/tenant": 7 })));
    const text = await accountFor(accounts, bearer(await one.sign({ "https://claims.test/tenant": "7" })));
    expect(number.label).toBe("7");
    expect(number.account).not.toBe(text.account);
  });

  test.each<[string, unknown]>([
    ["missing", undefined],
    ["empty", ""],
    ["null", null],
    ["a list", ["a"]],
    ["an object", { a: 1 }],
    ["a fraction", 1.5],
    ["true", true],
  ])("S2 a claim that names no account is refused with 401: %s", async (_, value) => {
    const { one, accounts } = await started();
    const refusal = await refusalFor(accounts, bearer(await one.sign({ sub: value })));
    expect(refusal).toMatchObject({ status: 401, wwwAuthenticate: expect.stringContaining('error="invalid_token"') });
    expect(refusal.detail).toContain("sub");
  });

  test("S2 a claim of every object is no claim of the token", async () => {
    const issuer = await startIssuer();
    const one = await signer("one");
    issuer.publish(one.jwk);
    const accounts = await byKeys({ kind: "jwks", url: issuer.url }, "constructor");
    expect(await refusalFor(accounts, bearer(await one.sign()))).toMatchObject({ status: 401 });
  });
});

describe("S2 a token that does not verify is refused with 401 and a challenge", () => {
  test.each<[string, () => Record<string, unknown>, string]>([
    ["expired", () => ({ exp: seconds() - 1 }), "expired"],
    ["at the instant it expires", () => ({ exp: seconds() }), "expired"],
    ["without exp", () => ({ exp: undefined }), "exp"],
    ["not yet valid", () => ({ nbf: seconds() + 60 }), "nbf"],
    ["of another issuer", () => ({ iss: "https://evil.test" }), "iss"],
    ["without issuer", () => ({ iss: undefined }), "iss"],
    ["for another audience", () => ({ aud: "other" }), "aud"],
    ["without audience", () => ({ aud: undefined }), "aud"],
  ])("S2 %s", async (_, payload, word) => {
    const { one, accounts } = await started();
    const refusal = await refusalFor(accounts, bearer(await one.sign(payload())));
    expect(refusal).toMatchObject({ status: 401 });
    expect(refusal.detail).toContain(word);
    expect(refusal.wwwAuthenticate).toMatch(/^Bearer error="invalid_token", error_description="[^"\\]+"$/);
  });

  test("S2 one of several audiences is enough", async () => {
    const { one, accounts } = await started();
    expect((await accountFor(accounts, bearer(await one.sign({ aud: ["other", AUDIENCE] })))).label).toBe("acme");
  });

  test("S2 alg none, with or without a signature", async () => {
    const { one, accounts } = await started();
    const unsecured = new UnsecuredJWT(claims()).encode();
    expect(await refusalFor(accounts, bearer(unsecured))).toMatchObject({ status: 401 });
    const signature = (await one.sign()).split(".")[2];
    expect(await refusalFor(accounts, bearer(`${unsecured}${signature}`))).toMatchObject({ status: 401 });
  });

  test("S2 a payload that was changed, a signature that was changed, garbage", async () => {
    const { one, accounts } = await started();
    const [header, , signature] = (await one.sign()).split(".");
    const payload = Buffer.from(JSON.stringify(claims({ sub: "victim" }))).toString("base64url");
    for (const token of [
      `${header}.${payload}.${signature}`,
      `${await one.sign()}AA`,
      "garbage",
      "a.b.c",
      "..",
      `${"a".repeat(5_000)}.b.c`,
    ]) {
      expect(await refusalFor(accounts, bearer(token))).toMatchObject({ status: 401 });
    }
  });

  test("S2 a key of one's own with a published key's id", async () => {
    const { accounts } = await started();
    const thief = await signer("one");
    expect((await refusalFor(accounts, bearer(await thief.sign()))).detail).toContain("signature");
  });

  test("S2 keys that the token brings along are not looked at", async () => {
    const { accounts } = await started();
    const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
    const header = { alg: "ES256", jwk: await exportJWK(publicKey), jku: "http://127.0.0.1:9/" };
    const token = await new SignJWT(claims()).setProtectedHeader(header).sign(privateKey);
    expect(await refusalFor(accounts, bearer(token))).toMatchObject({ status: 401 });
  });

  test("S2 HMAC with what is public: the PEM of the key, against a public key and against a key set", async () => {
    const { publicKey } = await generateKeyPair("RS256", { extractable: true });
    const pem = await exportSPKI(publicKey);
    const forged = await new SignJWT(claims()).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(pem));
    expect((await refusalFor(await byKeys({ kind: "publicKey", pem }), bearer(forged))).detail).toContain("algorithm");
    const { accounts, one } = await started();
    const fromSet = await new SignJWT(claims())
      .setProtectedHeader({ alg: "HS256", kid: "one" })
      .sign(new TextEncoder().encode(JSON.stringify(one.jwk)));
    expect(await refusalFor(accounts, bearer(fromSet))).toMatchObject({ status: 401 });
  });

  test("S2 a symmetric key in a key set signs nothing", async () => {
    const issuer = await startIssuer();
    const k = new TextEncoder().encode(SECRET);
    issuer.publish({ kty: "oct", kid: "s", alg: "HS256", k: Buffer.from(k).toString("base64url") });
    const accounts = await byKeys({ kind: "jwks", url: issuer.url });
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: "HS256", kid: "s" }).sign(k);
    expect(await refusalFor(accounts, bearer(token))).toMatchObject({ status: 401 });
  });
});

describe("14.3 where the key comes from", () => {
  test("14.3 a secret verifies HMAC and nothing else", async () => {
    const accounts = await byKeys({ kind: "secret", secret: SECRET });
    for (const alg of ["HS256", "HS384", "HS512"]) {
      const token = await new SignJWT(claims()).setProtectedHeader({ alg }).sign(new TextEncoder().encode(SECRET));
      expect((await accountFor(accounts, bearer(token))).label).toBe("acme");
    }
    const wrong = await new SignJWT(claims())
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(`${SECRET}!`));
    expect(await refusalFor(accounts, bearer(wrong))).toMatchObject({ status: 401 });
    expect(await refusalFor(accounts, bearer(await (await signer(null)).sign()))).toMatchObject({ status: 401 });
  });

  test.each(["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"])(
    "14.3 a public key verifies its own algorithms: %s",
    async (alg) => {
      const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
      const accounts = await byKeys({ kind: "publicKey", pem: await exportSPKI(publicKey) });
      const token = await new SignJWT(claims()).setProtectedHeader({ alg }).sign(privateKey);
      expect((await accountFor(accounts, bearer(token))).label).toBe("acme");
    },
  );

  test("14.3 a public key that is none is an error at start that says so", async () => {
    const pem = "-----BEGIN PUBLIC KEY-----\nnope\n-----END PUBLIC KEY-----\n";
    await expect(byKeys({ kind: "publicKey", pem })).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringContaining("account.publicKey"),
    });
  });

  test("14.3 no token, another scheme, or two of them are refused with 400", async () => {
    const { one, accounts } = await started();
    const token = await one.sign();
    for (const headers of [
      [],
      [["Authorization", "Basic YTpi"]],
      [...bearer(token), ...bearer(token)],
    ] as HeaderList[]) {
      expect(await refusalFor(accounts, headers)).toMatchObject({ status: 400 });
    }
  });

  test("S3 anonymous: share takes a request without a token, never one whose token fails", async () => {
    const keys: Keys = { kind: "secret", secret: SECRET };
    const accounts = await accountsOf(
      { from: "jwt", claim: "sub", issuer: ISSUER, audience: AUDIENCE, keys, anonymous: "share" },
      { clock },
    );
    expect((await accountFor(accounts, [])).account).toBe("anonymous");
    expect(await refusalFor(accounts, bearer("a.b.c"))).toMatchObject({ status: 401 });
  });
});

describe("S2 the key set is cached, and follows rotation", () => {
  test("S2 many tokens and callers at once fetch it once", async () => {
    const { issuer, one, accounts } = await started();
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, index) => one.sign({ jti: `${index}` })));
    await Promise.all(tokens.map((token) => accountFor(accounts, bearer(token))));
    expect(issuer.fetches()).toBe(1);
  });

  test("S2 an unknown key id fetches it anew, and the new key is believed", async () => {
    const { issuer, one, accounts } = await started({ cooldownMs: 0 });
    await accountFor(accounts, bearer(await one.sign()));
    const two = await signer("two");
    issuer.publish(one.jwk, two.jwk);
    expect((await accountFor(accounts, bearer(await two.sign()))).label).toBe("acme");
    expect(issuer.fetches()).toBe(2);
  });

  test("S2 9.3 key ids that somebody makes up do not fetch it over and over", async () => {
    const { issuer, one, accounts } = await started();
    await accountFor(accounts, bearer(await one.sign()));
    for (let count = 0; count < 5; count += 1) {
      const thief = await signer(`made-up-${count}`);
      expect((await refusalFor(accounts, bearer(await thief.sign()))).detail).toContain("does not publish");
    }
    expect(issuer.fetches()).toBe(1);
  });

  test("S2 a key that was withdrawn is not believed once the key set has aged", async () => {
    const { issuer, one, accounts } = await started({ maxAgeMs: 0 });
    const token = await one.sign();
    await accountFor(accounts, bearer(token));
    const two = await signer("two");
    issuer.publish(two.jwk);
    clock.advance(60_000);
    expect(await refusalFor(accounts, bearer(token))).toMatchObject({ status: 401 });
    expect((await accountFor(accounts, bearer(await two.sign()))).label).toBe("acme");
  });

  test("S2 without a key id every key that fits is tried", async () => {
    const issuer = await startIssuer();
    const keys = await Promise.all([signer(null), signer(null)]);
    issuer.publish(...keys.map(({ jwk }) => jwk));
    const accounts = await byKeys({ kind: "jwks", url: issuer.url });
    for (const { sign } of keys) expect((await accountFor(accounts, bearer(await sign()))).label).toBe("acme");
    expect(await refusalFor(accounts, bearer(await (await signer(null)).sign()))).toMatchObject({ status: 401 });
  });

  test.each(["error", "garbage", "hang"] as const)(
    "S2 P4 out of reach is nobody's fault and lasts no longer than it does: %s",
    async (how) => {
      const { issuer, one, accounts } = await started({ timeoutMs: 200 });
      issuer.break(how);
      const token = await one.sign();
      const refusal = await refusalFor(accounts, bearer(token));
      expect(refusal).toMatchObject({ status: 503 });
      expect(refusal.wwwAuthenticate).toBeUndefined();
      issuer.break(null);
      expect((await accountFor(accounts, bearer(token))).label).toBe("acme");
    },
  );

  test("S2 P4 nothing listens there", async () => {
    const { issuer, one } = await started();
    const server = servers.pop()!;
    await new Promise((resolve) => server.close(resolve));
    const accounts = await byKeys({ kind: "jwks", url: issuer.url });
    expect(await refusalFor(accounts, bearer(await one.sign()))).toMatchObject({ status: 503 });
  });

  test("S2 an outage does not touch those whose keys are at hand", async () => {
    const { issuer, one, accounts } = await started();
    await accountFor(accounts, bearer(await one.sign()));
    issuer.break("error");
    expect((await accountFor(accounts, bearer(await one.sign({ jti: "2" })))).label).toBe("acme");
  });
});

describe("S2 a token that was verified a moment ago", () => {
  test("S2 is answered at once, until it expires", async () => {
    const { one, accounts } = await started();
    const headers = bearer(await one.sign({ exp: seconds() + 30 }));
    expect(accounts.resolve(headers)).toBeInstanceOf(Promise);
    await accountFor(accounts, headers);
    expect(accounts.resolve(headers)).toMatchObject({ kind: "account", label: "acme" });
    clock.advance(30_000);
    expect(await refusalFor(accounts, headers)).toMatchObject({
      status: 401,
      detail: expect.stringContaining("expired"),
    });
  });

  test("S2 is verified again after a minute", async () => {
    const { one, accounts } = await started();
    const headers = bearer(await one.sign());
    await accountFor(accounts, headers);
    clock.advance(60_000);
    expect(accounts.resolve(headers)).toBeInstanceOf(Promise);
  });

  test("S2 one that was refused is not remembered as good", async () => {
    const { one, accounts } = await started();
    const headers = bearer(await one.sign({ nbf: seconds() + 60 }));
    expect(await refusalFor(accounts, headers)).toMatchObject({ status: 401 });
    expect(await refusalFor(accounts, headers)).toMatchObject({ status: 401 });
    clock.advance(61_000);
    expect((await accountFor(accounts, headers)).label).toBe("acme");
  });
});
