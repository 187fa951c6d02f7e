import type { HeaderList } from "onceward/http";
import { beforeAll, describe, expect, test } from "vitest";
import type { Accounts } from "../../src/accounts/accounts.js";
import { accountFor, accountsOf, openMemory, refusalFor } from "./make.js";

const bearer = (token: string): HeaderList => [["Authorization", `Bearer ${token}`]];
const segment = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const JWT = `${segment({ alg: "RS256", typ: "JWT" })}.${segment({ sub: "a" })}.c2ln`;
const JWE = `${segment({ alg: "RSA-OAEP", enc: "A256GCM" })}.a.b.c.d`;

describe("S1 the presented credential is the account", () => {
  let accounts: Accounts;
  beforeAll(async () => {
    accounts = await accountsOf({ from: "credential", changingCredentials: "reject" });
  });

  test("S1 the same credential is the same account, another is another", async () => {
    const one = await accountFor(accounts, bearer("sk_live_1"));
    expect(await accountFor(accounts, bearer("sk_live_1"))).toEqual(one);
    expect((await accountFor(accounts, bearer("sk_live_2"))).account).not.toBe(one.account);
  });

  test("S1 the scheme compares case-insensitively, the credential exactly", async () => {
    const one = await accountFor(accounts, bearer("AbC"));
    expect((await accountFor(accounts, [["authorization", "BEARER   AbC"]])).account).toBe(one.account);
    expect((await accountFor(accounts, bearer("abc"))).account).not.toBe(one.account);
    expect((await accountFor(accounts, [["Authorization", "Token AbC"]])).account).not.toBe(one.account);
    expect((await accountFor(accounts, [["Authorization", "AbC"]])).account).not.toBe(one.account);
  });

  test("S1 Authorization and X-Api-Key both count, and neither passes for the other", async () => {
    const headers: readonly HeaderList[] = [
      [["X-Api-Key", "k"]],
      [["Authorization", "k"]],
      bearer("k"),
      [
        ["Authorization", "Bearer k"],
        ["X-Api-Key", "k"],
      ],
      [
        ["Authorization", "Bearer k"],
        ["X-Api-Key", "l"],
      ],
      [["Authorization", "Bearer kx-api-key"]],
    ];
    const names = new Set<string>();
    for (const list of headers) names.add((await accountFor(accounts, list)).account);
    expect(names.size).toBe(headers.length);
  });

  test("S1 9.2 neither account nor label holds the credential", async () => {
    const { account, label } = await accountFor(accounts, bearer("hunter2-hunter2"));
    expect(account).toMatch(/^credential:[0-9a-f]{64}$/);
    expect(label).toMatch(/^credential:[0-9a-f]{12}$/);
  });

  test("S1 9.2 a digest cannot be computed without the account key: two stores give two accounts", async () => {
    const other = await accountsOf({ from: "credential", changingCredentials: "reject" });
    expect((await accountFor(other, bearer("k"))).account).not.toBe((await accountFor(accounts, bearer("k"))).account);
  });

  test.each<[string, HeaderList]>([
    [
      "Authorization twice",
      [
        ["Authorization", "Bearer a"],
        ["authorization", "Bearer a"],
      ],
    ],
    [
      "X-Api-Key twice",
      [
        ["X-Api-Key", "a"],
        ["x-api-key", "b"],
      ],
    ],
    ["Authorization empty", [["Authorization", ""]]],
    ["a scheme alone", [["Authorization", "Bearer"]]],
    ["a scheme and spaces", [["Authorization", "bearer  "]]],
    ["X-Api-Key empty", [["X-Api-Key", ""]]],
    [
      "X-Api-Key empty beside a credential",
      [
        ["Authorization", "Bearer a"],
        ["X-Api-Key", ""],
      ],
    ],
  ])("S1 refused with 400: %s", async (_, headers) => {
    expect(await refusalFor(accounts, headers)).toMatchObject({ status: 400 });
  });

  test.each<[string, string]>([
    ["a JWT", `Bearer ${JWT}`],
    ["an encrypted JWT", `Bearer ${JWE}`],
    ["a JWT under another scheme", `Token ${JWT}`],
    ["a PASETO", "Bearer v4.public.eyJzdWIiOiJhIn0"],
    ["Digest", 'digest username="a", nonce="1", response="x"'],
    ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu/s3/aws4_request, Signature=ab"],
    ["AWS4-ECDSA-P256-SHA256", "aws4-ecdsa-p256-sha256 Credential=A, Signature=ab"],
    ["DPoP", "DPoP opaque-token"],
    ["Hawk", 'Hawk id="a", ts="1", nonce="n", mac="m"'],
    ["Signature", 'Signature keyId="a",signature="b"'],
    ["Negotiate", "Negotiate YIIJ"],
    ["NTLM", "NTLM TlRM"],
    ["OAuth 1.0", 'OAuth realm="x", oauth_nonce="7d8f", oauth_signature="b"'],
  ])("S3 a credential that changes is refused and the settings are named: %s", async (_, value) => {
    const { status, detail } = await refusalFor(accounts, [["Authorization", value]]);
    expect(status).toBe(400);
    expect(detail).toContain("from: jwt");
    expect(detail).toContain("changingCredentials: accept");
    expect(detail).not.toContain(value.slice(value.indexOf(" ") + 1));
  });

  test("S3 a JWT as X-Api-Key is refused likewise", async () => {
    expect((await refusalFor(accounts, [["X-Api-Key", JWT]])).detail).toContain("changingCredentials");
  });

  test.each<[string, string]>([
    ["an API key with two dots", "Bearer SG.abcdefgh.ijklmnop"],
    ["an API key with four dots", "Bearer a.b.c.d.e"],
    ["Basic", "Basic dXNlcjpwYXNz"],
    ["an OAuth token that stays", "OAuth ya29.token"],
    ["base64 JSON that is no JOSE header", `Bearer ${segment({ id: 1 })}.b.c`],
    ["a scheme that only begins like one", "Digestive biscuits"],
  ])("S3 a credential that stays is taken: %s", async (_, value) => {
    expect((await accountFor(accounts, [["Authorization", value]])).kind).toBe("account");
  });

  test("S3 no credential is refused, and the setting is named", async () => {
    const { status, detail } = await refusalFor(accounts, [["Accept", "*/*"]]);
    expect(status).toBe(400);
    expect(detail).toContain("anonymous: share");
  });

  test("S3 cookies alone are refused, and the setting is named", async () => {
    expect((await refusalFor(accounts, [["Cookie", "sid=1"]])).detail).toContain("account: { from: cookie, name");
  });

  test("S3 a cookie beside a credential changes nothing", async () => {
    const alone = await accountFor(accounts, bearer("k"));
    expect((await accountFor(accounts, [...bearer("k"), ["Cookie", "sid=1"]])).account).toBe(alone.account);
  });
});

