import type { HeaderList } from "onceward/http";
import { expect, test } from "vitest";
import { accountFor, accountsOf, refusalFor } from "./make.js";

const basic = (credential: string): HeaderList => [["Authorization", `Basic ${credential}`]];
const base64 = (text: string): string => Buffer.from(text).toString("base64");

test("14.3 single: every request is the one account, whatever it carries", async () => {
  const accounts = await accountsOf({ from: "single" });
  const one = await accountFor(accounts, []);
  expect(one).toMatchObject({ label: "single" });
  expect(
    await accountFor(accounts, [
      ["Authorization", "Digest x"],
      ["Cookie", "a=b"],
    ]),
  ).toEqual(one);
});

test("14.3 header: the value is the account, exactly", async () => {
  const accounts = await accountsOf({ from: "header", name: "X-Account-Id" });
  expect(await accountFor(accounts, [["x-account-id", "Acme:1"]])).toMatchObject({
    account: "header:Acme:1",
    label: "Acme:1",
  });
  expect((await accountFor(accounts, [["X-Account-Id", "acme:1"]])).account).toBe("header:acme:1");
});

test("14.3 header: missing, empty, twice or absurdly long is refused", async () => {
  const accounts = await accountsOf({ from: "header", name: "X-Account-Id" });
  expect((await refusalFor(accounts, [])).detail).toContain("X-Account-Id");
  expect((await refusalFor(accounts, [["X-Account-Id", ""]])).detail).toContain("empty");
  expect(
    (
      await refusalFor(accounts, [
        ["X-Account-Id", "a"],
        ["x-account-id", "a"],
      ])
    ).detail,
  ).toContain("more than once");
  expect((await refusalFor(accounts, [["X-Account-Id", "a".repeat(600)]])).detail).toContain("longer");
});

test("14.3 header: an empty one is not anonymous either", async () => {
  const accounts = await accountsOf({ from: "header", name: "X-Account-Id", anonymous: "share" });
  expect((await refusalFor(accounts, [["X-Account-Id", ""]])).status).toBe(400);
});

test("9.2 header: what its name says is a credential is kept as a digest", async () => {
  const accounts = await accountsOf({ from: "header", name: "X-Access-Token" });
  const { account, label } = await accountFor(accounts, [["X-Access-Token", "very-secret"]]);
  expect(account).toMatch(/^header:[0-9a-f]{64}$/);
  expect(label).not.toContain("very-secret");
});

test("14.3 basic: user and password together are the account, kept as a digest", async () => {
  const accounts = await accountsOf({ from: "basic" });
  const one = await accountFor(accounts, basic(base64("ann:pass:word")));
  expect(one.account).toMatch(/^basic:[0-9a-f]{64}$/);
  expect(one.label).not.toContain("ann");
  expect((await accountFor(accounts, [["authorization", `bAsIc ${base64("ann:pass:word")}`]])).account).toBe(
    one.account,
  );
  expect((await accountFor(accounts, basic(base64("ann:other")))).account).not.toBe(one.account);
  expect((await accountFor(accounts, basic(base64("ann:pass:word").replace(/=+$/, "")))).account).toBe(one.account);
});

test.each<[string, HeaderList]>([
  ["none", []],
  ["another scheme", [["Authorization", "Bearer abc"]]],
  ["no colon", basic(base64("ann"))],
  ["not Base64", basic("an%:!")],
  ["Base64 with spare bits", basic("YTpiYzF=")],
  ["Base64 in the alphabet for addresses", basic("YTo_Pz8_")],
  ["spaces inside", basic("YW5u OnBhc3M=")],
  ["twice", [...basic(base64("a:b")), ...basic(base64("a:b"))]],
])("14.3 basic: refused with 400: %s", async (_, headers) => {
  const accounts = await accountsOf({ from: "basic" });
  expect(await refusalFor(accounts, headers)).toMatchObject({ status: 400 });
});

test("14.3 cookie: its value is the account, kept as a digest, other cookies do not matter", async () => {
  const accounts = await accountsOf({ from: "cookie", name: "sid" });
  const one = await accountFor(accounts, [["Cookie", "sid=abc123"]]);
  expect(one.account).toMatch(/^cookie:[0-9a-f]{64}$/);
  expect(one.label).not.toContain("abc123");
  for (const value of ["a=1; sid=abc123; b=2", "a=1;sid=abc123", "flag; sid=abc123 ", "xsid=9; sid=abc123; SID=9"]) {
    expect((await accountFor(accounts, [["cookie", value]])).account).toBe(one.account);
  }
  expect(
    (
      await accountFor(accounts, [
        ["Cookie", "a=1"],
        ["Cookie", "sid=abc123"],
      ])
    ).account,
  ).toBe(one.account);
  for (const value of ['sid="abc123"', "sid=abc123=", "sid=ABC123", "sid=abc123\u00a0"]) {
    expect((await accountFor(accounts, [["Cookie", value]])).account).not.toBe(one.account);
  }
});

test.each<[string, HeaderList]>([
  ["no Cookie", []],
  ["another cookie only", [["Cookie", "xsid=1; sid2=2"]]],
  ["the name alone", [["Cookie", "sid"]]],
  ["empty", [["Cookie", "sid="]]],
  ["twice in one field", [["Cookie", "sid=1; sid=1"]]],
  [
    "twice in two fields",
    [
      ["Cookie", "sid=1"],
      ["Cookie", "sid=2"],
    ],
  ],
])("14.3 cookie: refused with 400: %s", async (_, headers) => {
  const accounts = await accountsOf({ from: "cookie", name: "sid" });
  expect(await refusalFor(accounts, headers)).toMatchObject({ status: 400 });
});

test("S4 the same text by cookie, header and Basic is three accounts", async () => {
  const byCookie = await accountsOf({ from: "cookie", name: "sid", secret: "s" });
  const byHeader = await accountsOf({ from: "header", name: "X-Token", secret: "s" });
  const byBasic = await accountsOf({ from: "basic", secret: "s" });
  const names = new Set([
    (await accountFor(byCookie, [["Cookie", "sid=a:b"]])).account.replace(/^.*:/, ""),
    (await accountFor(byHeader, [["X-Token", "a:b"]])).account.replace(/^.*:/, ""),
    (await accountFor(byBasic, basic(base64("a:b")))).account.replace(/^.*:/, ""),
  ]);
  expect(names.size).toBe(3);
});
