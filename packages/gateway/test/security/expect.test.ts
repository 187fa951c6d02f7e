// One client's bytes must not end the process that all others are served by.

import { expect, test } from "vitest";
import { exchange, raw, send } from "../server/support/client.js";
import { gateway } from "../server/support/gateway.js";
import { gatewayProcess } from "../server/support/process.js";
import { upstream } from "../server/support/upstream.js";

const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

test("SPEC P5: an expectation that cannot be met is refused, and what follows it does not end the gateway", async () => {
  const behind = await upstream();
  const { port } = await gatewayProcess({ upstream: behind.url, store: "memory:" });
  for (const second of [
    "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    `GET /ws HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`,
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nExpect: bar\r\n\r\nCONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
  ]) {
    const head = "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nExpect: foo\r\nContent-Length: 0\r\n\r\n";
    // The first answer may be lost where the second request breaks the connection off; never more than one is sent.
    expect(await exchange(port, head + second)).toMatch(/^(?:HTTP\/1\.1 417 (?:(?!HTTP\/1\.1 )[\s\S])*)?$/);
    expect((await send(port)).status).toBe(200);
  }
  const alone = await exchange(port, "GET / HTTP/1.1\r\nHost: a\r\nExpect: foo\r\n\r\n");
  expect(alone).toMatch(/^HTTP\/1\.1 417 /);
  expect(alone).toContain('"code":"request_invalid"');
  expect(behind.seen).toHaveLength(4);
});

test.each([
  ["a WebSocket", `GET /ws HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`],
  ["CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"],
])("issue 2, smuggling: behind a refused head %s is not served, whenever it comes", async (_, second) => {
  const behind = await upstream();
  const { port, logs } = await gateway({ upstream: behind.url });
  for (const between of ["", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"]) {
    const client = raw(port);
    client.write("GET /%2f HTTP/1.1\r\nHost: a\r\n\r\n");
    client.write(between);
    // In a packet of its own, so that the refusal has been sent by then, or is about to be.
    setImmediate(() => client.write(second));
    const text = await client.closed();
    expect(text.match(/HTTP\/1\.1 \d+/g) ?? []).toEqual(text === "" ? [] : ["HTTP/1.1 400"]);
  }
  expect(behind.seen).toHaveLength(0);
  expect(logs.filter(({ level }) => Number(level) >= 50)).toEqual([]);
});