test("S3 changingCredentials: accept takes them", async () => {
  const accounts = await accountsOf({ from: "credential", changingCredentials: "accept" });
  expect((await accountFor(accounts, bearer(JWT))).account).toMatch(/^credential:/);
  expect((await accountFor(accounts, [["Authorization", "Negotiate YIIJ"]])).account).toMatch(/^credential:/);
});

describe("S3 anonymous: share", () => {
  test("S3 callers without a credential are one account that no credential can be", async () => {
    const accounts = await accountsOf({ from: "credential", changingCredentials: "reject", anonymous: "share" });
    expect(await accountFor(accounts, [])).toEqual({ kind: "account", account: "anonymous" });
    for (const headers of [bearer("anonymous"), [["X-Api-Key", "anonymous"]] as HeaderList]) {
      expect((await accountFor(accounts, headers)).account).not.toBe("anonymous");
    }
  });

  test("S3 P3 those whom only a cookie tells apart are not taken for one", async () => {
    const accounts = await accountsOf({ from: "credential", changingCredentials: "reject", anonymous: "share" });
    expect((await refusalFor(accounts, [["Cookie", "sid=1"]])).detail).toContain("from: cookie");
  });

  test("S3 a header account named anonymous is not the shared one", async () => {
    const accounts = await accountsOf(
      { from: "header", name: "X-Account", anonymous: "share" },
      { store: await openMemory() },
    );
    expect((await accountFor(accounts, [["X-Account", "anonymous"]])).account).toBe("header:anonymous");
    expect((await accountFor(accounts, [])).account).toBe("anonymous");
  });
});
