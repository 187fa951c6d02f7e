import type { Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { raw, until } from "../server/support/client.js";
import { gateway } from "../server/support/gateway.js";
import { upstream } from "../server/support/upstream.js";

const HEAD = "POST /pay HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n";

/** Sends the bytes as fast as they are taken. */
async function pour(socket: Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += 65_536) {
    if (!socket.write(bytes.subarray(at, at + 65_536))) await new Promise((resolve) => socket.once("drain", resolve));
  }
}

function liveBytes(): number {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

for (const fingerprint of ["exact", "json"]) {
  test(`SPEC §5.5, §9.3: a body in pieces of one byte takes the memory that it counts for (${fingerprint})`, async () => {
    (await import("node:v8")).setFlagsFromString("--expose-gc");
    (globalThis as { gc?: () => void }).gc ??= (await import("node:vm")).runInNewContext("gc") as () => void;
    const behind = await upstream((seen, response) => void response.end(String(seen.body.length)));
    const { port } = await gateway({ upstream: behind.url, fingerprint });
    const client = raw(port);
    onTestFinished(() => void client.socket.destroy());
    client.write(`${HEAD}Idempotency-Key: dust\r\n\r\n`);
    const pieces = 400_000;
    const before = liveBytes();
    await pour(client.socket, Buffer.from("1\r\n7\r\n".repeat(pieces)));
    // All of it has been parsed once the gateway has read what was written last.
    let after = liveBytes();
    for (let quiet = 0; quiet < 5; ) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const now = liveBytes();
      quiet = Math.abs(now - after) < 1_000_000 ? quiet + 1 : 0;
      after = now;
    }
    client.write("0\r\n\r\n");
    await client.until(new RegExp(`\r\n\r\n${pieces}$`));
    expect(behind.seen[0]?.body.equals(Buffer.from("7".repeat(pieces)))).toBe(true);
    expect(after - before).toBeLessThan(16_000_000);
  });
}

test("SPEC §5.5, §9.3: bodies that fingerprint: json gathers count against the memory for bodies too", async () => {
  const behind = await upstream();
  const { port } = await gateway(
    { upstream: behind.url, fingerprint: "json" },
    { maxBufferBytes: 1_048_576, spoolAboveBytes: 1_048_576 },
  );
  const open = "x".repeat(400_000);
  const clients = Array.from({ length: 6 }, (_, at) => {
    const client = raw(port);
    onTestFinished(() => void client.socket.destroy());
    client.write(
      `POST /pay HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nIdempotency-Key: k${at}\r\nContent-Length: 400002\r\n\r\n"${open}`,
    );
    return client;
  });
  // Two have room; the others are told at once, with the rest of their bodies still to come.
  await until(() => clients.filter((client) => /^HTTP\/1\.1 503 /.test(client.text())).length >= 4);
  for (const client of clients) client.write('"');
  await until(() => clients.filter((client) => /^HTTP\/1\.1 200 /.test(client.text())).length === 2);
  expect(behind.seen).toHaveLength(2);
});
