import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Ledger } from "../../src/demo/ledger.js";
import { missing } from "../tools.js";
import { folder, onceward, run, type Started, start } from "./help.js";

const FREE = ["--admin", "127.0.0.1:0", "--bank", "127.0.0.1:0"];

async function begin(
  cwd: string,
  listen = "127.0.0.1:0",
): Promise<{ readonly demo: Started; readonly lines: string[] }> {
  const demo = start(["demo", "--listen", listen, ...FREE], { cwd });
  await demo.says(/Start again, and both come back/);
  const lines = demo
    .output()
    .split("\n")
    .filter((line) => line.startsWith("curl "));
  return { demo, lines };
}

/** Pastes a line into bash, as it was printed, and answers head and body. */
async function paste(
  line: string,
  cwd: string,
): Promise<{ readonly status: string; readonly replayed: boolean; readonly body: string }> {
  const { code, stdout, stderr } = await run("bash", ["-c", `${line}\n`], { cwd });
  expect({ line, code, stderr: code === 0 ? "" : stderr }).toEqual({ line, code: 0, stderr: "" });
  const [head = "", body = ""] = line.includes(" -i ") ? stdout.split("\r\n\r\n") : ["", stdout];
  return { status: head.split("\r\n")[0] ?? "", replayed: /^idempotent-replayed: true$/im.test(head), body };
}

const portOf = (line: string): string => /127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? "";

const withoutCurl = missing("bash") || missing("curl");

test.skipIf(withoutCurl)(
  "14.1 demo: the printed lines pasted into bash, kill -9, start again, paste the retry: one debit, one answer",
  async () => {
    const cwd = folder();
    const first = await begin(cwd);
    expect(first.lines).toHaveLength(3);
    const [transfer = "", retry = "", balance = ""] = first.lines;
    expect(retry).toBe(transfer);
    const made = await paste(transfer, cwd);
    expect(made).toMatchObject({ status: "HTTP/1.1 201 Created", replayed: false });
    expect(await paste(retry, cwd)).toEqual({ ...made, replayed: true });
    expect(JSON.parse((await paste(balance, cwd)).body)).toEqual({ account: "alice", balance: 975 });
    const other = await paste(transfer.replace("amount=25", "amount=26"), cwd);
    expect(other.status).toContain("422");
    expect(JSON.parse(other.body)).toMatchObject({ code: "key_reused" });

    // The pid that it prints is the one process that gateway and bank are.
    const pid = Number(/kill -9 (\d+)/.exec(first.demo.output())?.[1]);
    expect(pid).toBe(first.demo.pid);
    process.kill(pid, "SIGKILL");
    expect((await first.demo.ended).signal).toBe("SIGKILL");

    const second = await begin(cwd, `127.0.0.1:${portOf(retry)}`);
    expect(second.lines).toEqual(first.lines);
    expect(second.demo.output()).toContain(
      "goes on from an earlier run, which made 1 transfer; rm -r ./onceward-demo starts over",
    );
    expect(await paste(retry, cwd)).toEqual({ ...made, replayed: true });
    expect(JSON.parse((await paste(balance, cwd)).body)).toEqual({ account: "alice", balance: 975 });
    const ledger = readFileSync(join(cwd, "onceward-demo/ledger.jsonl"), "utf8").trimEnd().split("\n");
    expect(ledger).toHaveLength(1);
    second.demo.child.kill("SIGINT");
    expect(await second.demo.ended).toEqual({ code: 0, signal: null });
  },
);

test.skipIf(withoutCurl)("the bank behind it moves money on every POST: without a key twice is twice", async () => {
  const cwd = folder();
  const { demo, lines } = await begin(cwd);
  const [transfer = "", , balance = ""] = lines;
  const bare = transfer.replace(/ -H '[^']+'/, "");
  expect(bare).not.toContain("Idempotency");
  for (let times = 0; times < 2; times += 1) expect((await paste(bare, cwd)).status).toContain("201");
  expect(JSON.parse((await paste(balance, cwd)).body)).toMatchObject({ balance: 950 });
  await demo.says(/t-2: alice sends bob 25/);
  for (const [change, status] of [
    ["amount=5000", "402"],
    ["amount=x", "400"],
    ["amount=-5", "400"],
  ] as const) {
    expect((await paste(bare.replace("amount=25", change), cwd)).status).toContain(status);
  }
  expect((await paste(bare.replace("from=alice", "from=mallory"), cwd)).status).toContain("404");
  expect(JSON.parse((await paste(balance, cwd)).body)).toMatchObject({ balance: 950 });
});

test.each([
  ["--listen", ["--admin", "127.0.0.1:0", "--bank", "127.0.0.1:0"]],
  ["--admin", ["--listen", "127.0.0.1:0", "--bank", "127.0.0.1:0"]],
  ["--bank", ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]],
])("a port in use is one clear line that names %s, and the demo ends with exit code 1", async (flag, others) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const result = await onceward(["demo", flag, `127.0.0.1:${port}`, ...others], { cwd: folder() });
  expect(result).toMatchObject({ code: 1, stdout: "" });
  expect(result.stderr).toBe(
    `onceward: cannot listen on 127.0.0.1:${port}: the port is in use; stop what uses it, or choose another with ${flag} HOST:PORT\n`,
  );
});

test("a data folder that cannot be used is one clear line", async () => {
  const cwd = folder({ "in-the-way": "" });
  const result = await onceward(["demo", "--listen", "127.0.0.1:0", ...FREE, "--data", "in-the-way"], { cwd });
  expect(result).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^onceward: cannot keep data in .*in-the-way: .*; name another folder with --data\n$/,
    ),
  });
});

test("the ledger survives a kill in the middle of a line, and refuses what is none", () => {
  const cwd = folder();
  const path = join(cwd, "ledger.jsonl");
  const before = new Ledger(path);
  before.transfer("alice", "bob", 25);
  before.close();
  writeFileSync(path, `${readFileSync(path, "utf8")}{"id":"t-2","from":"al`);
  const after = new Ledger(path);
  expect([after.balance("alice"), after.balance("bob"), after.transfers.length]).toEqual([975, 1025, 1]);
  expect(after.transfer("bob", "alice", 5).id).toBe("t-2");
  after.close();
  const again = new Ledger(path);
  expect(again.balance("alice")).toBe(980);
  again.close();
  writeFileSync(path, "hello\n");
  expect(() => new Ledger(path)).toThrow(`${path}:1 is no transfer`);
});

test("where a demo runs already the second one complains of the gateway's port, not of the bank's", async () => {
  const cwd = folder();
  const { demo } = await begin(cwd);
  const ports = ["gateway", "admin", "bank"].map(
    (name) => new RegExp(`${name} +http://([0-9.:]+)`).exec(demo.output())?.[1] ?? "",
  );
  const [listen = "", admin = "", bank = ""] = ports;
  const second = await onceward(["demo", "--listen", listen, "--admin", admin, "--bank", bank], { cwd });
  expect(second).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(
      new RegExp(`^onceward: cannot listen on ${listen}: the port is in use; .* --listen HOST:PORT\\n$`),
    ),
  });
});
