// The ways to tell accounts apart that the library gives (SPEC §3).

import { describe, expect, it, test, vi } from "vitest";
import { readAccount } from "../../src/http/accounts/resolver.js";
import {
  type AccountResolver,
  accountFromAuthorization,
  accountFromBasicUser,
  accountFromHeader,
  accountFromJwt,
  singleTenant,
} from "../../src/http/accounts.js";
import type { AccountReading } from "../../src/http/layer.js";
import type { HeaderList } from "../../src/http/message.js";

const SECRET = "a secret of 16 characters or more";

async function read(resolver: AccountResolver<unknown>, ...headers: HeaderList): Promise<AccountReading> {
  return readAccount(resolver, {}, headers);
}

async function account(resolver: AccountResolver<unknown>, ...headers: HeaderList): Promise<string> {
  const reading = await read(resolver, ...headers);
  if (reading.kind !== "account") throw new Error(`refused: ${reading.detail}`);
  return reading.account;
}

async function refusal(
  resolver: AccountResolver<unknown>,
  ...headers: HeaderList
): Promise<Extract<AccountReading, { kind: "refused" }>> {
  const reading = await read(resolver, ...headers);
  if (reading.kind !== "refused") throw new Error(`an account: ${reading.account}`);
  return reading;
}

const basic = (text: string): readonly [string, string] => [
  "Authorization",
  `Basic ${Buffer.from(text, "utf8").toString("base64")}`,
];
const bearer = (token: string): readonly [string, string] => ["Authorization", `Bearer ${token}`];

/** A token of the shape of a JWT. */
function jwt(claims: object = {}): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256" })}.${part(claims)}.c2lnbmF0dXJl`;
}

describe("a function of the request", () => {
  test.each([null, undefined, ""])("S1 that answers %j refuses the request, and says why", async (answer) => {
    expect(await refusal(() => answer)).toMatchObject({ status: 400, detail: expect.stringContaining("no account") });
  });

  it("S1 names the account, at once or later, and may say how people see it", async () => {
    expect(await read(() => "alice")).toEqual({ kind: "account", account: "alice" });
    expect(await read(async () => "alice")).toEqual({ kind: "account", account: "alice" });
    const reading = { kind: "account", account: "7", label: "Alice" } as const;
    expect(await read(() => reading)).toEqual(reading);
  });

  it("is given the header fields beside the framework's request", async () => {
    const resolver: AccountResolver<{ readonly user: string }> = ({ user }, headers) =>
      `${user}@${headers.find(([name]) => name === "Host")?.[1]}`;
    expect(await readAccount(resolver, { user: "alice" }, [["Host", "eu.example"]])).toMatchObject({
      account: "alice@eu.example",
    });
  });

  test.each([42, true, { id: 1 }, { kind: "other" }])(
    "that answers %j fails, and the error says how to mend it",
    async (answer) => {
      const wrong = (() => answer) as unknown as AccountResolver<unknown>;
      await expect(read(wrong)).rejects.toThrow("must answer a text");
    },
  );

  test.each(["Bearer sk_live_1", "Basic YTpi", jwt(), "v2.local.c2VjcmV0"])(
    "9.2 that answers a credential as it was presented fails: %s",
    async (credential) => {
      const failure = await read(() => credential).then(String, String);
      expect(failure).toContain("accountFromAuthorization");
      expect(failure).not.toContain(credential);
    },
  );
});

it("S1 singleTenant is one account for all", async () => {
  expect(await read(singleTenant, bearer("x"))).toEqual(await read(singleTenant));
});

describe("accountFromHeader", () => {
  it("takes the header's value, however its name is written", async () => {
    const resolver = accountFromHeader("X-Account");
    expect(await read(resolver, ["x-account", "acme"])).toEqual({
      kind: "account",
      account: "header:acme",
      label: "acme",
    });
  });

  it("S3 refuses a request without it, with an empty one, with two, with one that is too long", async () => {
    const resolver = accountFromHeader("X-Account");
    expect((await refusal(resolver)).detail).toContain("no X-Account");
    expect((await refusal(resolver, ["X-Account", ""])).detail).toContain("empty");
    expect((await refusal(resolver, ["X-Account", "a"], ["X-Account", "a"])).detail).toContain("more than once");
    expect((await refusal(resolver, ["X-Account", "a".repeat(513)])).detail).toContain("longer");
  });

  it("S3 anonymous: share makes all requests without it one account, which nobody else has", async () => {
    const resolver = accountFromHeader("X-Account", { anonymous: "share" });
    expect(await account(resolver)).toBe("anonymous");
    expect(await account(resolver, ["X-Account", "anonymous"])).toBe("header:anonymous");
  });

  test.each(["X-Api-Key", "X-Auth-User", "X-Session-Id", "Authorization"])(
    "9.2 %s sounds like a credential, so a secret is needed and a digest kept",
    async (name) => {
      expect(() => accountFromHeader(name)).toThrow(expect.objectContaining({ code: "config_invalid" }));
      const found = await account(accountFromHeader(name, { secret: SECRET }), [name, "sk_1"]);
      expect(found).toMatch(/^header:[0-9a-f]{64}$/);
    },
  );

  it("refuses what is no name of a header", () => {
    expect(() => accountFromHeader("X Account")).toThrow("no name of a header");
  });
});

