import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import { temporaryFolder } from "./support/gateway.js";
import { gatewayProcess } from "./support/process.js";

const SIZE = 200 * 1_048_576;
const PIECE = Buffer.alloc(65_536, 1);
/** What a gateway may grow by: buffers of sockets and the collector's slack, far below what passes through. */
const MAX_GROWTH = 80 * 1_048_576;

function flood(): Readable {
  let left = SIZE;
  return new Readable({
    read() {
      left -= PIECE.length;
      this.push(left < 0 ? null : PIECE);
    },
  });
}

/** Counts what it is sent; answers GET with a flood, and POST of /big with one too. */
async function sink(): Promise<{ readonly url: string; readonly bytes: () => number }> {
  let bytes = 0;
  const server = createServer((incoming, response) => {
    incoming.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    incoming.on("end", () => {
      if (incoming.method === "GET" || incoming.url === "/big") flood().pipe(response);
      else response.end(String(bytes));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bytes: () => bytes };
}

interface Transfer {
  readonly method: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly upload?: boolean;
  /** How long the client waits before it reads on, in milliseconds. */
  readonly readsAfterMs?: number;
}

function transfer(
  port: number,
  { method, path = "/", headers = {}, upload = false, readsAfterMs = 0 }: Transfer,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (message) => {
      let bytes = 0;
      const read = (): void => {
        message.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
        });
      };
      if (readsAfterMs === 0) read();
      else setTimeout(read, readsAfterMs);
      message.on("error", reject);
      message.on("end", () => resolve(bytes));
    });
    outgoing.on("error", reject);
    if (upload) flood().pipe(outgoing);
    else outgoing.end();
  });
}

/** The most that a process grows while something runs. */
async function growth(process: { memoryBytes(): number }, work: () => Promise<unknown>): Promise<number> {
  const before = process.memoryBytes();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryBytes());
  }, 20);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return most - before;
}

describe("SPEC §5.5: 200 MiB pass with bounded memory", () => {
  test.each([
    ["up, without a key", { method: "POST", upload: true }, "up"],
    ["down, without a key", { method: "GET" }, "down"],
    ["down to a client that reads late", { method: "GET", readsAfterMs: 1_500 }, "down"],
    ["up with a key, through a file", { method: "POST", upload: true, headers: { "Idempotency-Key": "k" } }, "up"],
    ["down with a key, not kept", { method: "POST", path: "/big", headers: { "Idempotency-Key": "k" } }, "down"],
  ] satisfies [string, Transfer, string][])("%s", async (_, what, way) => {
    const behind = await sink();
    const through = await gatewayProcess({
      upstream: behind.url,
      store: `sqlite:${join(temporaryFolder(), "memory.db")}`,
      maxRequestBody: "300MiB",
    });
    // A first request loads what is loaded once.
    await transfer(through.port, { method: "HEAD" });
    let received = 0;
    const grown = await growth(through, async () => {
      received = await transfer(through.port, what);
    });
    if (way === "up") expect(behind.bytes()).toBe(SIZE);
    else expect(received).toBe(SIZE);
    expect(grown).toBeLessThan(MAX_GROWTH);
  });
});