describe("accountFromAuthorization", () => {
  const resolver = accountFromAuthorization({ secret: SECRET });

  it("S1 is a digest of Authorization and X-Api-Key, both where both are sent", async () => {
    const key = ["X-Api-Key", "k"] as const;
    const found = [
      await account(resolver, bearer("sk_1")),
      await account(resolver, bearer("sk_2")),
      await account(resolver, key),
      await account(resolver, bearer("sk_1"), key),
      await account(resolver, basic("a:b")),
    ];
    expect(new Set(found).size).toBe(5);
    for (const name of found) expect(name).toMatch(/^credential:[0-9a-f]{64}$/);
    expect(await account(resolver, ["authorization", "bearer   sk_1 "])).toBe(found[0]);
  });

  it("9.2 shows people the beginning of the digest, and nothing of the credential", async () => {
    const reading = await read(resolver, bearer("sk_live_secret"));
    expect(reading).toMatchObject({ label: expect.stringMatching(/^credential:[0-9a-f]{12}$/) });
    expect(JSON.stringify(reading)).not.toContain("secret");
  });

  it("another secret is another account, and a replaced one is still found", async () => {
    const [old, other] = ["the secret before this one", "another secret of 16+"];
    const before = await account(accountFromAuthorization({ secret: old }), bearer("sk_1"));
    const rotated = await read(accountFromAuthorization({ secret: [other, old] }), bearer("sk_1"));
    expect(rotated).toMatchObject({ previous: [before] });
    expect(rotated).not.toMatchObject({ account: before });
  });

  test.each([
    ["a JWT", `Bearer ${jwt()}`],
    ["a PASETO", "Bearer v4.public.c2VjcmV0"],
    ["Digest", 'Digest username="a", response="b"'],
    ["AWS4", "AWS4-HMAC-SHA256 Credential=a, Signature=b"],
    ["DPoP", "DPoP abc"],
    ["Hawk", 'Hawk id="a", mac="b"'],
    ["Signature", 'Signature keyId="a",signature="b"'],
    ["Negotiate", "Negotiate YII="],
  ])("S3 refuses %s, which is another one when it is presented again, and names the way out", async (_what, value) => {
    const { status, detail } = await refusal(resolver, ["Authorization", value]);
    expect(status).toBe(400);
    expect(detail).toMatch(/accountFromJwt.*changingCredentials/s);
    const accepting = accountFromAuthorization({ secret: SECRET, changingCredentials: "accept" });
    expect(await account(accepting, ["Authorization", value])).toMatch(/^credential:/);
  });

  it("S3 refuses a request without a credential, and one with cookies only even where others share an account", async () => {
    expect((await refusal(resolver)).detail).toContain("neither Authorization nor X-Api-Key");
    const sharing = accountFromAuthorization({ secret: SECRET, anonymous: "share" });
    expect(await account(sharing)).toBe("anonymous");
    expect((await refusal(sharing, ["Cookie", "session=1"])).detail).toContain("cookies");
  });

  test.each([undefined, "", "too short", [], ["a secret that is long enough", "short"]])(
    "refuses %j for a secret",
    (secret) => {
      const make = (): unknown => accountFromAuthorization({ secret: secret as string });
      expect(make).toThrow(expect.objectContaining({ code: "config_invalid" }));
    },
  );
});

describe("accountFromBasicUser", () => {
  const verify = vi.fn((user: string, password: string) => user === "jürgen" && password === "pass:word");
  const resolver = accountFromBasicUser({ verify });

  it("S2 is the user, once the password is verified", async () => {
    expect(await account(resolver, basic("jürgen:pass:word"))).toBe("basic-user:jürgen");
    const refused = await refusal(resolver, basic("jürgen:guess"));
    expect(refused).toMatchObject({ status: 401, wwwAuthenticate: expect.stringMatching(/^Basic realm=/) });
    expect(refused.detail).not.toContain("guess");
  });

  it("S3 refuses what is no Basic authentication without asking", async () => {
    verify.mockClear();
    for (const value of ["Bearer x", "Basic", "Basic !!!", "Basic YQ==", "Basic YTpi=="])
      expect((await refusal(resolver, ["Authorization", value])).status).toBe(400);
    await refusal(resolver);
    await refusal(resolver, basic("a:b"), basic("a:b"));
    expect(verify).not.toHaveBeenCalled();
  });

  it("S2 needs a function that verifies", () => {
    expect(() => accountFromBasicUser({} as never)).toThrow("`verify` is missing");
  });
});

describe("accountFromJwt", () => {
  const issuer = "https://login.example/";
  const exp = Math.floor(Date.now() / 1_000) + 60;
  const verified = (claims: object): AccountResolver<unknown> =>
    accountFromJwt({ issuer, verify: async () => ({ payload: { iss: issuer, exp, ...claims } }) });

  it("S2 is issuer and claim, so that a refreshed token is the same account", async () => {
    const verify = vi.fn(async (token: string) => ({ payload: { iss: issuer, sub: "alice", exp, jti: token } }));
    const resolver = accountFromJwt({ issuer, verify });
    const [one, other] = [await account(resolver, bearer(jwt())), await account(resolver, bearer(jwt({ a: 1 })))];
    expect([one, other]).toEqual([`jwt:["${issuer}","alice"]`, one]);
    expect(verify).toHaveBeenNthCalledWith(1, jwt());
  });

  it("S2 another issuer's or another claim's account is another one", async () => {
    const verify = (token: string) => ({ payload: { iss: token, sub: "alice", tenant: 7, exp } });
    const resolver = accountFromJwt({ issuer: ["a", "b"], verify });
    expect(await account(resolver, bearer("a"))).not.toBe(await account(resolver, bearer("b")));
    const byTenant = accountFromJwt({ issuer: ["a", "b"], verify, claim: "tenant" });
    expect(await account(byTenant, bearer("a"))).toBe('jwt:["a",7]');
    expect((await refusal(resolver, bearer("c"))).status).toBe(401);
  });

  test.each([
    ["has no such claim", {}],
    ["has it empty", { sub: "" }],
    ["has an object there", { sub: { id: 1 } }],
    ["does not say when it expires", { sub: "alice", exp: undefined }],
    ["has expired, as where a function only decodes it", { sub: "alice", exp: 1 }],
    ["is of another issuer", { sub: "alice", iss: "https://evil.example/" }],
  ])("S2 a token that %s is refused with a challenge", async (_what, claims) => {
    expect(await refusal(verified(claims), bearer(jwt()))).toMatchObject({
      status: 401,
      wwwAuthenticate: expect.stringContaining('error="invalid_token"'),
    });
  });

  test.each([
    [
      "a signature that does not verify",
      Object.assign(new Error(), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" }),
      401,
    ],
    ["whatever else is thrown", new Error("bad token"), 401],
    ["keys that cannot be fetched in time", Object.assign(new Error(), { code: "ERR_JWKS_TIMEOUT" }), 503],
    ["a failed fetch", new TypeError("fetch failed"), 503],
  ])("S2 %s refuses the request", async (_what, error, status) => {
    const resolver = accountFromJwt({ issuer, verify: () => Promise.reject(error) });
    expect((await refusal(resolver, bearer(jwt()))).status).toBe(status);
  });

  it("S3 refuses what is no bearer token, unless those without any share an account", async () => {
    expect((await refusal(verified({ sub: "a" }))).detail).toContain("no bearer token");
    expect((await refusal(verified({ sub: "a" }), basic("a:b"))).status).toBe(400);
    const verify = () => ({ payload: {} });
    expect(await account(accountFromJwt({ issuer, verify, anonymous: "share" }))).toBe("anonymous");
  });

  it("S2 needs a function that verifies, and an issuer", () => {
    expect(() => accountFromJwt({ issuer } as never)).toThrow("`verify` is missing");
    expect(() => accountFromJwt({ verify: () => ({ payload: {} }) } as never)).toThrow("`issuer` is missing");
    expect(() => accountFromJwt({ verify: () => ({ payload: {} }), issuer: [] })).toThrow("`issuer` is missing");
  });
});
